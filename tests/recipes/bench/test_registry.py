"""A benchmark from outside the package is one file: fastneg.recipes.bench.registry and
fastneg.recipes.bench.run take it with its options, its help and its plot."""

import json
import os
import subprocess
import sys

import pytest

from fastneg.config import ConfigError
from fastneg.recipes.bench.registry import BENCHES, bench_config, register
from helpers.ready import ready_python

DUMMY = '''"""fastneg bench dummy: how fast nothing is done."""

from dataclasses import dataclass

from fastneg.config import Config
from fastneg.recipes.bench.registry import bench_option, register


@dataclass(frozen=True)
class DummyOptions(Config):
    """What the dummy takes."""

    nothings: int | None = bench_option("dummy", 2, at_least=1)
    """How many nothings are done."""


def bench_dummy(nothings):
    for number in range(nothings):
        yield {"bench": "dummy", "contender": "nothing", "number": number}


def plot_dummy(rows, file):
    file.write(f"{len(rows)} rows".encode())


register("dummy", __name__, f"{__name__}:DummyOptions")
'''


def fastneg(folder, *words, python=sys.executable):
    (folder / "dummy_bench.py").write_text(DUMMY)
    settings = {"PYTHONPATH": str(folder), "FASTNEG_PLUGINS": "dummy_bench"}
    return subprocess.run(
        [python, "-m", "fastneg", "bench", *words],
        env={**os.environ, **settings},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_a_benchmark_from_outside_is_measured_written_and_drawn(tmp_path):
    words = ("dummy", "--nothings", "3", "--json", "x.jsonl", "--csv", "x.csv")
    done = fastneg(tmp_path, *words, python=ready_python())
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert [row["number"] for row in rows] == [0, 1, 2] and rows[0]["device_name"]
    assert (tmp_path / "x.svg").read_text() == "3 rows"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--help"], 0, ["how fast nothing is done", "--nothings", "How many nothings are done"]),
        (["dummy", "--nothings", "0"], 2, ["at least 1"]),
        (["loader", "--nothings", "2"], 2, ["no effect with --name loader"]),
        (["dumy"], 2, ["scaling, dummy, all"]),
    ],
)
def test_its_options_and_its_help_are_those_of_the_command(tmp_path, words, code, said):
    done = fastneg(tmp_path, *words)
    assert done.returncode == code
    for text in said:
        assert text in " ".join((done.stdout + done.stderr).split())


def test_a_name_is_registered_once(monkeypatch):
    monkeypatch.setattr("fastneg.recipes.bench.registry.BENCHES", dict(BENCHES))
    for _ in range(2):
        register("mine", "mine_bench")
    for name in ("mine", "loader", "all"):
        with pytest.raises(ConfigError, match=f"a benchmark {name} already"):
            register(name, "other")


def test_each_benchmark_has_what_the_registry_says():
    for bench in BENCHES.values():
        measure, plot = bench.load()
        assert callable(measure) and bench.help() and not bench.help().startswith("fastneg")
        assert (plot is None) == (bench.name not in ("info_nce", "loader"))
    config = bench_config()("scaling")
    assert BENCHES["scaling"].arguments(config) == {
        "model": None,
        "inside_gb_s": None,
        "between_gb_s": 50.0,
        "latency_us": 5.0,
        "loader_cpu_ms": 1.7,
        "image_kb": 110.0,
    }
    assert BENCHES["loader"].arguments(config) == {}
