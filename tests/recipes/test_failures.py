"""What is a job's failure, told in one line, and what is a bug that keeps its traceback."""

from fastneg.config import ConfigError
from fastneg.data import BetonError
from fastneg.errors import CheckpointError, TrainingError, WeightsError
from fastneg.files import OutputError
from fastneg.recipes.failures import JOB_FAILURES


def test_our_own_errors_and_the_systems_are_failures():
    for error in (BetonError, CheckpointError, ConfigError, TrainingError, WeightsError):
        assert issubclass(error, JOB_FAILURES)
    assert issubclass(OutputError, JOB_FAILURES) and issubclass(FileNotFoundError, JOB_FAILURES)
    for bug in (AssertionError, KeyError, TypeError, ZeroDivisionError):
        assert not issubclass(bug, JOB_FAILURES)
