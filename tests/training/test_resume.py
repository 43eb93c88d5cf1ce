"""Runs that are killed, cannot write, or are given other settings (fastneg.training.resume,
fastneg.training.signals)."""

import json
import random
import resource
import subprocess
import sys
import textwrap

import pytest
import torch

from fastneg.config import ConfigError
from fastneg.errors import CheckpointError, TrainingError
from fastneg.runs import checkpoint
from fastneg.training.trainer import pretrain
from helpers.pretraining import rows, same_weights, settings
from helpers.ready import ready_python

VICTIMS = """
import json, os, random, signal, sys, time
import torch
from fastneg.config import PretrainConfig
from fastneg.data.load.pipeline import define_pipeline
from fastneg.runs import checkpoint
from fastneg.training.trainer import pretrain

torch.set_num_threads({threads})
# DALI's translation of it, which each fork would do again
define_pipeline(2, views=2, augment=True, device=torch.device("cpu"), threads=1)
config, draw = PretrainConfig(**json.loads(sys.argv[1])), random.Random(int(sys.argv[2]))

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def half(state, file):
    file.write(b"PK half of a checkpoint")
    file.flush()
    die()

def at_checkpoint(name, nth, replacement):
    calls, plain = [], checkpoint.save
    def save(*arguments, **options):
        calls.append(1)
        if len(calls) == nth:
            setattr(*name, replacement)
        return plain(*arguments, **options)
    checkpoint.save = save

ways = [
    None,  # at a random moment, by the parent
    lambda: at_checkpoint((torch, "save"), 2, half),  # in the middle of the second checkpoint
    lambda: at_checkpoint((os, "fsync"), 1, die),  # written, not yet renamed
    None,
]
def forked(way):
    child = os.fork()
    if child == 0:
        if way:
            way()
        pretrain(config)
        os._exit(0)
    return child

def lines():
    path = os.path.join(config.out, "metrics.jsonl")
    return sum(1 for line in open(path) if '"train"' in line) if os.path.exists(path) else 0

for way in ways:
    child = forked(way)
    if way is None:
        deadline = time.monotonic() + 120
        target = lines() + draw.randrange(1, 4)
        while lines() < target and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(draw.random() * 0.1)
        os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
assert os.waitpid(forked(None), 0)[1] == 0
"""


def test_a_run_that_is_killed_again_and_again_ends_as_if_undisturbed(beton, tmp_path):
    """SIGKILL at random moments, within a checkpoint and before its renaming: metrics and weights
    are those of the run left alone."""
    whole = settings(beton, tmp_path / "whole", epochs=4)
    assert pretrain(whole).finished
    config, seed = whole.replace(out=str(tmp_path / "run")), random.randrange(1 << 30)
    script = tmp_path / "victims.py"
    script.write_text(textwrap.dedent(VICTIMS).replace("{threads}", str(torch.get_num_threads())))
    ran = subprocess.run(
        [ready_python(), script, json.dumps(config.as_dict()), str(seed)],
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert ran.returncode == 0, f"seed {seed}: {ran.stderr[-3000:]}"
    assert rows(tmp_path / "run") == rows(tmp_path / "whole"), f"seed {seed}"
    assert same_weights(tmp_path / "run", tmp_path / "whole"), f"seed {seed}"
    assert not [*(tmp_path / "run").rglob("*.tmp")]


@pytest.mark.parametrize(
    ("room", "said"),
    [("checkpoint", "could not be written .*free space"), ("log", "metrics.jsonl")],
)
def test_a_full_disk_stops_the_run_with_the_checkpoints_intact(
    beton, tmp_path, room, said, monkeypatch
):
    """A limit on the size of files stands for the full disk: a write beyond it fails in the same
    way."""
    # It stands in environment.json, which is to be short.
    monkeypatch.setattr(sys, "argv", ["fastneg"])
    config = settings(beton, tmp_path / "run", epochs=1)
    pretrain(config)
    first = checkpoint.paths(tmp_path / "run")[0]
    before = first.read_bytes()
    size = {
        "checkpoint": len(before) // 2,
        "log": (tmp_path / "run" / "metrics.jsonl").stat().st_size + 600,
    }[room]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # small, unlike the log
    events = [path.unlink() for path in (tmp_path / "run" / "tensorboard").iterdir()]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        with pytest.raises((CheckpointError, OSError), match=said) as error:
            pretrain(config.replace(epochs=2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert events and "File too large" in str(error.value)
    assert checkpoint.paths(tmp_path / "run") == [first] and first.read_bytes() == before
    assert not [*(tmp_path / "run" / "checkpoints").glob(".*")]
    pretrain(config.replace(epochs=2))
    assert [row["step"] for row in rows(tmp_path / "run")] == list(range(1, 11))


def test_checkpoints_of_every_nth_epoch_stay(beton, tmp_path):
    pretrain(settings(beton, tmp_path / "run", epochs=5, keep_checkpoints=1, keep_every=2))
    assert [checkpoint.step_of(path) for path in checkpoint.paths(tmp_path / "run")] == [10, 20, 25]
    with pytest.raises(ConfigError, match="only every 2nd epoch"):
        settings(beton, tmp_path, keep_every=3, checkpoint_every=2)


def test_another_number_of_processes_may_go_on_at_an_epochs_end_only(beton, tmp_path):
    config = settings(beton, tmp_path / "run")
    for stop_after in (3, 2):
        assert not pretrain(config, stop_after=stop_after).finished
        path, state = checkpoint.load_newest(tmp_path / "run")
        torch.save({**state, "world_size": 2}, path)  # as two processes would have written it
        if state["step"] == 3:
            with pytest.raises(
                TrainingError, match="within an epoch by 2 processes, now there are 1"
            ):
                pretrain(config)
            torch.save(state, path)
    assert pretrain(config).finished


@pytest.mark.parametrize("stops", [(2,), (7,), (4, 4)])
def test_lines_of_the_log_that_a_stop_divides_are_those_of_the_whole(beton, tmp_path, stops):
    """Means over the steps of a line: those before the checkpoint count, whether the run was
    stopped there or killed later."""
    whole, parts = (settings(beton, tmp_path / name, log_every=3) for name in ("whole", "parts"))
    pretrain(whole)
    for stop in stops:
        assert not pretrain(parts, stop_after=stop).finished
    if stops == (7,):  # as if it had been killed: on from the epoch's end, step 5
        checkpoint.paths(tmp_path / "parts")[-1].unlink()
    assert pretrain(parts).finished
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    assert [row["step"] for row in rows(tmp_path / "parts")] == [3, 6, 9, 12, 15]


def test_random_draws_of_the_network_are_repeated_too(beton, tmp_path):
    """Dropout and stochastic depth draw from torch's own generator."""
    changes = {"backbone": "mobilenet_v3_small", "epochs": 1, "bn": "none", "bn_splits": None}
    for name, stops in (("whole", ()), ("parts", (2, 1))):
        for stop in stops:
            pretrain(settings(beton, tmp_path / name, **changes), stop_after=stop)
            torch.randn(3)  # whatever else draws meanwhile
        assert pretrain(settings(beton, tmp_path / name, **changes)).finished
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
