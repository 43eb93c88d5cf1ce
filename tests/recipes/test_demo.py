"""The whole road at its smallest size, as a user starts it; and the progress bar that only a
terminal gets."""

import fcntl
import json
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import termios
import time

import pytest

from fastneg.config import ConfigError
from fastneg.data.beton.reader import BetonReader
from fastneg.data.stencils import TEST_SETS, StencilsSpec
from fastneg.recipes.arguments import build_config
from fastneg.recipes.cli import main
from fastneg.recipes.demo import _make_images
from fastneg.recipes.presets import PRESETS
from fastneg.runs import checkpoint
from helpers.ready import ready_environment, ready_python


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """(folder, what it printed) of a demo that was stopped in its arms, and called again."""
    out = tmp_path_factory.mktemp("demo")
    command = [ready_python(), "-m", "fastneg", "demo", "--size", "tiny", "--out", str(out)]
    given = {"stdin": subprocess.DEVNULL, "text": True, "env": ready_environment()}
    with open(out.parent / "stopped.txt", "w+", encoding="utf-8") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, **given)
        until = time.monotonic() + 600
        while not (out / "none" / "metrics.jsonl").exists() and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        code = process.wait(300)
        said.seek(0)
        text = said.read()
    assert code == 128 + signal.SIGTERM and "the same command resumes from here" in text, text
    done = subprocess.run(command, capture_output=True, timeout=1200, check=False, **given)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_the_demo_leaves_what_it_says(demo):
    out, said = demo
    assert f"Report:  {out}/report.html" in said
    assert "\r" not in said  # no progress bar where there is no terminal
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<html" in page and "data:image/" in page
    assert all(f">{name}<" in page for name in ("none", "patch", "untrained"))
    for name in ("train", *TEST_SETS):
        with BetonReader(out / f"{name}.beton", verify=True) as reader:
            assert len(reader) == (360 if name == "train" else 120)
            source = out / "images" / name / reader.names[7]
            assert reader.jpeg(7).tobytes() == source.read_bytes()
            assert reader.classes[reader.labels[7]] == source.parent.name


def rows_of(run):
    """{(kind, set): line of evaluation.jsonl}"""
    lines = (run / "evaluation.jsonl").read_text().splitlines()
    return {(row["kind"], row["set"]): row for row in map(json.loads, lines)}


def test_the_demo_ends_with_its_arms_side_by_side(demo):
    out, said = demo
    end = said[said.index("── done in") :].splitlines()
    rows = {name: rows_of(out / name) for name in ("untrained", "none", "patch")}
    (heads,) = (line.split()[2:] for line in end if line.startswith("top-1, %"))
    assert heads == [*rows, "difference"]
    for name, key, field in (
        ("in domain", ("linear", "val"), "top1"),
        ("swapped", ("accuracy", "swapped"), "top1"),
        ("corrupted", ("corruptions", "in_domain"), "mean_top1"),
    ):
        (line,) = (line[len(name) :].split() for line in end if line.startswith(name))
        found = [rows[arm][key][field] for arm in rows if key in rows[arm]]
        found.append(found[-1] - found[-2])
        assert line[: len(found)] == [f"{value:.1f}" for value in found[:-1]] + [
            f"{found[-1]:+.1f}"
        ]
    assert "Guessing gets 8.3%." in end and any("is no evidence" in line for line in end)
    steps = re.findall(r"── (\d)/(\d) ", said)
    assert steps == [(str(number), "4") for number in range(1, 5)]


def test_the_commands_at_its_end_stand(demo):
    end = demo[1].partition("── done in")[2]
    commands = [
        shlex.split(line.partition("fastneg ")[2])
        for line in end.splitlines()
        if line.startswith("  ") and "fastneg " in line
    ]
    built = {name: build_config(name, rest) for name, *rest in commands}
    assert set(built) == {"study", "encode", "pretrain"}
    assert built["study"].dose == PRESETS["tiny_simclr_patch"]().dose


def test_the_arms_are_paired_and_measured(demo):
    configs = [
        json.loads((demo[0] / name / "config.json").read_text()) for name in ("none", "patch")
    ]
    differing = {name for name, value in configs[0].items() if value != configs[1][name]}
    # nothing else, or they could not be compared
    assert differing <= {"negatives", "out", "alpha", "dose"}
    for name in ("none", "patch"):
        run = demo[0] / name
        assert checkpoint.load_newest(run)[1]["step"] == 12
        found = rows_of(run)
        assert {test_set for kind, test_set in found if kind == "accuracy"} == set(TEST_SETS)
        assert found["linear", "val"]["top1"] > 2 * 100 / 12  # above chance even after twelve steps
        assert {kind for kind, _ in found} == {
            "untrained",
            "linear",
            "knn",
            "accuracy",
            "per_class",
            "embedding",
            "shape_bias",
            "corruptions",
            "similarity",
            "texture_classes",
        }
    untrained = rows_of(demo[0] / "untrained")
    assert untrained["linear", "val"]["top1"] == found["untrained", "val"]["top1"]
    assert ("accuracy", "swapped") in untrained


def test_images_of_another_demo_are_not_mixed_in(tmp_path):
    spec = StencilsSpec()
    _make_images(spec, "train", 24, tmp_path)
    _make_images(spec, "train", 24, tmp_path)
    with pytest.raises(ConfigError, match="holds 24 images, 12 were made"):
        _make_images(spec, "train", 12, tmp_path)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--seed", "1"], "with seed 0, not 1"),
        (["--size", "small"], "with epochs 2, not 24"),
        (["--seed", "1", "--size", "small"], "with seed 0, not 1"),
    ],
)
def test_another_demo_is_not_written_over(tmp_path, capsys, flags, said):
    (tmp_path / "images" / "train").mkdir(parents=True)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "config.json").write_text('{"seed": 0, "epochs": 2}')
    tiny = [] if "--size" in flags else ["--size", "tiny"]
    assert main(["demo", "--out", str(tmp_path), *tiny, *flags]) == 2
    assert said in capsys.readouterr().err
    assert not list((tmp_path / "images" / "train").iterdir())


def test_a_second_call_goes_on_from_the_finished_run(demo):
    out, _ = demo
    command = [
        ready_python(),
        "-m",
        "fastneg",
        "pretrain",
        "--preset",
        "tiny_simclr_patch",
        *_flags(out),
    ]
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
        "tiny_simclr_patch",
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
    config = {**json.loads((demo / "patch" / "config.json").read_text()), **changes}
    return [f"--{name}={value}" for name, value in config.items() if value is not None]
