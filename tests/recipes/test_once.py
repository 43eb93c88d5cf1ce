"""Under torchrun each message comes once, and that of one process alone names it
(fastneg.recipes.once)."""

import os
import signal
import socket
import subprocess
import threading
import time
import warnings

import pytest

from fastneg.recipes import once
from fastneg.recipes.once import Voice
from helpers.ready import ready_environment, ready_python


def place(rank, size=2):
    return {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}


def test_one_process_speaks_plainly(capsys, tmp_path):
    Voice({}, tmp_path).error("no such file")
    assert capsys.readouterr().err == "no such file\n" and not [*tmp_path.iterdir()]


def test_what_the_first_says_too_is_not_said_again(capsys, tmp_path, monkeypatch):
    first, second = (Voice(place(rank), tmp_path) for rank in (0, 1))
    waiting = threading.Thread(target=second.error, args=("no such file",))
    waiting.start()  # it comes first, and waits
    time.sleep(0.2)
    assert waiting.is_alive() and capsys.readouterr().err == ""
    first.error("no such file")
    waiting.join(60)
    assert not waiting.is_alive() and capsys.readouterr().err == "no such file\n"
    monkeypatch.setattr(once, "PATIENCE_S", 0.1)
    second.error("another file")
    assert capsys.readouterr().err == "process 1 (of 2, from 0): another file\n"


def test_a_process_that_is_told_to_end_still_says_what_only_it_knows(capsys, tmp_path):
    second = Voice(place(1), tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    began = time.monotonic()
    second.error("my disk is full")
    assert time.monotonic() - began < once.PATIENCE_S / 2
    assert "process 1" in capsys.readouterr().err and signal.getsignal(signal.SIGTERM) == before


def test_warnings_come_once_and_those_of_one_name_it(tmp_path):
    first, second = (Voice(place(rank), tmp_path) for rank in (0, 1))
    shown = []
    plain, warnings.showwarning = (
        warnings.showwarning,
        lambda message, *_, **__: shown.append(str(message)),
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = lambda message, *_, **__: shown.append(str(message))
            for voice, texts in ((first, ["slow"]), (second, ["slow", "hot"])):
                with voice.warnings():
                    for text in texts:
                        warnings.warn(text, stacklevel=1)
    finally:
        warnings.showwarning = plain
    assert shown == ["slow", "process 1 of 2: hot"]


def test_marks_of_jobs_long_gone_are_swept(tmp_path):
    old = tmp_path / f"fastneg-said-{os.getuid()}-1--"
    old.write_text("x")
    os.utime(old, (1, 1))
    Voice(place(0), tmp_path).error("something")
    assert not old.exists() and len([*tmp_path.iterdir()]) == 1


FLAGS = [
    "--preset",
    "tiny_cpu",
    "--device",
    "cpu",
    "--image_size",
    "32",
    "--eval_resize",
    "32",
    "--bn",
    "none",
    "--threads",
    "1",
]
CASES = {  # what is asked for: exit code of the processes, what is said
    "a wrong flag": (["--bathc_size", "8"], 2, "did you mean --batch_size?"),
    "a refused config": (
        ["--batch_size", "1", "--data", "{beton}"],
        2,
        "--batch_size is 1: it must be a multiple",
    ),
    "a missing file": (["--batch_size", "8", "--data", "{folder}/absent.beton"], 1, "absent.beton"),
    "bad weights": (
        ["--batch_size", "8", "--data", "{beton}", "--init", "{folder}/empty.pth"],
        1,
        "empty.pth cannot be read as weights",
    ),
}
ONE = """
import sys
from fastneg.recipes import cli, once
once.PATIENCE_S = 1.0
sys.exit(cli.main([*sys.argv[1:], "--wrong"] if once.Voice().rank else sys.argv[1:]))
"""


def together(command, tmp_path, **settings):
    """[(exit code, stderr)] of two gloo processes, started as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    own = {**os.environ, **meet, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path), **settings}
    streams = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    started = [
        subprocess.Popen([ready_python(), *command], env={**own, **place(rank)}, **streams)
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=240)[1] for process in started]
    return [(process.returncode, text) for process, text in zip(started, said, strict=True)]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_that_fail_alike_say_so_once(case, beton, tmp_path):
    flags, code, said = CASES[case]
    (tmp_path / "empty.pth").touch()
    flags = [
        flag.format(beton=beton, folder=tmp_path) for flag in [*flags, "--out", "{folder}/run"]
    ]
    (first, text), (second, silence) = together(
        ["-m", "fastneg", "pretrain", *FLAGS, *flags], tmp_path
    )
    assert first == second == code
    assert text.count(said) == 1 and text.startswith("fastneg")
    assert "fastneg" not in silence


def test_an_error_of_one_process_alone_is_seen_with_its_rank_under_torchrun(tmp_path):
    """Process 1 is given a flag that the other is not."""
    script = tmp_path / "one.py"
    script.write_text(ONE)
    done = subprocess.run(
        [
            ready_python(),
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            "2",
            str(script),
            "presets",
        ],
        env=ready_environment(OMP_NUM_THREADS="1", TMPDIR=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if "has no flag --wrong" in line]
    assert len(lines) == 1 and lines[0].startswith("process 1 (of 2, from 0): fastneg:"), (
        done.stderr[-3000:]
    )
    assert "exitcode  : 2 " in done.stderr
