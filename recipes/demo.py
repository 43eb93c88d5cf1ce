"""fastneg demo: the whole road on the built-in shape × texture set."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from fastneg.config import ConfigError, DemoConfig, EncodeConfig, EvaluateConfig, KnnConfig, LinearConfig, ReportConfig, default_workers
from fastneg.data import stencils
from fastneg.recipes.encode import run_encode
from fastneg.recipes.evaluate import run_evaluate
from fastneg.recipes.knn import run_knn
from fastneg.recipes.linear import run_linear
from fastneg.recipes.presets import tiny_cpu
from fastneg.report.page import write_report
from fastneg.training.trainer import pretrain


@dataclass(frozen=True)
class Size:
    train_images: int
    test_images: int
    epochs: int
    batch_size: int
    queue_size: int


SIZES = {"tiny": Size(360, 120, 2, 60, 240), "small": Size(6000, 600, 18, 100, 1024)}


def run_demo(config: DemoConfig):
    """Make the images, encode them, pre-train, probe, evaluate, report; returns 0 when all of it worked."""
    out, size, began = Path(config.out), SIZES[config.size], time.perf_counter()
    spec = stencils.StencilsSpec(seed=config.seed)
    counts = {"train": size.train_images, **dict.fromkeys(stencils.TEST_SETS, size.test_images)}
    _step("make the images", lambda: [_make_images(spec, name, count, out) for name, count in counts.items()])
    encoded = _step("encode", lambda: [_encode(out, name, config.seed) for name in counts])
    if max(encoded):
        return 1
    settings = tiny_cpu().replace(
        data=str(out / "train.beton"),
        out=str(out / "run"),
        epochs=size.epochs,
        batch_size=size.batch_size,
        queue_size=size.queue_size,
        seed=config.seed,
        device=config.device,
        log_every=max(1, size.train_images // size.batch_size // 6),
    )
    result = _step("pre-train", lambda: pretrain(settings))
    if not result.finished:
        return 128 + result.signal
    run, train, val = settings.out, str(out / "train.beton"), str(out / "in_domain.beton")
    sets = ",".join(f"{name}={out / name}.beton" for name in stencils.TEST_SETS)
    codes = [
        _step("linear probe", lambda: run_linear(LinearConfig(run, train, val, device=config.device))),
        _step("kNN", lambda: run_knn(KnnConfig(run, train, val, device=config.device))),
        _step("evaluate", lambda: run_evaluate(EvaluateConfig(run, sets, corruptions="on", device=config.device))),
    ]
    report = _step("report", lambda: write_report(ReportConfig((run,), str(out / "report.html"))))
    elapsed = time.perf_counter() - began
    print(f"\nImages, .beton files and the run: {out}/\nReport: {report}\nThe whole road took {elapsed:.0f} s.", flush=True)
    return max(codes)


def _make_images(spec, name, count, out):
    folder = stencils.write_folder(spec, name, count, out / "images" / name, workers=default_workers())
    found = sum(1 for _ in folder.glob("*/*.jpg"))
    if found != count:
        raise ConfigError(f"{folder} holds {found} images, {count} were made: it is of a demo of another size. Choose another --out.")
    print(f"{name}: {count} images", flush=True)


def _encode(out, name, seed):
    # One process is enough: JPEG bytes pass through, and starting more takes longer than the work.
    return run_encode(EncodeConfig(str(out / "images" / name), str(out / f"{name}.beton"), seed=seed, workers=1))


def _step(name, work):
    print(f"\n── {name} " + "─" * (60 - len(name)), flush=True)
    began = time.perf_counter()
    done = work()
    print(f"   {time.perf_counter() - began:.1f} s", flush=True)
    return done
