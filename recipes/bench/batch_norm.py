"""fastneg bench batch_norm: batch normalisation with ReLU and residual in one kernel, against
torch's separate layers.

Legend: N batch, C channels, H pixels a side, G groups with their own statistics.
"""

from __future__ import annotations

import statistics

import torch
import torch.nn.functional as F

from fastneg.kernels.batch_norm import batch_norm
from fastneg.recipes.bench.measuring import (
    bench_device,
    dtype_name,
    figures_of,
    in_cuda_graph,
    take_turns,
    times_of,
)

RESNET50 = ((64, 112), (64, 56), (256, 56), (128, 28), (512, 28), (256, 14), (1024, 14), (2048, 7))
SHAPES = {
    "cpu": tuple((32, channels, side) for channels, side in ((32, 32), (128, 16), (256, 8))),
    "cuda": tuple((256, channels, side) for channels, side in RESNET50),
}
"""(N, C, H): layers of ResNet-50 on a GPU, of a small network on a CPU."""
GROUPS = (1, 4)
COMPILED = (256, 56)
"""(C, H) of the one layer that inductor compiles too: every case takes it seconds."""
PASSES = ("no_grad", "forward", "forward_backward")
MEMORY_PASSES = {"no_grad": (3, 4), "forward": (3, 4), "forward_backward": (8, 11)}
"""How often the elements of a layer must be read or written at least, without and with a residual:
twice read and once written forward; the gradient and the images twice read backward, and the
images' gradient written. With a residual it is read, the output is read again for the mask, the
masked gradient written, and read in place of the gradient."""


def bench_batch_norm(shapes=None, rounds=15, only=None, groups=GROUPS, passes=PASSES):
    """Yield a row per shape (channels_last), groups, residual or not, pass and contender.

    share_of_floor compares with a plain copy, at this run's rate, of the least number of bytes that
    a layer must move. On a GPU each pass is replayed from a CUDA graph where it can be, so the time
    to start kernels does not count.

    Args:
        shapes: (N, C, H) each; None: those of this device.
        rounds: calls measured of each contender, after one that warms up.
        only: names of contenders; None: all.
        groups: with each of these G.
        passes: among PASSES.
    """
    device = bench_device()
    for shape in shapes or SHAPES[device]:
        for count in groups:
            for with_residual in (False, True):
                case = _Case(device, shape, count, with_residual)
                for name in passes:
                    yield from _rows(case, name, rounds, only)


class _Case:
    """Inputs of one layer, and the contenders on them."""

    def __init__(self, device, shape, groups, with_residual):
        self.device, self.shape, self.groups = device, shape, groups
        dtype = getattr(torch, dtype_name(device))
        draw = lambda: torch.randn(
            shape[0], shape[1], shape[2], shape[2], device=device, dtype=dtype
        )
        last = lambda: draw().contiguous(memory_format=torch.channels_last)
        self.images, self.gradient = last().requires_grad_(), last()
        self.residual = last().requires_grad_() if with_residual else None
        rows = torch.rand(4, shape[1], device=device) + 0.5
        self.weight, self.bias = (row.clone().requires_grad_() for row in rows[:2])
        self.running = [row.clone() for row in rows[2:]]

    def contenders(self):
        """{name: the layer, images → result}"""
        found = {"fastneg": self.fused, "torch": self.layers}
        if self.device == "cuda" and self.shape[1:] == COMPILED:
            found["torch_compile"] = torch.compile(self.layers, dynamic=False)
        return found

    def fused(self):
        return batch_norm(
            self.images,
            self.weight,
            self.bias,
            *self.running,
            residual=self.residual,
            relu=True,
            groups=self.groups,
        )

    def layers(self):
        """What torch's layers do: one for the whole batch, or a loop over the groups."""
        if self.groups == 1:
            out = self._norm(self.images, *self.running)
        else:
            mean, var = (row.repeat(self.groups, 1) for row in self.running)
            parts = self.images.chunk(self.groups)
            out = torch.cat([self._norm(part, mean[i], var[i]) for i, part in enumerate(parts)])
            with torch.no_grad():
                for row, rows in zip(self.running, (mean, var), strict=True):
                    row.copy_(rows.mean(0))
        if self.residual is not None:
            out = out + self.residual if self.groups == 1 else out.add_(self.residual)
        return F.relu_(out)

    def _norm(self, images, mean, var):
        return F.batch_norm(images, mean, var, self.weight, self.bias, True)

    def runner(self, layer, name):
        """A function that runs one pass of a layer."""
        inputs = [self.images, self.weight, self.bias]
        inputs += [] if self.residual is None else [self.residual]

        def run():
            if name == "no_grad":
                with torch.no_grad():
                    return layer()
            out = layer()
            if name == "forward":
                return out
            return torch.autograd.grad(out, inputs, self.gradient)

        return run


def _rows(case, name, rounds, only):
    runners, graphed, skipped = {}, {}, {}
    for contender, layer in case.contenders().items():
        if only is not None and contender not in only:
            continue
        try:
            runners[contender], graphed[contender] = _prepared(
                case.runner(layer, name), case.device
            )
        except Exception as error:  # a contender that cannot run is a row with its reason
            skipped[contender] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    least = MEMORY_PASSES[name][case.residual is not None]
    source, target = torch.empty_like(case.images), torch.empty_like(case.images)
    runners["copy"] = _prepared(lambda: target.detach().copy_(source.detach()), case.device)[0]
    times = take_turns(runners, rounds, case.device)
    floor = statistics.median(times.pop("copy")) * least / 2
    n, channels, side = case.shape
    common = {
        "bench": "batch_norm",
        "device": case.device,
        "N": n,
        "C": channels,
        "H": side,
        "G": case.groups,
        "residual": case.residual is not None,
        "dtype": dtype_name(case.device),
        "pass": name,
    }
    for contender, each in times.items():
        row = {**common, "contender": contender, **figures_of(each)}
        row["cuda_graph"] = graphed[contender]
        row["share_of_floor"] = floor / row["ms_median"]
        if "fastneg" in times:
            row["times_of_fastneg"] = times_of(each, times["fastneg"])
        yield row
    for contender, reason in skipped.items():
        yield {**common, "contender": contender, "skipped": reason}


def _prepared(runner, device):
    """(the runner, from a CUDA graph where it can be; whether it is)."""
    runner()
    if device == "cuda":
        return in_cuda_graph(runner), True
    return runner, False
