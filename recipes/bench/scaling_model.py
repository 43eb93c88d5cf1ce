"""How a training step scales: a model from measured numbers, with its assumptions spelled out.

Legend: G processes (GPUs), H machines, D feature dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastneg.config import Config
from fastneg.counts import counted
from fastneg.recipes.bench.registry import bench_option


@dataclass(frozen=True)
class Step:
    """What one process does in a step, measured or counted."""

    step_ms: float
    """A step of one process alone on its part of the batch."""
    backward_ms: float
    """The part of it in which gradients become ready, behind which their reduction can hide."""
    gradient_bytes: int
    """All gradients, as they are sent."""
    gathered_bytes: int
    """What each process contributes to gathers that nothing hides: its keys."""
    exchanged_bytes: int = 0
    """What each process sends to others before the key pass: images of shuffled batch
    normalisation."""


@dataclass(frozen=True)
class Links:
    """What carries the collectives."""

    inside_gb_s: float
    """Bandwidth of one process within a machine, in 1e9 bytes/s and one direction."""
    between_gb_s: float
    """Bandwidth of one process between machines."""
    latency_us: float
    """Of one collective's one hop."""


@dataclass(frozen=True)
class ScalingOptions(Config):
    """What the model assumes of the links that are not there to be measured."""

    inside_gb_s: float | None = bench_option("scaling", 450.0, above=0.0)
    """Bandwidth of a GPU to others of its machine that the model assumes, in 1e9 bytes/s and one
    direction; default that of NVLink 4."""
    between_gb_s: float | None = bench_option("scaling", 50.0, above=0.0)
    """Bandwidth of a GPU to other machines that the model assumes; default one 400 Gbit/s adapter
    for each GPU."""
    latency_us: float | None = bench_option("scaling", 5.0, at_least=0.0)
    """Latency of one hop of a collective that the model assumes, in microseconds."""


ASSUMPTIONS = (
    "every process does the measured step on its own part of the batch (weak scaling), and none "
    "is slower than another",
    "gradients: ring all-reduce, each process sends 2 (G - 1) / G of the bytes, at the slowest "
    "link of the ring",
    "the reduction hides behind all of the backward pass but its last bucket (25 MiB)",
    "keys: all-gather, each process receives G - 1 parts; images of shuffled batch normalisation: "
    "all-to-all, (G - 1) / G of them leave",
    "neither of these two hides behind anything",
    "a loader that keeps up on every process",
)
BUCKET_BYTES = 25 * 2**20


def predict(step, links, gpus, machines=1):
    """The time of a step on `gpus` processes over `machines` machines.

    Returns:
        dict: step_ms, reduce_ms (of which exposed_ms does not hide), gather_ms, exchange_ms,
            efficiency (of one process alone, 0 to 1).
    Raises:
        ValueError: processes do not divide over the machines.
    """
    if gpus < 1 or machines < 1 or gpus % machines:
        raise ValueError(
            f"{counted(gpus, 'process')} on {machines} machines: a multiple was expected."
        )
    if gpus == 1:
        return {
            "step_ms": step.step_ms,
            "reduce_ms": 0.0,
            "exposed_ms": 0.0,
            "gather_ms": 0.0,
            "exchange_ms": 0.0,
            "efficiency": 1.0,
        }
    per_ms = 1e6 * (
        links.inside_gb_s if machines == 1 else min(links.inside_gb_s, links.between_gb_s)
    )
    hop_ms, share = links.latency_us / 1000, (gpus - 1) / gpus
    reduce_ms = 2 * share * step.gradient_bytes / per_ms + 2 * (gpus - 1) * hop_ms
    last_ms = 2 * share * min(BUCKET_BYTES, step.gradient_bytes) / per_ms + 2 * (gpus - 1) * hop_ms
    exposed_ms = max(last_ms, reduce_ms - step.backward_ms)
    gather_ms = (gpus - 1) * (step.gathered_bytes / per_ms + hop_ms)
    exchange_ms = (
        share * step.exchanged_bytes / per_ms + (gpus - 1) * hop_ms if step.exchanged_bytes else 0.0
    )
    total = step.step_ms + exposed_ms + gather_ms + exchange_ms
    return {
        "step_ms": total,
        "reduce_ms": reduce_ms,
        "exposed_ms": exposed_ms,
        "gather_ms": gather_ms,
        "exchange_ms": exchange_ms,
        "efficiency": step.step_ms / total,
    }
