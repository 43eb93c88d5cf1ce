"""fastneg bench loader: images/s of loaders that make two augmented views from the same JPEGs with
the same number of threads."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from fastneg.config import default_workers
from fastneg.data.beton.reader import BetonReader
from fastneg.recipes.bench.loader_contenders import BASES, CONTENDERS, LIMITS, missing
from fastneg.recipes.bench.loader_contenders.common import BenchData, measure
from fastneg.recipes.bench.loader_contenders.ours import fastneg
from fastneg.recipes.bench.measuring import swept_threads
from fastneg.recipes.bench.photos import HEIGHT, WIDTH, write_photos

SIZE = 224
HARDWARE_SHARES = (0.65, 0.8, 0.9, 1.0)
"""Shares of the images that the JPEG engines of a GPU get, in the sweep."""


def bench_loader(rounds=3, images=512, batch_size=64, contenders=CONTENDERS):
    """Yield one row per contender: images/s and CPU milliseconds per image, medians of the rounds,
    and the ratio to what it competes with.

    The patch negative is compared with the published way to it, everything else with torchvision's
    PIL loader. On CUDA a sweep over hw_decoder_load and threads follows.
    """
    with bench_images(images, batch_size) as data:
        yield from loader_rows(data, contenders, rounds)
        if data.device == "cuda":
            for threads in swept_threads(data.threads):
                yield from sweep_rows(data, threads, rounds)


@contextlib.contextmanager
def bench_images(images, batch_size):
    """The `BenchData` of so many images, for as long as it lasts."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        path, files = Path(folder) / "bench.beton", Path(folder) / "images"
        write_photos(path, images, folder=files)
        with BetonReader(path) as reader:
            yield BenchData(files, reader, batch_size, SIZE, default_workers(), device)


def loader_rows(data, contenders, rounds):
    """A row per contender, and one for each that cannot run here."""
    chosen = {name: contender for name, contender in contenders.items() if missing(name) is None}
    yield from _rows(data, _measured(data, chosen, rounds))
    for name in contenders.keys() - chosen.keys():
        yield {**_row(data, name), "skipped": missing(name)}


def _measured(data, contenders, rounds):
    """{name: [(images/s, CPU ms an image)] of each round}."""
    epochs = {name: contender(data) for name, contender in contenders.items()}
    figures = {name: [] for name in epochs}
    try:
        # in turn, so that a machine whose speed drifts treats them alike; the first is warm-up
        for number in range(rounds + 1):
            for name, epoch in epochs.items():
                images, seconds, cpu_seconds = measure(epoch, number)
                if number:
                    figures[name].append((images / seconds, 1000 * cpu_seconds / images))
    finally:
        for epoch in epochs.values():
            getattr(epoch, "close", lambda: None)()
    return figures


def _rows(data, figures):
    rates = {
        name: statistics.median(rate for rate, _ in rounds) for name, rounds in figures.items()
    }
    for name, rounds in figures.items():
        base = BASES.get(name, "torchvision_pil")
        yield {
            **_row(data, name),
            "images_per_s": rates[name],
            "images_per_s_slowest": min(rate for rate, _ in rounds),
            "images_per_s_fastest": max(rate for rate, _ in rounds),
            "cpu_ms_per_image": statistics.median(cpu for _, cpu in rounds),
            "compared_with": base if base in rates else None,
            "ratio": rates[name] / rates[base] if base in rates else None,
        }


def sweep_rows(data, threads, rounds):
    """A row for each share of the images that the JPEG engines of a GPU get, with so many
    threads."""
    few = replace(data, threads=threads)
    contenders = {
        f"fastneg_{share}": partial(fastneg, hw_decoder_load=share) for share in HARDWARE_SHARES
    }
    for share, row in zip(
        HARDWARE_SHARES, _rows(few, _measured(few, contenders, rounds)), strict=True
    ):
        yield {**row, "contender": "fastneg", "hw_decoder_load": share}


def _row(data, name):
    return {
        "bench": "loader",
        "contender": name,
        "device": "cpu" if name in ("ffcv",) else data.device,
        "height": HEIGHT,
        "width": WIDTH,
        "view_size": data.view_size,
        "batch_size": data.batch_size,
        "threads": data.threads,
        "hw_decoder_load": None,
    }


def plot_loader(rows, file):
    """A bar for each loader of `bench_loader`: images/s, beside its CPU time per image.

    What decoding alone would give stands below.
    """
    from matplotlib.figure import Figure

    measured = {
        row["contender"]: row
        for row in rows
        if row.get("images_per_s") and row.get("hw_decoder_load") is None
    }
    rows = [row for name, row in measured.items() if name not in LIMITS]
    if not rows:
        raise ValueError("There are no rows to draw: no contender was measured.")
    figure = Figure(figsize=(9, 0.45 * len(rows) + 1.2), layout="constrained")
    axis = figure.subplots()
    names, rates = ([row[field] for row in rows] for field in ("contender", "images_per_s"))
    bars = axis.barh(
        names, rates, color=["tab:orange" if "fastneg" in name else "0.6" for name in names]
    )
    axis.bar_label(
        bars,
        [
            f"{rate:,.0f} ({row['cpu_ms_per_image']:.1f} CPU ms)"
            for rate, row in zip(rates, rows, strict=True)
        ],
        padding=3,
    )
    axis.set_xlim(0, max(rates) * 1.3)
    axis.invert_yaxis()
    first = rows[0]
    axis.set_xlabel(
        f"images/s (CPU time per image): JPEGs of {first['width']}×{first['height']} px to two "
        f"views of {first['view_size']} px, {first['threads']} threads"
        + "".join(
            f"\n{name.replace('_', ' ')}: {measured[name]['images_per_s']:,.0f} images/s"
            for name in LIMITS
            if name in measured
        )
    )
    figure.savefig(file, format="svg", dpi=120)
