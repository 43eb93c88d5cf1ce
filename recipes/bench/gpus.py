"""The GPUs that can be modelled, with the numbers of their data sheets. Nothing here imports torch.

Sources: NVIDIA's data sheets of the H100 SXM, H200 SXM, B200 (HGX, one GPU), A100 SXM 80 GB, L40S
and GeForce RTX 4090 (its white paper, Ada); dense rates, without sparsity.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastneg.config import Config
from fastneg.options import option

REACHED_BANDWIDTH, REACHED_RATE = 0.9, 0.8
"""Shares of the data sheet's figures that a large copy and a large matrix product reach."""


@dataclass(frozen=True)
class Gpu:
    """One GPU by its data sheet."""

    bandwidth_gb_s: float
    """Of its memory, 1e9 bytes/s."""
    bf16_tflop_s: float
    """Matrix products in bfloat16 with float32 sums, 1e12 operations/s."""
    inside_gb_s: float
    """To other GPUs of its machine, in one direction: NVLink, or PCIe where there is none."""

    @property
    def reached_gb_s(self) -> float:
        return REACHED_BANDWIDTH * self.bandwidth_gb_s

    @property
    def reached_tflop_s(self) -> float:
        return REACHED_RATE * self.bf16_tflop_s


GPUS = {
    "H100": Gpu(3350, 989, 450),
    "H200": Gpu(4800, 989, 450),
    "B200": Gpu(8000, 2250, 900),
    "A100": Gpu(2039, 312, 300),
    "L40S": Gpu(864, 362, 32),
    "RTX4090": Gpu(1008, 165, 32),
}


def gpu_of(device_name: str | None) -> str | None:
    """The name in GPUS that a device's full name holds, or None."""
    whole = (device_name or "").replace(" ", "")
    return next((name for name in GPUS if name in whole), None)


@dataclass(frozen=True)
class ModelOption(Config):
    """A GPU in place of the one that is measured."""

    model: str | None = option(
        None, choices=tuple(GPUS), by=("name", dict.fromkeys(("step", "scaling", "all")))
    )
    """With step: measure nothing, and model ResNet-50 at 224 px on this GPU, term by term, from
    counted bytes and operations; with scaling: the step of the model, for 1 to 1,024 of them."""
