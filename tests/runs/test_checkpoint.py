"""Checkpoints are whole or absent; a damaged one is reported and the one before serves."""

import pytest
import torch

from fastneg.errors import CheckpointError
from fastneg.files import write_atomically
from fastneg.runs import checkpoint


def test_the_newest_are_kept_and_the_newest_is_loaded(tmp_path):
    for step in (5, 10, 100, 1000):
        checkpoint.save(tmp_path, step, {"step": step, "weights": torch.ones(3) * step}, keep=3)
    assert [path.name for path in checkpoint.paths(tmp_path)] == [
        "step-000000010.pt",
        "step-000000100.pt",
        "step-000001000.pt",
    ]
    path, state = checkpoint.load_newest(tmp_path)
    assert path.name == "step-000001000.pt" and torch.equal(
        state["weights"], torch.full((3,), 1000.0)
    )
    assert checkpoint.load_newest(tmp_path / "elsewhere") is None


@pytest.mark.parametrize("cut", [0, 1, 100, 0.5, 0.99])
def test_a_damaged_newest_one_is_reported_and_the_one_before_is_used(tmp_path, cut):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, {"step": step, "weights": torch.randn(1000)}, keep=3)
    newest = checkpoint.paths(tmp_path)[-1]
    data = newest.read_bytes()
    newest.write_bytes(data[: int(cut * len(data)) if isinstance(cut, float) else cut])
    said = []
    path, state = checkpoint.load_newest(tmp_path, report=said.append)
    assert state["step"] == 1 and path.name == "step-000000001.pt"
    assert len(said) == 1 and newest.name in said[0]
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="None of the 2"):
        checkpoint.load_newest(tmp_path, report=said.append)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert [child.name for child in tmp_path.iterdir()] == ["file"]


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (print, ("executed",))

    path = tmp_path / "step-1.pt"
    torch.save({"format": checkpoint.FORMAT, "state": Malicious()}, path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load(path)


def test_another_format_is_refused(tmp_path):
    torch.save({"format": 99}, tmp_path / "step-1.pt")
    with pytest.raises(CheckpointError, match="format 99"):
        checkpoint.load(tmp_path / "step-1.pt")
