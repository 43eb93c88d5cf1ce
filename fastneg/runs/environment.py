"""RUN/config.json and RUN/environment.json: the settings of a run, and what its results depend on
beside them: versions, device, cores, commit."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import torch

from fastneg.files import write_json
from fastneg.runs import paths


def device_memory(device):
    """{"peak_mib": most memory that tensors took so far} of a CUDA device; nothing on the CPU.

    Does not wait for the device.
    """
    return (
        {"peak_mib": torch.cuda.max_memory_allocated(device) / 2**20}
        if device.type == "cuda"
        else {}
    )


def environment(device):
    """What a figure depends on beside the config: versions, device, cores, commit, command."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in (
        "fastneg",
        "torch",
        "torchvision",
        "triton",
        "nvidia-dali-cuda120",
        "nvidia-dali-cuda130",
        "timm",
        "numpy",
    ):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    cuda = device.type == "cuda"
    return {
        "python": platform.python_version(),
        "versions": versions,
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device)
        if cuda
        else f"{platform.processor() or platform.machine()} CPU",
        "cores": len(os.sched_getaffinity(0)),
        "commit": _commit(),
        "command": " ".join(sys.argv),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _commit():
    """The commit of the checkout that runs, with a mark where it was changed; None outside a
    checkout."""

    def git(*arguments):
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        # an installed package may lie in somebody else's repository
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("rev-parse", "--short=12", "HEAD") + (
            "+changes" if git("status", "--porcelain", "-uno") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None


def write_settings(run, config, environment):
    """Write both files; the run folder is made.

    Args:
        run: the run folder.
        config: dict of `PretrainConfig.as_dict`.
        environment: dict of `runs.environment.environment`.
    """
    run = Path(run)
    run.mkdir(parents=True, exist_ok=True)
    for name, content in ((paths.CONFIG, config), (paths.ENVIRONMENT, environment)):
        write_json(run / name, content)
