"""The exceptions that are reported as a job's failure, in one line. Any other is a bug and keeps
its traceback."""

from fastneg.config import ConfigError
from fastneg.data.errors import BetonError
from fastneg.errors import CheckpointError, TrainingError

JOB_FAILURES = (BetonError, CheckpointError, ConfigError, TrainingError, OSError, TimeoutError)
"""Of these the message says what to do."""
