"""GPUs that are modelled: what their data sheets say. Nothing here imports torch.

Sources: NVIDIA's data sheets of the H100 SXM, H200 SXM, B200 (HGX, one GPU), A100 SXM 80 GB, L40S
and GeForce RTX 4090 (its white paper, Ada); dense rates, without sparsity.
"""

from __future__ import annotations

from dataclasses import dataclass

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
