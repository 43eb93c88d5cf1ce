"""fastneg demo: the whole road on the built-in shape × texture set."""

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
    EvaluateConfig,
    KnnConfig,
    LinearConfig,
    ReportConfig,
    default_workers,
)
from fastneg.counts import counted
from fastneg.data import stencils
from fastneg.data.encode.encode import encode
from fastneg.evaluation.untrained import verdict
from fastneg.files import OutputError, output_folder
from fastneg.recipes.evaluate import run_evaluate
from fastneg.recipes.knn import run_knn
from fastneg.recipes.linear import run_linear
from fastneg.recipes.presets import tiny_cpu
from fastneg.report.page import write_report
from fastneg.runs.folder import read_run
from fastneg.runs.results import chance_coverage
from fastneg.training.trainer import pretrain

STEPS = ("make the images", "encode", "pre-train", "linear probe", "kNN", "evaluate", "report")


@dataclass(frozen=True)
class Size:
    train_images: int
    test_images: int
    epochs: int
    batch_size: int
    queue_size: int
    takes: str


SIZES = {
    "tiny": Size(360, 120, 2, 60, 240, "half a minute on two CPU cores"),
    "small": Size(
        6000, 600, 18, 100, 1024, "a few minutes on two CPU cores, most of them for step 3"
    ),
}


def run_demo(config: DemoConfig):
    """Make the images, encode them, pre-train, probe, evaluate, report; returns 0 when all of it
    worked."""
    out, size, began = demo_output(config.out), SIZES[config.size], time.perf_counter()
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
    # The set of textures alone also tells which classes live by their texture.
    sets = ",".join(
        f"{name}={out / name}.beton" + ":texture" * (name == "texture_only")
        for name in stencils.TEST_SETS
    )
    evaluation = EvaluateConfig(run, sets, corruptions="on", similarity="on", device=config.device)
    probe = LinearConfig(run, train, val, device=config.device, untrained="on")
    codes = [
        _step("linear probe", lambda: run_linear(probe)),
        _step("kNN", lambda: run_knn(KnnConfig(run, train, val, device=config.device))),
        _step("evaluate", lambda: run_evaluate(evaluation)),
    ]
    report = _step("report", lambda: write_report(ReportConfig((run,), str(out / "report.html"))))
    print(f"\n── done in {time.perf_counter() - began:.0f} s " + "─" * 46)
    print(
        "\n".join(
            [
                *summary(read_run(run, run).results),
                "",
                *_where(out, report),
                "",
                *next_steps(out, settings),
            ]
        ),
        flush=True,
    )
    return max(codes)


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


def summary(results):
    """What came out, as aligned lines for a person.

    Args:
        results: {(kind, set): line of evaluation.jsonl}. What is not there is left out.
    """
    figures = (
        ("linear probe", "linear", "val", "top1", "as in training, other images"),
        ("untrained", "untrained", "val", "top1", "the same probe on the network before training"),
        ("kNN", "knn", "val", "top1", "the same images"),
        (
            "swapped",
            "accuracy",
            "swapped",
            "top1",
            "the shape of one class, the texture of another: right is the shape",
        ),
        ("texture only", "accuracy", "texture_only", "top1", "no shape at all"),
        (
            "corrupted",
            "corruptions",
            "in_domain",
            "mean_top1",
            "the mean over 15 corruptions and 5 severities",
        ),
    )
    found = [
        (name, results.get((kind, test_set), {}).get(field), what)
        for name, kind, test_set, field, what in figures
    ]
    lines = [
        f"  {name:<14}{value:6.1f}%  {what}" for name, value, what in found if value is not None
    ]
    bias = results.get(("shape_bias", "swapped"), {})
    if bias.get("shape_bias") is not None:
        chance = chance_coverage(bias, results.get(("linear", "val")))
        by_chance = "" if chance is None else f" ({chance:.0f}% by chance)"
        words = (
            f"of the {bias['coverage']:.0f}%{by_chance} of answers that name either cue, so "
            "many name the shape"
        )
        lines.append(f"  {'shape bias':<14}{bias['shape_bias']:6.1f}%  {words}")
    trained, before = (results.get((kind, "val")) for kind in ("linear", "untrained"))
    if said := verdict(trained, before):
        lines.append(f"  The encoder is {said}.")
    classes = (trained or {}).get("classes")
    chance = f"Guessing gets {100 / classes:.1f}%. " if classes else ""
    words = (
        "One short run shows that everything works, not what the negatives gain: that takes "
        "several seeds and longer training."
    )
    return [*lines, chance + words]


def _where(out, report):
    kept = "checkpoints, figures as JSON lines, TensorBoard events"
    return [f"Report:  {report} (open it in a browser)", f"Run:     {out / 'run'}/ ({kept})"]


def next_steps(out, settings):
    """Command lines that compare the demo's run with one without negatives, and that start with own
    images."""
    plain, data = (
        out / "moco",
        {name: str(out / f"{name}.beton") for name in ("train", "in_domain", "swapped")},
    )
    sized = ("epochs", "batch_size", "queue_size", "seed")
    flags = [
        word
        for name in sized
        if (value := getattr(settings, name)) != getattr(tiny_cpu(), name)
        for word in (f"--{name}", value)
    ]
    device = () if settings.device == "auto" else ("--device", settings.device)
    compare = (
        (
            "pretrain",
            "--preset",
            "tiny_cpu_moco",
            "--data",
            data["train"],
            "--out",
            plain,
            *flags,
            *device,
        ),
        ("linear", "--run", plain, "--train", data["train"], "--val", data["in_domain"], *device),
        (
            "evaluate",
            "--run",
            plain,
            "--sets",
            f"in_domain={data['in_domain']},swapped={data['swapped']}",
            *device,
        ),
        ("report", out / "run", plain, "--out", out / "comparison.html"),
    )
    own = (
        ("encode", "FOLDER", "mine.beton"),
        ("pretrain", "--preset", "moco_patch_in100", "--data", "mine.beton", "--out", "runs/mine"),
    )
    # make demo does not put it on the path.
    program = "fastneg" if shutil.which("fastneg") else f"{_from_here(sys.executable)} -m fastneg"
    shown = [
        [f"  {program} {shlex.join(map(str, words))}" for words in commands]
        for commands in (compare, own)
    ]
    return [
        "Next, the same without negatives, beside this run:",
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
