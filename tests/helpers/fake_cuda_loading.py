"""DALI on the fake GPU: pipelines whose outputs have shapes and no pixels."""

from __future__ import annotations

import contextlib
from unittest import mock

import numpy as np
import torch

from fastneg.data.jpeg import size_by_header
from fastneg.data.load import feeding
from helpers.fake_cuda_streams import HOST, Fault, Stream


class Shapes:
    """The first output of a pipeline, on the CPU."""

    def __init__(self, values):
        self._values = values

    def as_array(self):
        return self._values


class Output:
    """DALI's memory: it is written again once nothing refers to it."""

    def __init__(self, state, shape, dtype, place, stream):
        with HOST.on(stream):
            self.tensor = torch.empty(shape, dtype=dtype, device=place)
        state.memory.lend(self.tensor)

    def as_tensor(self):
        return self.tensor


class FakePipeline:
    """In place of a `FedPipeline`; the arguments are those of `build_pipeline`."""

    def __init__(self, state, batch_size, *, device, views, augment, **options):
        assert device.type == "cuda" and device.index is not None
        if options["prefetch_queue_depth"] < 2:
            raise Fault("prefetch", "DALI decodes no batch while it works on another")
        self.state, self.device, self.views = state, device, views
        self.options, self.augment = options, augment
        self.stream, self.given = Stream(device, name="DALI's stream"), []

    def run(self, inputs):
        self.given.append(inputs)

    def outputs(self):
        inputs = self.given.pop(0)
        sizes = [(*size_by_header(data), 3) for data in inputs["encoded"]]
        count, side = len(sizes), int(inputs["size"][0, 0])
        plain = self.options.get("normalisation") is None
        dtype = torch.uint8 if plain else torch.float16
        made = lambda side, dtype: Output(
            self.state, (count, side, side, 3), dtype, self.device, self.stream
        )
        views = self.views + bool(self.options.get("textures"))
        patches = 2 * bool(self.options.get("patches"))
        patch = int(inputs["patch_size"][0, 0]) if patches else 0
        return [
            Shapes(np.array(sizes)),
            *(made(side, dtype) for _ in range(views)),
            *(made(patch, torch.uint8) for _ in range(patches)),
        ]


@contextlib.contextmanager
def fake_dali(state):
    """Within it loaders on the fake GPU get their batches from `FakePipeline`."""

    def build(batch_size, **options):
        return FakePipeline(state, batch_size, **options)

    with (
        mock.patch.object(feeding, "build_pipeline", build),
        mock.patch.object(torch, "from_dlpack", lambda tensor: tensor),
    ):
        yield
