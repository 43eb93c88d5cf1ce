"""Every contender of the loss benchmark computes the same loss and gradient."""

import importlib.util
import inspect
import os
import pkgutil
import subprocess
import sys

import pytest
import torch

from fastneg.recipes.bench.info_nce_contenders import CONTENDERS, MODULES
from helpers.contenders import agrees_with_the_definition
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
