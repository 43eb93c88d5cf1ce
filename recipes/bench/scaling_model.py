"""How a training step scales: a model from measured numbers, with its assumptions spelled out.

Legend: G processes (GPUs), H machines, D feature dimension.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastneg.counts import counted
from fastneg.recipes.bench.gpus import GPUS, ModelOption
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
class ScalingOptions(ModelOption):
    """What the model assumes of the links and the data, which are not there to be measured."""

    inside_gb_s: float | None = bench_option("scaling", None, above=0.0)
    """The model's bandwidth between GPUs of a machine, in 1e9 bytes/s and one direction; default:
    that of the GPU of --model, otherwise 450, of NVLink 4."""
    between_gb_s: float | None = bench_option("scaling", 50.0, above=0.0)
    """The model's bandwidth of a GPU to other machines, in 1e9 bytes/s; default: one 400 Gbit/s
    adapter for each GPU."""
    latency_us: float | None = bench_option("scaling", 5.0, at_least=0.0)
    """The model's latency of one hop of a collective, in microseconds."""
    loader_cpu_ms: float | None = bench_option("scaling", 1.7, at_least=0.0)
    """The model's time of one CPU core for the data of an image, in milliseconds; default: the time
    for decoding alone on an AVX-512 CPU (docs/benchmarks/data.md). A GPU's engines reduce it, which
    is not measured yet."""
    image_kb: float | None = bench_option("scaling", 110.0, above=0.0)
    """The model's size of an image in the .beton file, in 1,000 bytes; default: ImageNet's mean."""


def inside_of(inside_gb_s, model):
    """The bandwidth within a machine: what was given, else that of the GPU, else NVLink 4's."""
    return inside_gb_s or (450.0 if model is None else GPUS[model].inside_gb_s)


ASSUMPTIONS = (
    "every process does the same step, measured or modelled, on its own part of the batch (weak "
    "scaling), and none is slower than another",
    "gradients: all-reduce as a ring or as trees, each process sends 2 (G - 1) / G of the bytes at "
    "the slowest link, over 2 (G - 1) or 2 log2 G hops, whichever are fewer",
    "the reduction hides behind all of the backward pass but its last bucket (25 MiB)",
    "keys: all-gather, each process receives G - 1 parts; images of shuffled batch normalisation: "
    "all-to-all, (G - 1) / G of them leave",
    "neither of these two hides behind anything",
    "a loader that keeps up on every process; loader_cores and disk_gb_s say what it takes of each "
    "machine, with every image read once an epoch and none kept in memory",
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
    hops_ms = 2 * min(gpus - 1, math.ceil(math.log2(gpus))) * hop_ms
    reduce_ms = 2 * share * step.gradient_bytes / per_ms + hops_ms
    last_ms = 2 * share * min(BUCKET_BYTES, step.gradient_bytes) / per_ms + hops_ms
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


GOOD = 0.9
"""The efficiency below which training no longer scales, by the rule of `where_it_stops`."""


def data_needs(samples_per_s, machines, loader_cpu_ms, image_kb):
    """What the loader takes of each machine: {"loader_cores", "disk_gb_s"}."""
    each = samples_per_s / machines
    return {"loader_cores": each * loader_cpu_ms / 1000, "disk_gb_s": each * image_kb / 1e6}


def where_it_stops(rows, batch_size, queue_size):
    """Sentences about the end of scaling.

    Args:
        rows: modelled ones, by processes.
        batch_size: of one process.
        queue_size: keys in the queue; 0 or None: there is none.
    """
    poor = next((row for row in rows if row["efficiency"] < GOOD), None)
    if poor is None:
        last = rows[-1]
        yield (
            f"At {last['processes']:,} processes a step still has {last['efficiency']:.0%} of the "
            "speed of one alone."
        )
    else:
        parts = {
            "the gradients that nothing hides": poor["exposed_ms"],
            "the gather of the keys": poor["gather_ms"],
            "the exchange of images": poor["exchange_ms"],
        }
        longest = max(parts, key=parts.get)
        yield (
            f"From {poor['processes']:,} processes on a step has less than {GOOD:.0%} of the speed "
            f"of one alone; most of what is lost is {longest}, {parts[longest]:.1f} ms."
        )
    if queue_size:
        most = queue_size // batch_size
        yield (
            f"A queue of {queue_size:,} keys holds one whole batch of at most {most:,} processes: "
            "beyond, a smaller batch for each or a longer queue."
        )
