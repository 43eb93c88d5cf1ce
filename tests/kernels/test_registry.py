"""A kernel of another package is one file and one line: fastneg.kernels.registry."""

import importlib
import json
import os
import subprocess
import sys

import pytest
import torch

from fastneg.kernels import registry
from fastneg.kernels.registry import Budget

DUMMY = """
import torch
import triton
import triton.language as tl

from fastneg.kernels.launch import Recorder
from fastneg.kernels.launch import launch as launch_now
from fastneg.kernels.registry import Budget, Shipped


def double(values, launch=launch_now):
    out = torch.empty_like(values)
    count = values.numel()
    launch(double_kernel, (triton.cdiv(count, 64),), (values, out, count), {"BLOCK": 64})
    return out


def double_torch(values):
    return 2 * values


@triton.jit
def double_kernel(values, out, count, BLOCK: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + place, 2 * tl.load(values + place, mask=place < count), mask=place < count)


def shipped():
    for dtype in (torch.float32, torch.bfloat16):
        recorder = Recorder()
        double(torch.empty(1000, dtype=dtype, device="meta"), launch=recorder)
        for launch in recorder.launches:
            yield Shipped(f"{dtype} 1000", launch, Budget(shared_bytes=0))
"""
COMPILE = """
import json, sys
from fastneg.kernels import registry
from fastneg.recipes.bench.compile import bench_compile
if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    registry.register("double", "double_triton")
    for row in bench_compile(targets=("sm_90",), kernels=("double",)):
        print(json.dumps(row))
"""


@pytest.fixture
def dummy(tmp_path, monkeypatch):
    """The module of a kernel that lies outside of the package, registered."""
    (tmp_path / "double_triton.py").write_text(DUMMY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "KERNELS", dict(registry.KERNELS))
    registry.register("double", "double_triton")
    yield importlib.import_module("double_triton")
    sys.modules.pop("double_triton")


def test_it_runs_like_its_torch_twin(dummy):
    values = torch.arange(1000.0, device="cuda" if torch.cuda.is_available() else "cpu")
    assert torch.equal(dummy.double(values), dummy.double_torch(values))


def test_the_bench_compiles_what_it_ships(dummy, tmp_path):
    script = tmp_path / "compile.py"
    script.write_text(COMPILE)
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, script, tmp_path],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["config"] for row in rows] == ["torch.float32 1000", "torch.bfloat16 1000"]
    for row, shipped in zip(rows, registry.shipped("double_triton"), strict=True):
        assert row["kernel"] == "double_kernel" and row["target"] == "sm_90"
        assert row["registers"] > 0 and shipped.budget.exceeded_by(row) == {}


def test_a_name_is_given_once(dummy):
    registry.register("double", "double_triton")  # the same again
    with pytest.raises(ValueError, match="registered already, of double_triton"):
        registry.register("double", "other")


def test_a_budget_names_what_exceeds_it():
    row = {"spill_bytes": 8, "shared_bytes": 1024, "wgmma": 0, "registers": 200}
    assert Budget().exceeded_by(row) == {"spill_bytes": 8}
    assert Budget(8, 1000, wgmma=True).exceeded_by(row) == {"shared_bytes": 1024, "wgmma": 0}
    assert Budget(8, 1024).exceeded_by(row) == {}
    assert Budget(8, 1024, registers=128).exceeded_by(row) == {"registers": 200}


@pytest.mark.parametrize("name", registry.KERNELS)
def test_configurations_have_names_of_their_own(name):
    told = [
        (each.config, each.launch[0].__name__) for each in registry.shipped(registry.KERNELS[name])
    ]
    assert told
    by_tile = {each for each in told if told.count(each) > 1}
    # Two feature dimensions may share a tile, never a name.
    assert by_tile == set()
