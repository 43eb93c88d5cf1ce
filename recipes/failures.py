"""The exceptions that are a job's failure, told in one line; any other is a bug of ours and keeps its traceback."""


def job_failures():
    """Exception classes of which the message says what to do."""
    from fastneg.config import ConfigError
    from fastneg.data.beton import BetonError
    from fastneg.training.checkpoint import CheckpointError

    failures = [BetonError, CheckpointError, ConfigError, OSError, TimeoutError]
    try:
        from fastneg.training.trainer import TrainingError
    except ImportError:  # without the extra `train` no training runs that could fail
        return tuple(failures)
    return (*failures, TrainingError)
