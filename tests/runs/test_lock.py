"""Two trainings do not share a run folder."""

import errno
import fcntl
import subprocess
import sys

import pytest

from fastneg.errors import TrainingError
from fastneg.training.trainer import pretrain
from helpers.pretraining import settings

HOLDER = """
import sys
from fastneg.runs.lock import RunLock

lock = RunLock(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_training_in_the_folder_is_refused_and_a_killed_one_is_no_obstacle(
    beton, tmp_path
):
    config = settings(beton, tmp_path / "run", epochs=1)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, config.out], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(
            TrainingError, match=f"Another training runs in .*process {other.pid} on "
        ):
            pretrain(config)
        assert not (tmp_path / "run" / "metrics.jsonl").exists()
        other.kill()
    assert pretrain(config).finished
    assert pretrain(config).finished  # the first one let go of it


def test_a_file_system_without_locks_is_told_of_and_any_other_error_is_not_hidden(
    beton, tmp_path, monkeypatch, capsys
):
    def lockf(*_):
        raise OSError(code, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", lockf)
    code = errno.ENOLCK
    assert pretrain(settings(beton, tmp_path / "run", epochs=1), stop_after=1).step == 1
    assert "keeps no locks (No locks available)" in capsys.readouterr().out
    code = errno.EIO
    with pytest.raises(OSError, match="No locks"):
        pretrain(settings(beton, tmp_path / "other", epochs=1), stop_after=1)
