"""Small pre-training runs on a CPU: their settings, and what they leave."""

import contextlib
import json
import subprocess

import torch

from fastneg.data import BetonReader
from fastneg.data.load.train_loader import TrainLoader
from fastneg.distributed import World
from fastneg.recipes.presets import tiny_cpu
from fastneg.runs import checkpoint
from helpers.ready import ready_environment, ready_python

TIMES = (
    *("images_per_s", "data_wait_share", "step_ms", "data_wait_ms", "host_ms", "device_ms"),
    "eta_s",
)
"""The figures of a row that measure time: no two runs have them alike."""


def settings(beton, out, **changes):
    small = {
        "image_size": 32,
        "eval_resize": 32,
        "epochs": 3,
        "batch_size": 8,
        "bn_splits": 2,
        "queue_size": 20,
        "feature_dim": 16,
    }
    fixed = {
        "patch_min": 4,
        "patch_max": 16,
        "log_every": 1,
        "threads": 1,
        "views": "moco_v2",
    }
    return tiny_cpu().replace(data=str(beton), out=str(out), **{**small, **fixed, **changes})


def rows(out, kind="train"):
    """The figures of metrics.jsonl, less those that measure time."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if k not in TIMES} for line in lines if line["kind"] == kind
    ]


def pretrain_in_two(config):
    """`fastneg pretrain` in two gloo processes of torchrun."""
    given = config.as_dict().items()
    flags = [f"--{name}={value}" for name, value in given if value not in (None, "")]
    torchrun = [ready_python(), "-m", "torch.distributed.run", "--standalone"]
    program = ["--nproc_per_node", "2", "-m", "fastneg", "pretrain", "--preset=tiny_cpu"]
    subprocess.run(
        [*torchrun, *program, *flags],
        check=True,
        timeout=300,
        env=ready_environment(OMP_NUM_THREADS="1"),
        stdout=subprocess.DEVNULL,
    )


def weights(out):
    return checkpoint.load_newest(out)[1]["method"]


def same_weights(one, other):
    one, other = weights(one), weights(other)
    return one.keys() == other.keys() and all(
        torch.equal(one[k], other[k]) for k in one if isinstance(one[k], torch.Tensor)
    )


def first_batch(config):
    """The first `ViewBatch` of a run of this config."""
    with BetonReader(config.data) as reader:
        options = {**config.view_options(), "seed": config.seed, "threads": 1}
        loader = TrainLoader(reader, config.batch_size, config.view_size, **options)
        with contextlib.closing(loader), contextlib.closing(loader.epoch(0)) as batches:
            return next(batches)


ALONE = World(0, 1, torch.device("cpu"))


@contextlib.contextmanager
def in_float64():
    """Within it, networks are float64 and so is what the loader gives them: two ways to the same
    value differ by a fault alone."""
    epoch = TrainLoader.epoch

    def doubled(*place, **options):
        with contextlib.closing(epoch(*place, **options)) as batches:
            for batch in batches:
                yield batch._replace(query=batch.query.double(), key=batch.key.double())

    torch.set_default_dtype(torch.float64)
    TrainLoader.epoch = doubled
    try:
        yield
    finally:
        TrainLoader.epoch = epoch
        torch.set_default_dtype(torch.float32)
