"""The exceptions that are reported as a job's failure, in one line. Any other is a bug and keeps
its traceback."""

import re
import textwrap

from fastneg.config import ConfigError
from fastneg.data.errors import BetonError
from fastneg.errors import CheckpointError, TrainingError

JOB_FAILURES = (BetonError, CheckpointError, ConfigError, TrainingError, OSError, TimeoutError)
"""Of these the message says what to do."""

NO_MEMORY = re.compile(
    r"out[ _]of[ _]memory|allocate memory|unable to allocate|storage size calculation overflowed",
    re.IGNORECASE,
)
"""What torch, NumPy and DALI say where memory is missing, or where more bytes are asked for than
can be counted."""
WHERE = re.compile(r"^\[[^]]*\] (\S+ == \S+ )?")
"""Where in its own source torch or DALI found it."""


def out_of_memory(error):
    """What to say of an error if memory is what was missing; None of any other."""
    said = str(error).strip()
    of_torch = isinstance(error, RuntimeError) and NO_MEMORY.search(said)
    if not of_torch and not isinstance(error, MemoryError):
        return None
    line = textwrap.shorten(WHERE.sub("", said.partition("\n")[0]), 120, placeholder=" …")
    return (
        f"memory is missing{f' ({line})' if line else ''}: take a smaller batch, smaller images or "
        "a smaller network, or end other programs. fastneg pretrain … --dry_run "
        "tells what a training takes."
    )
