"""Whether a run may go on from a checkpoint."""

from __future__ import annotations

import json

from fastneg.config import PretrainConfig

MAY_CHANGE = {
    "data",
    "out",
    "epochs",
    "device",
    "threads",
    "check_crc",
    "max_bad_share",
    "log_every",
    "checkpoint_every",
    "keep_checkpoints",
    "keep_every",
    "resume",
    "probe",
    "wandb",
    "knn_every",
    "knn_train",
    "knn_val",
}
"""Fields in which a resumed run may differ from the one it goes on from."""


class TrainingError(Exception):
    """A run that cannot start or go on, for a reason that its user can mend."""


def plain(config):
    """The fields of a config as JSON gives them back: tuples are lists."""
    return json.loads(json.dumps(config.as_dict()))


def refuse_another_run(path, state, config, samples, processes, iterations):
    """TrainingError unless a run of this config, data and number of processes can go on from the checkpoint `state`, read from `path`."""
    if "imported" in state:
        raise TrainingError(f"{path} holds imported weights, no run to go on with: give another --out and --init {state['imported']}.")
    before, now = {**plain(PretrainConfig()), **state["config"]}, plain(config)  # a field younger than the checkpoint had its default
    differing = [name for name in now if name not in MAY_CHANGE and before[name] != now[name]]
    if differing:
        listing = ", ".join(f"{name} {before[name]!r} → {now[name]!r}" for name in differing)
        raise TrainingError(f"{path} is of a run with other settings ({listing}): keep them, or choose another --out.")
    if state["samples"] != samples:
        raise TrainingError(f"{path} was trained on {state['samples']} samples, {config.data} holds {samples}: the order would not go on.")
    if state["world_size"] != processes and state["step"] % iterations:
        raise TrainingError(
            f"{path} was written within an epoch by {state['world_size']} processes, here are {processes}: start as many. "
            "The number may change at the end of an epoch."
        )
