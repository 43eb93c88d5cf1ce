"""fastneg demo: the whole pipeline on the built-in set, with and without negatives."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from fastneg.config import (
    ConfigError,
    DemoConfig,
    EncodeConfig,
    ReportConfig,
    default_workers,
)
from fastneg.counts import counted
from fastneg.data import stencils
from fastneg.data.encode.encode import encode
from fastneg.files import OutputError, output_folder
from fastneg.recipes.demo_arms import UNTRAINED, arms_of, run_arms
from fastneg.recipes.demo_summary import summary
from fastneg.recipes.presets import tiny_simclr, tiny_simclr_patch
from fastneg.recipes.settings_files import read_settings
from fastneg.report.page import write_report
from fastneg.runs.folder import read_run
from fastneg.runs.paths import CONFIG

STEPS = ("make the images", "encode", "train and evaluate", "report")
ARMS = {"none": tiny_simclr, "patch": tiny_simclr_patch}
"""{name of an arm that is trained: its preset}, the plain one first."""


@dataclass(frozen=True)
class Size:
    train_images: int
    test_images: int
    epochs: int
    warmup_epochs: int
    batch_size: int
    takes: str


SIZES = {
    "tiny": Size(360, 120, 2, 0, 60, "half a minute on two CPU cores"),
    "small": Size(6000, 600, 24, 2, 100, "a few minutes on two CPU cores, most of them for step 3"),
}


def run_demo(config: DemoConfig):
    """Make the images, encode them, train and measure an encoder with negatives beside one without,
    report.

    Returns:
        0 when all of it worked; 1 when a set could not be evaluated; 128 + signal where one stopped
        it, and the same command goes on from there.
    """
    out, size, began = demo_output(config.out), SIZES[config.size], time.perf_counter()
    _same_demo(out, config)
    print(
        f"From images to a report in {counted(len(STEPS), 'step')}, all of it in {out}/: "
        f"{size.takes}.",
        flush=True,
    )
    spec = stencils.StencilsSpec(seed=config.seed)
    counts = {"train": size.train_images, **dict.fromkeys(stencils.TEST_SETS, size.test_images)}
    _step(
        "make the images",
        lambda: [_make_images(spec, name, count, out) for name, count in counts.items()],
    )
    _step("encode", lambda: [_encode(out, name, config.seed) for name in counts])
    arms = arms_of(out, settings_of(config))
    code, stopped = _step("train and evaluate", lambda: _measured(arms))
    if stopped:
        print("Stopped; the same command resumes from here.", flush=True)
        return 128 + stopped
    runs = tuple(str(arm.run) for arm in arms)
    report = _step("report", lambda: write_report(ReportConfig(runs, str(out / "report.html"))))
    results = {arm.name: read_run(arm.run, arm.name).results for arm in arms}
    print(f"\n── done in {time.perf_counter() - began:.0f} s " + "─" * 46)
    lines = [*summary(results), "", *_where(out, report), "", *next_steps(config)]
    print("\n".join(lines), flush=True)
    return code


def settings_of(config):
    """{name of an arm: its `PretrainConfig`, without data and out} of a `DemoConfig`, the plain one
    first: they differ in the negatives alone."""
    size = SIZES[config.size]
    changes = {
        "epochs": size.epochs,
        "warmup_epochs": size.warmup_epochs,
        "batch_size": size.batch_size,
        "seed": config.seed,
        "device": config.device,
        "log_every": max(1, size.train_images // size.batch_size // 6),
    }
    return {name: preset().replace(**changes) for name, preset in ARMS.items()}


def _measured(arms):
    trained = [f"{arm.name} ({_negatives(arm.settings)})" for arm in arms if arm.trained]
    print(
        f"{arms[0].settings.method} from the same weights on the same views, side by side: "
        f"{' and '.join(trained)}.\nWhat they print is in {arms[0].log.parent}/.",
        flush=True,
    )
    return run_arms(arms)


def _negatives(settings):
    kinds = settings.negative_kinds()
    return f"{' and '.join(kinds)} negatives, dose {settings.dose:g}" if kinds else "no negatives"


def demo_output(out):
    """The demo's folder, as a Path: a new or empty one, or that of an earlier demo.

    Raises:
        OutputError: it is no folder, or holds anything else, which the demo could write over.
    """
    out = output_folder(out, "--out")
    found = sorted(entry.name for entry in out.iterdir()) if out.is_dir() else []
    found = [name for name in found if not name.startswith(".")]
    images = out / "images"
    sets = {entry.name for entry in images.iterdir()} if images.is_dir() else {""}
    classes = {entry.name for each in sets & {"train"} for entry in (images / each).iterdir()}
    if found and not (sets <= {"train", *stencils.TEST_SETS} and classes <= set(stencils.CLASSES)):
        raise OutputError(
            f"--out is {out}, which holds {', '.join(found[:3])}{' …' if found[3:] else ''} and is "
            "of no earlier demo: a new or empty folder was expected, since the demo writes over "
            "what has its files' names."
        )
    return out


def _same_demo(out, config):
    """Before anything is written over: OutputError where `out` is of a demo of another size or
    seed, whose images would be replaced by those of this one."""
    for name, settings in settings_of(config).items():
        path = out / name / CONFIG
        there = read_settings(str(path)) if path.is_file() else {}
        for field in ("seed", "epochs"):
            wanted = getattr(settings, field)
            if there.get(field, wanted) != wanted:
                raise OutputError(
                    f"--out is {out}, which is of a demo with {field} {there[field]}, not "
                    f"{wanted}: keep its --size and --seed, or choose another --out."
                )


def _where(out, report):
    kept = "checkpoints, figures as JSON lines, TensorBoard events"
    runs = f"{out}/{{{','.join((*ARMS, UNTRAINED))}}}/"
    return [f"Report:  {report} (open it in a browser)", f"Runs:    {runs} ({kept})"]


def next_steps(config):
    """Command lines that ask whether the negatives help, and that start with own images."""
    device = () if config.device == "auto" else ("--device", config.device)
    study = (
        (
            "study",
            "--size",
            "cpu",
            "--dose",
            f"{tiny_simclr_patch().dose:g}",
            *device,
            "--out",
            "study",
        ),
    )
    own = (
        ("encode", "FOLDER", "mine.beton"),
        ("pretrain", "--preset", "moco_patch_in100", "--data", "mine.beton", "--out", "runs/mine"),
    )
    # make demo does not put it on the path.
    program = "fastneg" if shutil.which("fastneg") else f"{_from_here(sys.executable)} -m fastneg"
    shown = [
        [f"  {program} {shlex.join(map(str, words))}" for words in commands]
        for commands in (study, own)
    ]
    return [
        "Next, the question itself, on ten seeds (hours; it goes on after any stop):",
        *shown[0],
        "Or your own images (on a GPU):",
        *shown[1],
    ]


def _from_here(path):
    path = Path(path)
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _make_images(spec, name, count, out):
    folder = stencils.write_folder(
        spec, name, count, out / "images" / name, workers=default_workers()
    )
    found = sum(1 for _ in folder.glob("*/*.jpg"))
    if found != count:
        raise ConfigError(
            f"{folder} holds {counted(found, 'image')}, {count} were made: it is of a demo of "
            "another size. Choose another --out."
        )
    print(f"{name}: {counted(count, 'image', ',')}", flush=True)


def _encode(out, name, seed):
    # One process is enough: JPEG bytes pass through, and starting more takes longer than the work.
    done = encode(
        EncodeConfig(str(out / "images" / name), str(out / f"{name}.beton"), seed=seed, workers=1)
    )
    untouched = counted(done["passed_through"], "JPEG", ",")
    said = (
        f"{counted(done['images'], 'image', ',')}, {done['bytes'] / 2**20:.1f} MiB, "
        f"{untouched} untouched"
    )
    print(f"{out / name}.beton: {said}", flush=True)


def _step(name, work):
    print(f"\n── {STEPS.index(name) + 1}/{len(STEPS)} {name} " + "─" * (56 - len(name)), flush=True)
    began = time.perf_counter()
    done = work()
    print(f"   {time.perf_counter() - began:.1f} s", flush=True)
    return done
