"""Stages step and compile_graphs: the training step on a ready batch, against the same step with
one change.

Each contender takes turns with fastneg's step, and is a row of its own at once.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from functools import partial
from unittest import mock

from fastneg.recipes.bench.first_hour.goals import measured
from fastneg.recipes.bench.first_hour.rows import Rows
from fastneg.recipes.bench.first_hour.stages import Job, Missing
from fastneg.recipes.bench.first_hour.work import FOLDER

COMPILED = {
    "with_compile": {"compile": True},
    "with_cuda_graphs": {"cuda_graphs": True},
}
"""{contender: changes of the config} that take long to begin, in a stage of their own."""
REHEARSED = ("without_negatives", "without_split_bn", "plain")


def jobs(device):
    pairs, variants = _pairs(device)
    names = [*(name for name in variants if name not in COMPILED), "plain"]
    for name in names if device == "cuda" else ("fastneg", *REHEARSED):
        yield Job(name, partial(pairs.row, name))
    yield Job("model", partial(_model, pairs))


def _model(pairs):
    """The same steps by counting, at the rates that the ceilings reached here."""
    from fastneg.recipes.bench.step_model import Rates, model_rows

    rows = Rows(os.environ[FOLDER]).all()
    copy = measured(rows, "ceilings", "gb_s", contender="copy")
    product = measured(rows, "ceilings", "tflop_s", contender="matmul")
    if copy is None or product is None:
        raise Missing("needs the rates of the stage ceilings")
    yield from model_rows(pairs.config, Rates(copy, product), "this machine")


def compiled_jobs(device):
    pairs, _ = _pairs(device)
    for name in COMPILED:
        yield Job(name, partial(_compiled, pairs, name))


def _pairs(device):
    stand_in_for_dali()
    from fastneg.recipes.bench.first_hour.step_pairs import Pairs, variants_of

    return Pairs(device), variants_of(device)


def stand_in_for_dali():
    """Where DALI is not installed, let what imports it be imported: a step on a ready batch calls
    nothing of it."""
    try:
        found = importlib.util.find_spec("nvidia.dali")
    except ModuleNotFoundError:
        found, sys.modules["nvidia"] = None, mock.MagicMock()
    if found is None:
        sys.modules["nvidia.dali"] = mock.MagicMock()


def _compiled(pairs, name):
    if pairs.device == "cuda":
        yield from pairs.row(name)
    elif "cuda_graphs" in COMPILED[name]:
        raise Missing("needs a CUDA device")
    else:
        # Inductor takes a C++ compiler and minutes; what dynamo sees is the same.
        import torch

        with mock.patch("torch.compile", partial(torch.compile, backend="eager")):
            for row in pairs.row(name):
                yield {**row, "backend": "eager"}
