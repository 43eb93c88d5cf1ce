"""The exceptions that are a job's failure, told in one line; any other is a bug of ours and keeps
its traceback."""

from fastneg.config import ConfigError
from fastneg.data.errors import BetonError
from fastneg.errors import CheckpointError, TrainingError

JOB_FAILURES = (BetonError, CheckpointError, ConfigError, TrainingError, OSError, TimeoutError)
"""Of these the message says what to do."""
