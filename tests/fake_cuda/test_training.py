"""Two steps of every mode of training on a GPU that computes nothing: none waits, races or fails.

Every two settings that the config allows together meet in at least one row.
"""

import pytest
import torch

from fastneg.distributed import World
from fastneg.errors import TrainingError
from fastneg.methods import METHODS
from fastneg.negatives import NEGATIVES
from fastneg.options import ConfigError
from fastneg.training.checks import check_batch
from fastneg.training.optim import OPTIMIZERS
from helpers.fake_cuda_ranks import process, refuse_different, refuse_lost_rows
from helpers.fake_cuda_training import STATIC, on_fake_gpu, steps
from helpers.pairs import covering
from helpers.pretraining import settings

CHOICES = {
    "method": ("moco", *(name for name in METHODS if name != "moco")),
    "negatives": ("none", *NEGATIVES, "patch,texture"),
    "texture_source": (None, "view", "file"),
    "bn": ("none", "split", "shuffle", "sync"),
    "fused_bn": ("on", "off"),
    "key_pass": (None, "batched"),
    "order": ("random", "page", "sequential"),
    "cache": ("none", "device"),
    "accumulate": (None, 2),
    "precision": ("auto", "fp32"),
    "runner": (None, "compile", "cuda_graphs"),
    "optimizer": tuple(OPTIMIZERS),
    "augment_with": ("dali", "kernel"),
    "compress_gradients": (None, True),
    "processes": (1, 8),
}
LOCAL = 8
"""Images of a process: two groups of batch normalisation in each of two parts."""


def config_of(row, data="x.beton", out="run"):
    """(its `PretrainConfig`, processes)."""
    changes = {name: value for name, value in row.items() if value is not None}
    size, runner = changes.pop("processes"), changes.pop("runner", None)
    if runner is not None:
        changes[runner] = True
    if not METHODS[row["method"]].queue:
        changes["queue_size"] = None
    changes["bn_splits"] = 2 if row["bn"] == "split" else None
    return settings(data, out, batch_size=LOCAL * size, device="cuda", **changes), size


def allowed(row):
    together = row["processes"] > 1
    if not together and (row["bn"] in ("shuffle", "sync") or row["compress_gradients"]):
        return False  # of no use to one process; refused when the run begins
    if row["texture_source"] and "texture" not in row["negatives"]:
        return False
    try:
        config, size = config_of(row)
        check_batch(config, World(0, size, torch.device("cuda")))
    except (ConfigError, TrainingError):
        return False
    return True


ROWS = covering(CHOICES, allowed)
NAMES = [" ".join(str(value) for value in row.values() if value) for row in ROWS]


def trained(row, images, folder, ranks=None):
    """{rank: `Device`} after two steps of some of the processes."""
    _, size = config_of(row)
    ranks = ranks or ((0,) if size == 1 else (0, size - 1))
    devices = {}
    for rank in ranks:
        config, _ = config_of(row, images, folder / str(rank))
        with on_fake_gpu() as state, process(rank, size):
            steps(config, state, rank=rank, size=size)
            assert bool(STATIC) == (row["runner"] == "compile")
        devices[rank] = state
    return devices


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_a_mode_neither_waits_nor_races(row, images, tmp_path):
    devices = trained(row, images, tmp_path)
    refuse_different({rank: device.collectives for rank, device in devices.items()})


@pytest.mark.parametrize("bn", ["shuffle", "sync"])
def test_eight_processes_agree_on_what_they_send(bn, images, tmp_path):
    row = {name: values[0] for name, values in CHOICES.items()}
    row |= {"processes": 8, "bn": bn, "negatives": "patch"}
    devices = trained(row, images, tmp_path, range(8))
    refuse_different({rank: device.collectives for rank, device in devices.items()})
    refuse_lost_rows([device.exchanges for device in devices.values()])
    assert bool(devices[0].exchanges) == (bn == "shuffle")


def test_the_rows_hold_every_value_and_nearly_every_pair():
    for name, values in CHOICES.items():
        assert {row[name] for row in ROWS} == set(values), name
    assert {(row["method"], row["runner"]) for row in ROWS} == {
        (name, runner)
        for name, method in METHODS.items()
        for runner in CHOICES["runner"]
        if method.key_encoder or runner != "cuda_graphs"
    }
    plain = {name: values[0] for name, values in CHOICES.items()}
    assert {(row["negatives"], row["method"]) for row in ROWS} == {
        (kind, method)
        for kind in CHOICES["negatives"]
        for method in CHOICES["method"]
        if allowed({**plain, "negatives": kind, "method": method})
    }
