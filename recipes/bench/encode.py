"""fastneg bench encode: images/s of writing a folder of JPEGs into a .beton file, against FFCV's
writer and a plain copy of the files."""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from fastneg.config import EncodeConfig, default_workers
from fastneg.data.beton.writer import PAGE_SIZE
from fastneg.data.encode.encode import encode
from fastneg.data.encode.ffcv_process import run_ffcv
from fastneg.data.pool import CHUNK
from fastneg.progress import Progress
from fastneg.recipes.bench.loader_contenders import missing
from fastneg.recipes.bench.photos import HEIGHT, WIDTH, photos, write_file

# images of the folder that shows what starting takes: work for every process
FEW = 2 * CHUNK * default_workers()


def bench_encode(rounds=3, images=16 * FEW, contenders=None):
    """Yield a row for each contender.

    It holds images/s, MB/s of the source files, CPU milliseconds per image and the ratios to FFCV's
    rates, as medians of the rounds. All contenders read files that are in memory.

    Starting takes seconds that do not grow with the folder (imports, processes). Each contender
    therefore also writes a folder of `FEW` images: start_s is the time of those, and the rates and
    CPU times are of the images beyond them.

    Contenders:
        passthrough, passthrough_markers: the default check, and `--check markers`.
        ffcv: `--writer ffcv --ffcv_mode jpg`. It decodes each image beforehand, since FFCV's writer
            would wait for ever for a bad one.
        ffcv_unchecked: FFCV's DatasetWriter without that.
        copy: one process, nothing synced. It is the limit; the others have as many processes as
            there are cores.
    """
    workers, contenders = default_workers(), dict(contenders or CONTENDERS)
    skipped = {name: missing("ffcv") for name in contenders if name.startswith("ffcv")}
    skipped = {name: reason for name, reason in skipped.items() if reason is not None}
    measured = {name: run for name, run in contenders.items() if name not in skipped}
    size, figures = _measured(measured, rounds, images, workers)
    median = {name: found["images_per_s"] for name, found in figures.items()}
    for name in contenders:
        row = {
            "bench": "encode",
            "contender": name,
            "images": images,
            "height": HEIGHT,
            "width": WIDTH,
            "bytes_per_image": size // images,
        }
        row["workers"] = 1 if name == "copy" else workers
        if name in skipped:
            yield {**row, "skipped": skipped[name]}
            continue
        yield {
            **row,
            **figures[name],
            **{
                f"ratio_to_{base}": median[name] / median[base] if base in median else None
                for base in ("ffcv", "ffcv_unchecked")
            },
        }


def _measured(contenders, rounds, images, workers):
    """(bytes of the source images, {contender: its figures})"""
    found, starts = ({name: [] for name in contenders} for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        size = _write(folder / "images", images)
        _write(folder / "few", FEW)
        run = lambda name, source: _run(contenders[name], folder / source, folder / name, workers)
        for name in contenders:
            run(name, "few")  # warms up
        for _ in range(rounds):  # in turn, so that a machine whose speed drifts treats them alike
            for name in contenders:
                found[name].append(run(name, "images"))
                starts[name].append(run(name, "few"))
    return size, {name: _figures(found[name], starts[name], images, size) for name in contenders}


def _figures(runs, starts, images, size):
    """Figures of the images beyond the few, from (seconds, CPU seconds) of each run."""
    begin, few_cpu = (statistics.median(values) for values in zip(*starts, strict=True))
    more = images - FEW
    rates = sorted(more / (seconds - begin) for seconds, _ in runs)
    return {
        "images_per_s": (rate := statistics.median(rates)),
        "images_per_s_slowest": rates[0],
        "images_per_s_fastest": rates[-1],
        "mb_per_s": rate * size / images / 1e6,
        "cpu_ms_per_image": 1000 * (statistics.median(cpu for _, cpu in runs) - few_cpu) / more,
        "start_s": begin,
    }


def _run(contender, source, out, workers):
    """(seconds, CPU seconds) of one run, whose output is removed."""
    before, began = _cpu_seconds(), time.perf_counter()
    contender(source, out, workers)
    seconds, cpu_seconds = time.perf_counter() - began, _cpu_seconds() - before
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    return seconds, cpu_seconds


def _cpu_seconds():
    """CPU seconds of this process and all below it, living or finished: a fork server's workers are
    not this process's children."""
    usage, children = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
            fields = stat.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
            # own and finished children's, user and system
            usage[int(stat.parent.name)] = sum(map(int, fields[11:15]))
    ticks, waiting = 0, [os.getpid()]
    while waiting:
        process = waiting.pop()
        ticks += usage.get(process, 0)
        waiting += children.get(process, [])
    return ticks / os.sysconf("SC_CLK_TCK")


def passthrough(source, out, workers):
    encode(EncodeConfig(str(source), str(out), workers=workers))


def passthrough_markers(source, out, workers):
    encode(EncodeConfig(str(source), str(out), check="markers", workers=workers))


def ffcv(source, out, workers):
    encode(EncodeConfig(str(source), str(out), writer="ffcv", ffcv_mode="jpg", workers=workers))


def ffcv_unchecked(source, out, workers):
    config = EncodeConfig(str(source), str(out), writer="ffcv", ffcv_mode="jpg", workers=workers)
    paths = sorted(source.glob("*/*.jpg"))
    with Progress("encode", len(paths)) as progress:
        run_ffcv(
            config,
            out,
            [str(path) for path in paths],
            [int(path.parent.name) for path in paths],
            PAGE_SIZE,
            progress,
        )


def copy(source, out, workers):
    shutil.copytree(source, out)


CONTENDERS = {
    contender.__name__: contender
    for contender in (passthrough, passthrough_markers, ffcv, ffcv_unchecked, copy)
}


def _write(folder, count):
    """Write the photos into class folders; returns the bytes of all."""
    return sum(write_file(folder, i, *photo) for i, photo in enumerate(photos(count)))
