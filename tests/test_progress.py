"""How far a job is and how long it still takes (fastneg.progress)."""

import io
import re
import sys
import time

import pytest

from fastneg import progress
from fastneg.progress import Progress, shown, time_left


@pytest.fixture
def every_line(monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_LINE_S", 0.0)


@pytest.fixture
def clock(monkeypatch):
    """Each look at it, one second goes by."""
    now = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))


def test_a_line_tells_the_speed_and_the_time_left(every_line, clock, capsys):
    with Progress("encode", 100) as counted:
        counted.advance(20, 40_000_000)
        counted.advance(20, 40_000_000)
    assert capsys.readouterr().err.splitlines() == [
        "encode: 20/100 images, 20 images/s, 40.0 MB/s, 4 s left",
        "encode: 40/100 images, 20 images/s, 40.0 MB/s, 3 s left",
    ]


def test_bytes_are_told_as_megabytes(every_line, clock, capsys):
    with Progress("copy", 90_000_000, "byte") as counted:
        counted.advance(30_000_000, 30_000_000)
    assert capsys.readouterr().err == "copy: 30.0/90.0 MB, 30.0 MB/s, 2 s left\n"


def test_without_a_total_no_time_left_is_told(every_line, clock, capsys):
    assert list(shown((each for each in "ab"), "look")) == ["a", "b"]
    assert "left" not in capsys.readouterr().err
    assert list(shown("ab", "look", "query")) == ["a", "b"]
    assert capsys.readouterr().err.splitlines()[0] == "look: 1/2 queries, 1.0 queries/s, 1 s left"


def test_lines_come_now_and_then_and_not_on_standard_output(capsys):
    list(shown(range(50), "features"))
    assert capsys.readouterr() == ("", "")


def test_a_terminal_has_a_bar_without_colours(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    for _ in shown(range(3), "features"):
        time.sleep(0.12)  # a bar is drawn ten times a second at most
    assert re.search(r"features: +\d+%.*/3 \[00:\d\d<00:", terminal.getvalue())
    assert "\x1b" not in terminal.getvalue()


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (-1, "0 s"), (59.6, "1 min 00 s"), (65, "1 min 05 s"), (7500, "2 h 05 min")],
)
def test_time_left_is_told_in_two_units(seconds, told):
    assert time_left(seconds) == told
