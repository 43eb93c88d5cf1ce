"""Several processes train one model only if they do the same: same settings, same images, the same
checkpoint to go on from."""

from __future__ import annotations

from fastneg import distributed
from fastneg.counts import counted
from fastneg.data.beton.identity import same_images
from fastneg.errors import TrainingError
from fastneg.training.resume import data_fingerprint, plain
from fastneg.version import __version__

OWN = {
    *("data", "cache_dir", "out", "device", "threads", "prefetch_queue_depth", "check_crc"),
    *("max_bad_share", "profile", "wandb", "init", "knn_train", "knn_val"),
}
"""Settings that may differ: where each process reads and writes, and with how many threads."""


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
