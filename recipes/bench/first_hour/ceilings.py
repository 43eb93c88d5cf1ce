"""Stage ceilings: the machine's own limits, with which all other figures are compared."""

from __future__ import annotations

import statistics
import subprocess

import torch

from fastneg.recipes.bench.first_hour.stages import Job, Missing
from fastneg.recipes.bench.measuring import dtype_name, figures_of, take_turns


def jobs(device):
    yield Job("machine", lambda: _machine(device))
    yield Job("copy", lambda: _copy(device))
    yield Job("matmul", lambda: _matmul(device))
    yield Job("host_to_device", lambda: _host_to_device(device))
    yield Job("launch", lambda: _launch(device))


def _machine(device):
    """What the GPU says of itself."""
    row = {"contender": "machine", "torch": torch.__version__, "rehearsal": device != "cuda"}
    if device == "cuda":
        about = torch.cuda.get_device_properties(0)
        row |= {
            "multiprocessors": about.multi_processor_count,
            "memory_gib": about.total_memory / 2**30,
            "capability": f"{about.major}.{about.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "driver": _driver(),
        }
    yield row


def _driver():
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return (done.stdout.split() or [None])[0]


def _copy(device):
    count = 2**31 if device == "cuda" else 2**25
    source = torch.randint(0, 256, (count,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    yield _moved("copy", device, lambda: target.copy_(source), 2 * count)


def _host_to_device(device):
    if device != "cuda":
        raise Missing("needs a CUDA device")
    count = 2**28
    host = torch.randint(0, 256, (count,), dtype=torch.uint8).pin_memory()
    target = torch.empty(count, dtype=torch.uint8, device=device)
    yield _moved("host_to_device", device, lambda: target.copy_(host, non_blocking=True), count)


def _moved(name, device, runner, count):
    """The row of a copy; count is bytes read plus bytes written on the device."""
    figures = figures_of(_times(runner, device))
    return {
        "contender": name,
        "bytes": count,
        **figures,
        "gb_s": count / figures["ms_median"] / 1e6,
    }


def _matmul(device):
    """On random numbers: of zeros a GPU makes more, since it draws less power."""
    size = 8192 if device == "cuda" else 512
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    figures = figures_of(_times(lambda: a @ b, device))
    yield {
        "contender": "matmul",
        "size": size,
        "dtype": dtype_name(device),
        **figures,
        "tflop_s": 2 * size**3 / figures["ms_median"] / 1e9,
    }


def _launch(device):
    """Microseconds from launch to launch of a kernel that does next to nothing, by the host."""
    if device != "cuda":
        raise Missing("needs a CUDA device")
    value, count = torch.zeros(1, device=device), 1000

    def many():
        for _ in range(count):
            value.add_(1)

    yield {
        "contender": "launch",
        "us_median": 1000 * statistics.median(_times(many, device, 10)) / count,
    }


def _times(runner, device, rounds=20):
    for _ in range(2):
        runner()
    return take_turns({"": runner}, rounds, device)[""]
