"""Checks before a run: its batch, its processes and devices, its data, and whether all processes
are about to train the same run."""

from __future__ import annotations

import shutil

import numpy as np

from fastneg import distributed
from fastneg.counts import counted
from fastneg.data.beton.identity import same_images
from fastneg.data.labels import ABSENT
from fastneg.errors import SettingsError, TrainingError
from fastneg.methods import METHODS
from fastneg.training.resume import data_fingerprint, plain
from fastneg.version import __version__

OWN = {
    *("data", "cache_dir", "out", "device", "threads", "prefetch_queue_depth", "check_crc"),
    *("max_bad_share", "profile", "wandb", "init", "knn_train", "knn_val"),
}
"""Settings that may differ: where each process reads and writes, and with how many threads."""


def check_batch(config, world):
    """SettingsError unless the batch divides, and each part of it that is normalised or compared by
    itself holds two images.

    Of one image there are no batch statistics to speak of and no other image to be told from: a
    network with normalisation fails or learns a constant, and SimCLR's loss is 0 from the start.

    Args:
        config: `PretrainConfig`.
        world: `World`.
    """
    local, whose = config.batch_size, "the batch"
    if config.batch_size % world.size:
        raise SettingsError(
            f"--batch_size is {config.batch_size}: it must be a multiple of the number of "
            f"processes, {world.size}."
        )
    if world.size > 1:
        local, whose = local // world.size, "the batch of each process"
    parts = config.accumulate or 1
    if local % parts:
        raise SettingsError(f"--accumulate is {parts}: it must divide {whose}, {local}.")
    if parts > 1:
        local, whose = local // parts, f"each of the {parts} parts of a batch (--accumulate)"
    groups = config.bn_splits if config.bn == "split" else 1
    if local % groups:
        raise SettingsError(f"--bn_splits is {groups}: it must divide {whose}, {local}.")
    if local // groups > 1:
        return
    if groups > 1:
        raise SettingsError(
            f"--bn_splits is {groups}: each group would hold one image, because {whose} is "
            f"{local}, and one image has no batch statistics. Take fewer groups, or a larger batch."
        )
    raise SettingsError(
        f"--batch_size is {config.batch_size}: {whose} is one image, which has no batch statistics "
        "and no other image to be compared with. At least two were expected"
        + (f", a --batch_size of {2 * world.size * parts}." if world.size * parts > 1 else ".")
    )


def check_place(config, world):
    """SettingsError for settings that have no effect, or cannot be, on these processes and
    devices."""
    alone = world.size == 1
    if config.compress_gradients and alone:
        raise SettingsError(
            "--compress_gradients has no effect in one process, which sends no gradients: "
            "leave it out."
        )
    if config.bn in ("shuffle", "sync") and alone:
        # What is advised here is what `refuse_another_run` lets a run go on with.
        instead = "split" if config.bn == "shuffle" else "none"
        raise SettingsError(
            f"--bn {config.bn} needs several processes, but there is one: start them with "
            f"torchrun, or take --bn {instead}. A run that began with --bn {config.bn} can be "
            f"resumed with --bn {instead}."
        )
    if config.cuda_graphs and world.device.type != "cuda":
        raise SettingsError(
            "--cuda_graphs is True, but there are no CUDA kernels to record on the CPU: "
            "leave it out."
        )


def check_data(reader, config):
    """TrainingError unless the data holds a whole batch, and labels of two classes where the method
    learns from them; what to say of the labels, as lines."""
    said = _check_labels(reader, config) if METHODS[config.method].labels else []
    if len(reader) < config.batch_size:
        raise TrainingError(
            f"{config.data} holds {counted(len(reader), 'image')}: at least one batch of "
            f"{config.batch_size} (--batch_size) was expected."
        )
    return said


def _check_labels(reader, config):
    if reader.labels is None:
        raise TrainingError(
            f"--method {config.method} learns from labels, and {config.data} has none: encode a "
            "folder of classes or a list with labels, or take a method without."
        )
    labels = np.asarray(reader.labels)
    known = labels[labels != ABSENT]
    if not len(labels):  # of a file that is still to be copied they are not known
        return []
    if known.min(initial=0) < 0 or len(np.unique(known)) < 2:
        raise TrainingError(
            f"--method {config.method} learns from labels, and those of {config.data} are "
            f"{', '.join(map(str, np.unique(labels)[:3]))}: two or more classes, from 0 on, were "
            f"expected ({ABSENT} for an image without a label)."
        )
    unlabelled = len(labels) - len(known)
    return [
        f"{unlabelled} of {counted(len(labels), 'image')} have no label ({ABSENT}): each is a "
        "class of its own, the negative of all others."
    ] * bool(unlabelled)


def check_room(run_folder, method):
    """TrainingError unless a checkpoint fits the disk: the first one is written after an epoch.

    Args:
        run_folder: Path; it is there.
        method: the module that is trained.
    """
    least = sum(each.nbytes for each in method.state_dict().values() if hasattr(each, "nbytes"))
    least += sum(each.nbytes for each in method.parameters() if each.requires_grad)  # momenta
    free = shutil.disk_usage(run_folder).free
    if least > free:
        raise TrainingError(
            f"A checkpoint takes {least / 2**20:.0f} MiB, and {run_folder} has {free / 2**20:.0f} "
            "MiB free: make room there, or choose another --out."
        )


def check_length(config, iterations):
    """SettingsError unless the warm-up ends before the run; of --epochs the config tells it alone.

    Args:
        iterations: steps an epoch.
    """
    if config.warmup_epochs * iterations >= config.total_steps(iterations):
        raise SettingsError(
            f"--warmup_epochs is {config.warmup_epochs}, "
            f"{counted(config.warmup_epochs * iterations, 'step')} with this data: it must be less "
            f"than --steps {config.steps}."
        )


def check_agreement(config, found, reader, world):
    """TrainingError, in every process, unless all of them are about to train the same run.

    Without this check a machine that does not see the run folder would begin anew while the others
    resume, and the average of their gradients would be of different weights.

    Args:
        config: `PretrainConfig` of this process.
        found: (path, state) of the checkpoint that it goes on from, or None.
        reader: its open data.
        world: `World`.
    """
    if world.size == 1:
        return
    mine = {
        "version": __version__,
        "settings": {name: value for name, value in plain(config).items() if name not in OWN},
        "samples": len(reader),
        "images": data_fingerprint(reader, config),
        "step": found[1].get("step") if found else None,
    }
    everyone = distributed.everyone(mine, world)
    for rank, other in enumerate(everyone):
        if difference := _difference(everyone[0], other, rank, config):
            raise TrainingError(difference)


def _difference(first, other, rank, config):
    """What the process `rank` does otherwise than the first one, in a sentence; "" if nothing."""
    who = "Process 0 of this run {}, process " + str(rank) + " {}: {}."
    if first["version"] != other["version"]:
        versions = (f"has fastneg {each['version']}" for each in (first, other))
        return who.format(*versions, "install the same version on all machines")
    for name, value in first["settings"].items():
        if value != other["settings"][name]:
            values = (f"has --{name} {each['settings'][name]}" for each in (first, other))
            return who.format(*values, "give all processes the same settings")
    if first["samples"] != other["samples"] or not same_images(first["images"], other["images"]):
        same = first["samples"] == other["samples"]
        reads = (
            f"reads {counted(first['samples'], 'image')}",
            "reads as many others" if same else f"reads {counted(other['samples'], 'image')}",
        )
        return who.format(*reads, f"--data {config.data} must be the same file on all machines")
    if first["step"] != other["step"]:
        steps = (
            "found no checkpoint" if each["step"] is None else f"goes on from step {each['step']}"
            for each in (first, other)
        )
        advice = f"--out {config.out} must be a folder that all machines share"
        return who.format(*steps, advice)
    return ""
