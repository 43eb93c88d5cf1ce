"""Dispatch: what was asked for runs or raises, and nothing imports Triton before a kernel is
needed."""

import importlib.util
import subprocess
import sys

import pytest
import torch

from fastneg.kernels import backend
from fastneg.kernels.backend import resolve_backend

CPU = torch.zeros(1)


class OnCuda:
    is_cuda, device = True, torch.device("cuda:0")


def test_auto_follows_the_device():
    assert resolve_backend(CPU) == "torch"
    assert resolve_backend(OnCuda()) == "triton"


def test_torch_runs_everywhere():
    assert resolve_backend(CPU, "torch") == "torch"
    assert resolve_backend(OnCuda(), "torch") == "torch"


def test_triton_on_the_cpu_needs_the_interpreter(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert resolve_backend(CPU, "triton") == "triton"
    assert resolve_backend(CPU, "auto") == "torch"
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(RuntimeError, match="needs a CUDA tensor, but this one is on cpu"):
        resolve_backend(CPU, "triton")


@pytest.mark.parametrize("requested", ["auto", "triton"])
def test_a_missing_triton_is_an_error_not_a_fall_back(monkeypatch, requested):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="not installed"):
        resolve_backend(OnCuda(), requested)


def test_numba_serves_the_cpu_where_a_kernel_offers_it(monkeypatch):
    every, loops = backend.NUMBA_BACKENDS, ("auto", "triton", "numba")
    assert resolve_backend(CPU, "auto", every) == resolve_backend(CPU, "numba", every) == "numba"
    assert resolve_backend(CPU, "torch", every) == "torch"
    assert resolve_backend(OnCuda(), "auto", every) == "triton"
    with pytest.raises(RuntimeError, match="on the CPU only, but this one is on cuda:0"):
        resolve_backend(OnCuda(), "numba", every)
    with pytest.raises(ValueError, match=r"'torch'.*'auto', 'triton', 'numba' was expected"):
        resolve_backend(CPU, "torch", loops)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert resolve_backend(CPU, "auto", every) == "torch"
    for requested, offered in (("numba", every), ("auto", loops)):
        with pytest.raises(ModuleNotFoundError, match="numba is not installed") as caught:
            resolve_backend(CPU, requested, offered)
        assert caught.value.name == "numba"


def test_unknown_backend():
    with pytest.raises(ValueError, match=r"'cuda'.*'auto', 'triton', 'torch'"):
        resolve_backend(CPU, "cuda")
    assert backend.BACKENDS == ("auto", "triton", "torch")


def test_importing_and_running_on_the_cpu_does_not_import_triton():
    code = """
import sys, torch
import fastneg.kernels.patch_shuffle, fastneg.kernels.info_nce
before = "triton" in sys.modules
x = torch.nn.functional.normalize(torch.randn(4, 8), dim=1).requires_grad_()
fastneg.kernels.info_nce.info_nce(x, x.detach(), x.detach()).backward()
offsets = torch.zeros(2, 2, 2, 2, dtype=torch.int32)
sizes = torch.full((2,), 4, dtype=torch.int32)
fastneg.kernels.patch_shuffle.patch_shuffle(torch.zeros(2, 3, 8, 8), offsets, sizes)
kernels = [name for name in sys.modules if name.startswith("fastneg.kernels")]
print(before, any(name.endswith("_triton") for name in kernels))
"""
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    assert out.split() == ["False", "False"]
