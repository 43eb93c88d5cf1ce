"""The whole road at its smallest size, as a user starts it; and the progress bar that only a
terminal gets."""

import fcntl
import json
import os
import pty
import re
import shlex
import struct
import subprocess
import termios

import pytest

from fastneg.config import ConfigError
from fastneg.data.beton.reader import BetonReader
from fastneg.data.stencils import TEST_SETS, StencilsSpec
from fastneg.recipes.arguments import build_config
from fastneg.recipes.demo import _make_images
from fastneg.runs import checkpoint
from helpers.ready import ready_python


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    command = [ready_python(), "-m", "fastneg", "demo", "--size", "tiny", "--out", str(out)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_the_demo_leaves_what_it_says(demo):
    out, said = demo
    assert f"Report:  {out}/report.html" in said and "top-1" in said
    assert "\r" not in said  # no progress bar where there is no terminal
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<html" in page and "data:image/" in page
    for name in ("train", *TEST_SETS):
        with BetonReader(out / f"{name}.beton", verify=True) as reader:
            assert len(reader) == (360 if name == "train" else 120)
            source = out / "images" / name / reader.names[7]
            assert reader.jpeg(7).tobytes() == source.read_bytes()
            assert reader.classes[reader.labels[7]] == source.parent.name


def test_the_demo_ends_with_its_figures_and_with_commands_that_run(demo):
    out, said = demo
    end = said[said.index("── done in") :]
    rows = {
        (row["kind"], row["set"]): row
        for row in map(json.loads, (out / "run" / "evaluation.jsonl").read_text().splitlines())
    }
    assert f"linear probe  {rows['linear', 'val']['top1']:6.1f}%" in end
    assert f"swapped       {rows['accuracy', 'swapped']['top1']:6.1f}%" in end
    assert (
        f"corrupted     {rows['corruptions', 'in_domain']['mean_top1']:6.1f}%" in end
        and "Guessing gets 8.3%" in end
    )
    steps = re.findall(r"── (\d)/(\d) ", said)
    assert [int(number) for number, _ in steps] == list(range(1, 8)) and {
        total for _, total in steps
    } == {"7"}
    commands = [
        shlex.split(line.partition("fastneg ")[2])
        for line in end.splitlines()
        if line.startswith("  ") and str(out) in line
    ]
    built = {name: build_config(name, rest) for name, *rest in commands if name != "report"}
    assert (
        set(built) == {"pretrain", "linear", "evaluate"}
        and f"{out}/run {out}/moco --out {out}/comparison.html" in end
    )
    ours = json.loads((out / "run" / "config.json").read_text())
    theirs = {name: value for name, value in built["pretrain"].as_dict().items() if name in ours}
    differing = {name for name in ours if ours[name] != theirs[name]}
    # nothing else, or they could not be compared
    assert differing == {"negatives", "out", "log_every"} and theirs["negatives"] == "none"


def test_the_demo_trains_probes_and_evaluates(demo):
    run = demo[0] / "run"
    assert checkpoint.load_newest(run)[1]["step"] == 12
    results = [json.loads(line) for line in (run / "evaluation.jsonl").read_text().splitlines()]
    assert {row["set"] for row in results if row["kind"] == "accuracy"} == set(TEST_SETS)
    (bias,) = (row for row in results if row["kind"] == "shape_bias")
    assert bias["set"] == "swapped" and 0 < bias["coverage"] <= 100
    linear = next(row for row in results if row["kind"] == "linear")
    assert linear["top1"] > 2 * 100 / 12  # well above chance even after twelve steps
    assert {row["kind"] for row in results} == {
        "untrained",
        *(
            "linear",
            "knn",
            "accuracy",
            "per_class",
            "embedding",
            "shape_bias",
            "corruptions",
            "similarity",
            "texture_classes",
        ),
    }


def test_images_of_another_demo_are_not_mixed_in(tmp_path):
    spec = StencilsSpec()
    _make_images(spec, "train", 24, tmp_path)
    _make_images(spec, "train", 24, tmp_path)
    with pytest.raises(ConfigError, match="holds 24 images, 12 were made"):
        _make_images(spec, "train", 12, tmp_path)


def test_a_second_call_goes_on_from_the_finished_run(demo):
    out, _ = demo
    command = [ready_python(), "-m", "fastneg", "pretrain", "--preset", "tiny_cpu", *_flags(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "is finished: 12 steps of 12" in done.stdout


def test_a_terminal_gets_a_progress_bar(demo, tmp_path):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))  # rows, columns
    command = [
        ready_python(),
        "-m",
        "fastneg",
        "pretrain",
        "--preset",
        "tiny_cpu",
        *_flags(demo[0], out=str(tmp_path / "run"), epochs=1),
    ]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    text = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # how Linux says that the other side has closed
            break
        if not piece:
            break
        text += piece
    os.close(ours)
    assert process.wait(300) == 0
    assert b"6/6" in text and b"images/s" in text and b"\r" in text


def _flags(demo, **changes):
    config = {**json.loads((demo / "run" / "config.json").read_text()), **changes}
    return [f"--{name}={value}" for name, value in config.items() if value is not None]
