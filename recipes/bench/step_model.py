"""A model of a training step on any GPU: for each operator the longer of the times of its bytes and
its operations.

It is a roofline: nothing waits, no kernel is launched, nothing but large copies and products is
slower than they are. The goal is 0.7 of it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from fastneg import checkout
from fastneg.negatives import NEGATIVES
from fastneg.recipes.bench.gpus import GPUS, gpu_of
from fastneg.recipes.bench.step_count import Op, count_step, gradient_bytes

EXPECTED = 0.7
"""The share of the roofline that is the goal."""
VIEW_PASSES_BYTES = 20
"""Bytes for each value of a view that DALI moves: cut as uint8, colours to float32, blur of half of
them, normalised to float16, copied. Decoding, by engines of their own, is not in it."""
CHANGED = {
    "fastneg": {},
    "without_fused_bn": {"fused_bn": "off"},
    "without_split_bn": {"bn": "none"},
}
"""{contender of `fastneg bench step`: changes of the config} whose wholes are modelled."""


@dataclass(frozen=True)
class Rates:
    """What a GPU reaches."""

    gb_s: float
    tflop_s: float

    @classmethod
    def of(cls, gpu):
        """Of a name in GPUS, by its data sheet."""
        return cls(GPUS[gpu].reached_gb_s, GPUS[gpu].reached_tflop_s)

    def ms(self, op):
        return max(op.bytes / self.gb_s / 1e6, op.flops / self.tflop_s / 1e9)


def model_rows(config, rates, gpu):
    """Yield a row for each term of a step, and one for the whole of it and of its variants.

    Args:
        config: `PretrainConfig`.
        rates: `Rates`.
        gpu: what the rows call the device.
    """
    common = {"bench": "step", "measured": "model", "gpu": gpu, "backbone": config.backbone}
    common |= {"image_size": config.image_size, "N": config.batch_size}
    common |= {"gb_s": rates.gb_s, "tflop_s": rates.tflop_s}
    for contender, changes in CHANGED.items():
        changed = config.replace(**changes)
        ops = [*count_step(changed), *made_beside(changed)]
        total = sum(map(rates.ms, ops))
        row = {**common, "contender": contender}
        for term in dict.fromkeys(op.term for op in ops) if contender == "fastneg" else ():
            of_term = [op for op in ops if op.term == term]
            yield {**row, "term": term, **_sums(of_term, rates, total)}
        samples = 1000 * config.batch_size / total
        yield {
            **row,
            "term": "all",
            **_sums(ops, rates, total),
            "modelled_samples_per_s": samples,
            "expected_samples_per_s": EXPECTED * samples,
        }


def step_on(config, gpu):
    """(milliseconds of a step, those of its backward pass, bytes of its gradients) to expect on a
    GPU: the model over `EXPECTED`."""
    rates, ops = Rates.of(gpu), [*count_step(config), *made_beside(config)]
    ms = lambda phases: sum(rates.ms(op) for op in ops if op.phase in phases) / EXPECTED
    backward = ms(("backward",))
    return ms({op.phase for op in ops}), backward, gradient_bytes(config)


def _sums(ops, rates, total):
    ms = sum(map(rates.ms, ops))
    bytes_ms = sum(op.bytes for op in ops) / rates.gb_s / 1e6
    return {
        "operators": sum(op.bytes > 0 for op in ops),
        "gigabytes": sum(op.bytes for op in ops) / 1e9,
        "gflop": sum(op.flops for op in ops) / 1e9,
        "modelled_ms": ms,
        "share": ms / total,
        "bound_by": "memory" if bytes_ms > 0.5 * ms else "operations",
    }


def made_beside(config):
    """What is made for a step outside the network: views by DALI, patches of the negatives."""
    values = config.batch_size * 3 * config.image_size**2
    yield Op("views", "beside", "views (DALI, without decoding)", 2 * values * VIEW_PASSES_BYTES, 0)
    if any(not NEGATIVES[kind].from_queue for kind in config.negative_kinds()):
        # float16, read and written, as patches are; other kinds take more
        moved = 2 * 2 * values * config.negatives_per_query
        yield Op("negatives", "beside", "negatives", moved, 0)


def step_model(config, gpu):
    """Yield the rows of `fastneg bench step --model`, with what was measured on such a card beside
    each whole."""
    for row in model_rows(config, Rates.of(gpu), gpu):
        yield row | (_measured_beside(row) if row["term"] == "all" else {})


def _measured_beside(row):
    """{"measured_samples_per_s", "share_of_model"} of the same step in docs/benchmarks; None where
    no such card was measured."""
    same = ("contender", "backbone", "image_size", "N")
    rates = [
        float(each["samples_per_s"])
        for each in _benchmark_rows()
        if gpu_of(each.get("device_name")) == row["gpu"]
        and each.get("samples_per_s")
        and each.get("measured", "step") in ("", "step")
        and all(each.get(name) == str(row[name]) for name in same)
    ]
    if not rates:
        return {"measured_samples_per_s": None, "share_of_model": None}
    return {
        "measured_samples_per_s": rates[-1],
        "share_of_model": rates[-1] / row["modelled_samples_per_s"],
    }


def _benchmark_rows():
    folder = Path(checkout.__file__).resolve().parents[1] / "docs" / "benchmarks"
    for path in sorted(folder.glob("*.csv")):
        with open(path, encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)
