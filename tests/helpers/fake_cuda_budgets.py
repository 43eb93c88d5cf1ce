"""What a training step of each preset costs a GPU: operators that start a kernel, and bytes.

An operator counts once, whatever number of kernels its library starts for it, and a kernel of
fastneg's own for itself. Its bytes are those of all tensors that it reads and writes, each once. So
the figures are no times: they show what a change adds to a step.

    PYTHONPATH=tests python -m helpers.fake_cuda_budgets docs/benchmarks/budgets.csv

writes the table anew.
"""

from __future__ import annotations

import contextlib
import csv
import sys
import tempfile
from pathlib import Path
from unittest import mock

import torch

from fastneg.data import BetonWriter
from fastneg.distributed import World
from fastneg.models import backbones
from fastneg.recipes.presets import PRESETS
from fastneg.training import build, trainer
from helpers.fake_cuda_training import check_settings, on_fake_gpu
from helpers.images import jpeg, photo

GPU = torch.device("cuda", 0)
FIELDS = ("preset", "backbone", "N", "M", "launches", "gib_moved", "torch")
SIDE = 16


def dataset(path, count):
    """A .beton file of so many small labelled images, all with the same few bytes."""
    import numpy as np

    picture = jpeg(photo(np.random.default_rng(0), SIDE, SIDE))
    with BetonWriter(path, classes=["a", "b"]) as writer:
        for i in range(count):
            writer.add(picture, SIDE, SIDE, label=i % 2)
    return path


def counted_step(config):
    """[(operator, bytes)] of the first step of a training on one GPU."""
    with contextlib.ExitStack() as stack:
        state = stack.enter_context(on_fake_gpu(backbones.ResNetTiny))
        # The weights have no values, so none are drawn.
        stack.enter_context(mock.patch.object(build, "check_view_sizes"))
        stack.enter_context(mock.patch.object(backbones, "refuses", return_value=None))
        run = trainer.Trainer(config, World(0, 1, GPU), stack)
        check_settings()
        batches = run.loader.epoch(0)
        with contextlib.closing(batches):
            batch = next(batches)
        run.model.train()
        with state.counted() as found:
            run.train_step(batch, 0.1)
    return found


def row_of(name, folder):
    """The figures of a preset, as the table has them."""
    preset = PRESETS[name]()
    data = Path(folder) / f"{preset.batch_size}.beton"
    if not data.exists():
        dataset(data, preset.batch_size)
    changes = {"data": str(data), "out": str(Path(folder) / name), "device": "cuda", "threads": 1}
    with contextlib.redirect_stdout(None):
        found = counted_step(preset.replace(**changes))
    return {
        "preset": name,
        "backbone": preset.backbone,
        "N": preset.batch_size,
        "M": preset.negatives_per_query if preset.negative_kinds() else 0,
        "launches": len(found),
        "gib_moved": round(sum(moved for _, moved in found) / 2**30, 3),
        "torch": torch.__version__.split("+")[0],
    }


def main(path):
    with tempfile.TemporaryDirectory() as folder, open(path, "w", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        for name in PRESETS:
            writer.writerow(row_of(name, folder))
            file.flush()


if __name__ == "__main__":
    main(sys.argv[1])
