"""The goals of a first hour, and their reasons: counted bytes and operations, and the rates that
such GPUs reach.

A goal that another figure of the same machine sets is a function of the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Goal:
    """What one figure should be."""

    about: str
    """What the figure is of."""
    stage: str
    where: dict
    """Fields that the row has."""
    figure: str
    """The row's field."""
    unit: str
    basis: str
    """Where the goal comes from."""
    gpus: dict = field(default_factory=dict)
    """{name in `fastneg.recipes.bench.gpus.GPUS`: the goal there}; "" stands for every device."""
    of_rows: Callable[[list], float | None] | None = None
    """The goal by the figures of the same machine."""
    model: Callable[[list], float | None] = lambda rows: None
    """What a count of bytes and operations says, at the rates that the ceilings reached."""
    at_least: bool = True
    """Whether a higher figure is better."""

    def value(self, gpu, rows):
        """The goal on a GPU, or None where there is none."""
        if self.of_rows is not None:
            return self.of_rows(rows)
        return self.gpus.get(gpu, self.gpus.get(""))

    def measured(self, rows):
        """The figure's latest value, or None."""
        return measured(rows, self.stage, self.figure, **self.where)


def measured(rows, stage, figure, **where):
    """A figure of the last row of a stage that has these fields; None where there is none."""
    wanted = {"stage": stage, **where}
    found = [
        row[figure]
        for row in rows
        if row.get(figure) is not None
        and all(row.get(name) == value for name, value in wanted.items())
    ]
    return found[-1] if found else None


def _step_rate(share):
    def goal(rows):
        rate = measured(rows, "step", "samples_per_s", contender="fastneg")
        return None if rate is None else share * rate

    return goal


def _modelled_step(contender):
    return lambda rows: measured(rows, "step", "modelled_samples_per_s", contender=contender)


def _modelled_loss(n):
    def model(rows):
        rate = measured(rows, "ceilings", "tflop_s", contender="matmul")
        return None if rate is None else 4 * n * LOSS["K"] * 128 / rate / 1e9

    return model


def _step_ms(rows):
    return measured(rows, "step", "ms_median", contender="fastneg")


LOSS = {"pass": "forward_backward", "cuda_graph": True, "contender": "fastneg", "K": 65536}
GOALS = (
    Goal(
        "copy within the GPU's memory, bytes read plus bytes written",
        "ceilings",
        {"contender": "copy"},
        "gb_s",
        "GB/s",
        "0.9 of the data sheet's bandwidth, which large copies reach",
        {"H100": 3000, "H200": 4300, "A100": 1830, "L40S": 780, "RTX4090": 910, "B200": 7200},
    ),
    Goal(
        "one large matrix product in bfloat16",
        "ceilings",
        {"contender": "matmul"},
        "tflop_s",
        "TFLOP/s",
        "0.8 of the data sheet's dense rate, which Hopper cards reach on random numbers",
        {"H100": 790, "H200": 790, "A100": 250, "B200": 1800},
    ),
    Goal(
        "tests that fail",
        "kernel_tests",
        {"contender": "pytest"},
        "failed",
        "",
        "a test that fails is a fault",
        {"": 0},
        at_least=False,
    ),
    Goal(
        "the loss with its gradient, N 512, K 65,536, D 128",
        "info_nce",
        {**LOSS, "N": 512},
        "ms_median",
        "ms",
        "4 N K D operations at the rate of a large product take 0.022 ms; with two blocks on each "
        "multiprocessor, one's exponentials behind the other's products, 0.029 to 0.032 by "
        "counting; with one block 0.040 to 0.047",
        {"H100": 0.032, "H200": 0.032},
        at_least=False,
        model=_modelled_loss(512),
    ),
    Goal(
        "the loss with its gradient, N 4,096, K 65,536, D 128",
        "info_nce",
        {**LOSS, "N": 4096},
        "ms_median",
        "ms",
        "0.174 ms for the operations alone; by counting 0.177 to 0.200 with two blocks on each "
        "multiprocessor and 0.265 to 0.320 with one",
        {"H100": 0.2, "H200": 0.2},
        at_least=False,
        model=_modelled_loss(4096),
    ),
    Goal(
        "patch negatives beside a copy of as many bytes, N 256",
        "kernels",
        {"bench": "patch_shuffle", "contender": "fastneg", "N": 256},
        "share_of_floor",
        "",
        "it reads and writes what a copy does, in shorter runs",
        {"": 0.8},
    ),
    Goal(
        "training step of ResNet-50, 224 px, one patch negative, on a ready batch",
        "step",
        {"contender": "fastneg"},
        "samples_per_s",
        "samples/s",
        "0.7 of a roofline in which ReLU and addition are in the passes of batch normalisation: "
        "4,380 samples/s by an H100's bandwidth, 5,900 by an H200's",
        {"H100": 3070, "H200": 4130},
        model=_modelled_step("fastneg"),
    ),
    Goal(
        "the same with torch's own batch normalisation",
        "step",
        {"contender": "without_fused_bn"},
        "samples_per_s",
        "samples/s",
        "0.7 of its roofline, 3,220 samples/s on an H100 and 4,391 on an H200",
        {"H100": 2250, "H200": 3070},
        model=_modelled_step("without_fused_bn"),
    ),
    Goal(
        "the host's time to start a step",
        "step",
        {"contender": "fastneg"},
        "host_ms",
        "ms",
        "a step of the GPU in the same run: above it the GPU waits for the host",
        of_rows=_step_ms,
        at_least=False,
    ),
    Goal(
        "two views of each image through DALI, decoding engines at their default share",
        "loader",
        {"contender": "fastneg", "hw_decoder_load": None},
        "images_per_s",
        "images/s",
        "the step's rate in the same run: below it the step waits for data",
        of_rows=_step_rate(1.0),
    ),
    Goal(
        "the real command, .beton to log",
        "road",
        {"contender": "patch", "measured": "training"},
        "samples_per_s",
        "samples/s",
        "0.95 of the step's rate on a ready batch in the same run",
        of_rows=_step_rate(0.95),
    ),
    Goal(
        "the share of time in which the real command waits for data",
        "road",
        {"contender": "patch", "measured": "training"},
        "data_wait_share",
        "",
        "a loader that keeps up",
        {"": 0.05},
        at_least=False,
    ),
    Goal(
        "the step compiled, beside the step that is not",
        "compile_graphs",
        {"contender": "with_compile"},
        "times_of_fastneg",
        "times",
        "a compiler that helps",
        {"": 1.0},
        at_least=False,
    ),
    Goal(
        "the step as CUDA graphs, beside the step that is none",
        "compile_graphs",
        {"contender": "with_cuda_graphs"},
        "times_of_fastneg",
        "times",
        "no launch that the GPU waits for",
        {"": 1.0},
        at_least=False,
    ),
)
