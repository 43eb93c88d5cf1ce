"""What is a job's failure, told in one line, and what is a bug that keeps its traceback."""

import numpy as np
import pytest
import torch

from fastneg.config import ConfigError
from fastneg.data import BetonError
from fastneg.errors import CheckpointError, TrainingError, WeightsError
from fastneg.files import OutputError
from fastneg.recipes.cli import main
from fastneg.recipes.failures import JOB_FAILURES, out_of_memory


def test_our_own_errors_and_the_systems_are_failures():
    for error in (BetonError, CheckpointError, ConfigError, TrainingError, WeightsError):
        assert issubclass(error, JOB_FAILURES)
    assert issubclass(OutputError, JOB_FAILURES) and issubclass(FileNotFoundError, JOB_FAILURES)
    for bug in (AssertionError, KeyError, TypeError, ZeroDivisionError):
        assert not issubclass(bug, JOB_FAILURES)


LARGE = {
    "torch": (lambda: torch.empty(2**58), "you tried to allocate"),
    "torch, uncountable": (lambda: torch.empty(2**62, 128), "Storage size calculation overflowed"),
    "NumPy": (lambda: np.empty(2**58), "Unable to allocate"),
    "Python": (lambda: bytearray(2**62), "memory is missing: take a smaller batch"),
}


@pytest.mark.parametrize("case", LARGE)
def test_missing_memory_is_told_in_a_line(case, monkeypatch, capsys):
    """Whoever asked for it: torch, NumPy or Python itself."""
    from fastneg.recipes import verify

    make, said = LARGE[case]
    monkeypatch.setattr(verify, "run_verify", lambda config: make())
    assert main(["verify", "x.beton"]) == 1
    told = capsys.readouterr().err
    assert said in told and told.startswith("fastneg verify: memory is missing")
    assert told.count("\n") == 1 and len(told) < 350


def test_cuda_says_how_much_it_wanted_and_other_errors_are_bugs():
    full = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has …")
    assert "Tried to allocate 2.00 GiB" in out_of_memory(full)
    assert out_of_memory(RuntimeError("size mismatch")) is None
    assert out_of_memory(ValueError("out of memory")) is None
