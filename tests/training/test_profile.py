"""A profile holds the steps that were asked for, whole, and a table of their parts."""

import gzip
import json

import pytest

from fastneg.training import profile
from fastneg.training.trainer import pretrain
from helpers.pretraining import rows, settings

PARTS = ("negatives", "forward", "backward", "optimizer", "keys and momentum update")


def table(path):
    lines = [line.strip("| ").split(" | ") for line in path.read_text().splitlines()]
    return {name: dict(zip(lines[0][1:], cells, strict=True)) for name, *cells in lines[2:]}


def test_a_trace_and_a_table_of_the_steps_behind_the_first(beton, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(profile, "FIRST", 3)
    pretrain(settings(beton, tmp_path / "plain", epochs=2))
    pretrain(settings(beton, tmp_path / "run", epochs=2, profile=2, accumulate=2))
    pretrain(settings(beton, tmp_path / "parts", epochs=2, accumulate=2))
    assert rows(tmp_path / "run") == rows(tmp_path / "parts"), "it changes no figure"
    assert not (tmp_path / "plain" / "profile").exists()
    folder = tmp_path / "run" / "profile"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("step-000000004.json.gz", "step-000000004.md"),
    ]
    found = table(folder / "step-000000004.md")
    assert set(found) == {*PARTS, "data wait", "all"}
    assert found["optimizer"]["calls a step"] == "1"
    assert found["forward"]["calls a step"] == "2", "two parts of a batch"
    host = {name: float(cells["host ms a step"]) for name, cells in found.items()}
    assert sum(host[name] for name in PARTS) <= 1.05 * host["all"]
    with gzip.open(folder / "step-000000004.json.gz") as file:
        events = json.load(file)["traceEvents"]
    named = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    assert named.count("optimizer") == 2 and named.count("backward") == 4
    assert "trace is" in capsys.readouterr().out and profile._profile is None


def test_a_run_that_ends_within_writes_what_there_is(beton, tmp_path, monkeypatch):
    monkeypatch.setattr(profile, "FIRST", 3)
    pretrain(settings(beton, tmp_path / "run", epochs=1, profile=100))  # 5 steps
    found = table(tmp_path / "run" / "profile" / "step-000000004.md")
    assert found["optimizer"]["calls a step"] == "1"


def test_a_run_that_ends_before_says_so(beton, tmp_path, capsys):
    pretrain(settings(beton, tmp_path / "run", epochs=1, profile=2))
    assert "Nothing was profiled: this call took 5 steps" in capsys.readouterr().out
    assert not (tmp_path / "run" / "profile").exists()


def test_nothing_is_measured_where_no_step_is_profiled():
    with profile.part("forward") as nothing:
        assert nothing is None


@pytest.mark.gpu
def test_the_device_has_its_own_times(beton, tmp_path, monkeypatch):
    monkeypatch.setattr(profile, "FIRST", 3)
    pretrain(settings(beton, tmp_path / "run", epochs=1, profile=2, device="cuda"))
    found = table(tmp_path / "run" / "profile" / "step-000000004.md")
    assert all(float(found[name]["device ms a step"]) > 0 for name in PARTS)
