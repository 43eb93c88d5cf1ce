"""fastneg bench encode: images/s of writing a folder of JPEGs into a .beton file, beside FFCV's writer and a plain copy of the files."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path

from fastneg.config import EncodeConfig, default_workers
from fastneg.data.beton_writer import PAGE_SIZE
from fastneg.data.encode import encode
from fastneg.data.ffcv_writer import run_ffcv
from fastneg.data.pool import Progress
from fastneg.recipes.bench_loader import HEIGHT, WIDTH, photos
from fastneg.recipes.loader_contenders import measure, missing


FEW = 16  # images of the folder that shows what starting takes


def bench_encode(rounds=3, images=1000, contenders=None):
    """Yield one row per contender: images/s, MB/s of the source files, CPU milliseconds per image, ratios to FFCV's; medians of the rounds.

    Starting takes seconds that do not grow with the folder (imports, processes), so each contender also writes a folder of `FEW` images:
    rates and CPU times are of the images beyond those, start_s is how long the few took. ffcv is `--writer ffcv --ffcv_mode jpg`, which
    decodes each image beforehand since FFCV's writer would wait for ever for a bad one; ffcv_unchecked is its DatasetWriter without that.
    Every contender but the copy has the same number of processes; the copy, one process and nothing synced, is the limit. All read files
    that are in memory.
    """
    workers = default_workers()
    contenders = dict(contenders or CONTENDERS)
    skipped = {name: missing("ffcv") for name in contenders if name.startswith("ffcv") and missing("ffcv") is not None}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        size = _write(folder / "images", images)
        _write(folder / "few", FEW)
        run = lambda name, source: _run(contenders[name], folder / source, folder / name, workers)
        figures = {name: [] for name in contenders if name not in skipped}
        for name in figures:
            run(name, "few")  # warms up
        for _ in range(rounds):  # in turn, so that a machine whose speed drifts treats them alike
            for name, found in figures.items():
                (seconds, cpu_seconds), (few_seconds, few_cpu_seconds) = run(name, "images"), run(name, "few")
                more = images - FEW
                found.append((more / (seconds - few_seconds), 1000 * (cpu_seconds - few_cpu_seconds) / more, few_seconds))
    rates = {name: statistics.median(found[0] for found in rounds) for name, rounds in figures.items()}
    for name in contenders:
        row = {"bench": "encode", "contender": name, "images": images, "height": HEIGHT, "width": WIDTH, "bytes_per_image": size // images}
        row["workers"] = 1 if name == "copy" else workers
        if name in skipped:
            yield {**row, "skipped": skipped[name]}
            continue
        yield {
            **row,
            "images_per_s": rates[name],
            "images_per_s_slowest": min(found[0] for found in figures[name]),
            "images_per_s_fastest": max(found[0] for found in figures[name]),
            "mb_per_s": rates[name] * size / images / 1e6,
            "cpu_ms_per_image": statistics.median(found[1] for found in figures[name]),
            "start_s": statistics.median(found[2] for found in figures[name]),
            **{f"ratio_to_{base}": rates[name] / rates[base] if base in rates else None for base in ("ffcv", "ffcv_unchecked")},
        }


def _run(contender, source, out, workers):
    """(seconds, CPU seconds) of one run, whose output is removed."""
    _, seconds, cpu_seconds = measure(lambda number: contender(source, out, workers), 0)
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    return seconds, cpu_seconds


def passthrough(source, out, workers):
    encode(EncodeConfig(str(source), str(out), workers=workers))


def ffcv(source, out, workers):
    encode(EncodeConfig(str(source), str(out), writer="ffcv", ffcv_mode="jpg", workers=workers))


def ffcv_unchecked(source, out, workers):
    config = EncodeConfig(str(source), str(out), writer="ffcv", ffcv_mode="jpg", workers=workers)
    paths = sorted(source.glob("*/*.jpg"))
    with Progress("encode", len(paths)) as progress:
        run_ffcv(config, out, [str(path) for path in paths], [int(path.parent.name) for path in paths], PAGE_SIZE, progress)


def copy(source, out, workers):
    shutil.copytree(source, out)


CONTENDERS = {contender.__name__: contender for contender in (passthrough, ffcv, ffcv_unchecked, copy)}


def _write(folder, count):
    """Write the photos into class folders; returns the bytes of all."""
    size = 0
    for i, (data, label) in enumerate(photos(count)):
        path = folder / str(label) / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        size += len(data)
    return size
