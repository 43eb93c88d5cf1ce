"""The kernels' benchmarks: every contender computes the same loss and gradient, and the rows and
plots say what was measured.

Serves fastneg.recipes.bench.info_nce_contenders, fastneg.recipes.bench.info_nce,
fastneg.recipes.bench.patch_shuffle, fastneg.recipes.bench.augment and
fastneg.recipes.bench.compile.
"""

import importlib.util
import inspect
import os
import pkgutil
import subprocess
import sys

import pytest
import torch

from fastneg.recipes.bench import augment as bench_augment
from fastneg.recipes.bench import info_nce as bench_info_nce
from fastneg.recipes.bench import patch_shuffle as bench_patch_shuffle
from fastneg.recipes.bench.compile import bench_compile
from fastneg.recipes.bench.info_nce_contenders import CONTENDERS, MODULES, contenders
from helpers.contenders import DEVICE, agrees_with_the_definition
from helpers.processes import TESTS

GPU_ONLY = ("inf_cl", "liger_kernel")
"""On a CPU inf-cl asserts a CUDA tensor; liger's kernels run in Triton's interpreter, in a process
of their own."""


def needs(name):
    if importlib.util.find_spec(MODULES.get(name, "torch")) is None:
        pytest.skip(f"{name} is not installed (extra bench)")


@pytest.mark.parametrize("name", [name for name in CONTENDERS if name not in GPU_ONLY])
def test_every_contender_computes_the_same_loss_and_gradient(name, monkeypatch):
    needs(name)
    if name == "cut_cross_entropy":  # its fall-back is compiled code: here run as it is written
        apply = "cut_cross_entropy.torch_compile.torch_compile_linear_cross_entropy_apply"
        monkeypatch.setattr(
            apply,
            inspect.unwrap(
                pkgutil.resolve_name(apply.replace(".torch_compile.", ".torch_compile:"))
            ),
        )
    assert agrees_with_the_definition(name)


def test_liger_in_the_interpreter():
    """In a process of its own: it decorates its kernels when it is imported, and looks for its
    device then."""
    needs("liger_kernel")
    code = (
        f"import sys; sys.path.insert(0, {str(TESTS)!r}); from helpers.contenders import "
        "agrees_with_the_definition; assert agrees_with_the_definition('liger_kernel')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
@pytest.mark.parametrize("name", CONTENDERS)
def test_every_contender_on_the_gpu(name):
    needs(name)
    assert agrees_with_the_definition(name, torch.bfloat16, rows=256, count=4096, dim=128)


def test_info_nce_rows_and_plot(tmp_path, monkeypatch):
    peaks = lambda device, name, shape, which, runner: (
        None if which == "backward" else len(name) * shape[1] / 100
    )
    # a process for each figure: see the next test
    monkeypatch.setattr(bench_info_nce, "_peak_mib", peaks)
    shapes = ((8, 64, 16), (8, 128, 16), (16, 64, 16))
    rows = list(bench_info_nce.bench_info_nce(shapes, rounds=2))
    measured = [row for row in rows if "skipped" not in row]
    per_shape = len(contenders(DEVICE)[0])
    assert {row["pass"] for row in measured} == {"forward", "backward", "forward_backward"}
    assert len(measured) >= 3 * 3 * per_shape and {
        "fastneg",
        "eager",
        "scaled_dot_product_attention",
    } <= {row["contender"] for row in measured}
    for row in measured:
        assert 0 < row["ms_p20"] <= row["ms_median"] <= row["ms_p80"]
        assert (
            (row["share_of_floor"] is None)
            == (row["peak_mib"] is None)
            == (row["pass"] == "backward")
        )
        assert row["contender"] != "eager" or row["times_faster_than_eager"] == 1
    bench_info_nce.plot_info_nce(rows, tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text()
    assert text.startswith("<?xml") and len(text) > 10_000
    with pytest.raises(ValueError, match="no rows to draw"):
        bench_info_nce.plot_info_nce(
            [row for row in rows if row["pass"] == "forward"], tmp_path / "none.svg"
        )


def test_the_extra_memory_of_the_streaming_path_is_a_tenth_of_eagers():
    """Forward and backward, each in a fresh process. The matrix of logits alone is 128 MiB here."""
    shape = (512, 65536, 128)
    peaks = {
        name: bench_info_nce._peak_mib("cpu", name, shape, "forward_backward", None)
        for name in ("fastneg", "eager")
    }
    assert peaks["fastneg"] is None or peaks["fastneg"] <= peaks["eager"] / 10


def test_patch_shuffle_rows():
    rows = {
        row["contender"]: row
        for row in bench_patch_shuffle.bench_patch_shuffle(((2, 2, 32),), rounds=2)
    }
    assert set(rows) == {"fastneg", "copy", "slices"} and rows["copy"]["share_of_floor"] == 1


def test_augment_rows_and_that_torchvision_does_the_same():
    rows = {row["contender"]: row for row in bench_augment.bench_augment(((4, 32),), rounds=2)}
    assert set(rows) == {"fastneg", "torchvision", "copy"} and rows["copy"]["share_of_floor"] == 1
    g = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (6, 3, 32, 32), generator=g, dtype=torch.uint8)
    params = bench_augment.draw_augment_params(6, generator=g, **bench_augment.MOCO_V2)
    theirs = bench_augment._torchvision(
        images, [tensor.tolist() for tensor in params], torch.float32
    )
    ours = bench_augment.augment(
        images, params, mean=bench_augment.IMAGENET_MEAN, std=bench_augment.IMAGENET_STD
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)


@pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1", reason="Triton compiles in this process"
)
def test_interpreted_kernels_are_not_compiled():
    with pytest.raises(RuntimeError, match="TRITON_INTERPRET is set"):
        next(bench_compile())
