"""Resuming: the content of a checkpoint, which runs may resume from it, and messages about changed
settings."""

from __future__ import annotations

import json

import torch

from fastneg.config import PretrainConfig
from fastneg.config.method import is_own
from fastneg.config.pretrain import EARLIER, todays_names
from fastneg.config.views import augmenter
from fastneg.counts import counted
from fastneg.data.beton.identity import images_fingerprint, same_images, used_fields
from fastneg.errors import SettingsError, TrainingError
from fastneg.models.encoders import scheduled_momentum
from fastneg.runs import checkpoint
from fastneg.training.optim import learning_rate
from fastneg.version import __version__

MAY_CHANGE = {
    "data",
    "cache_dir",
    "out",
    "device",
    "threads",
    "prefetch_queue_depth",
    "cache",
    "check_crc",
    "max_bad_share",
    "compile",
    "cuda_graphs",
    "fused_bn",
    "key_pass",
    "log_every",
    "profile",
    "checkpoint_every",
    "keep_checkpoints",
    "keep_every",
    "resume",
    "stem",
    "probe",
    "wandb",
    "knn_every",
    "knn_train",
    "knn_val",
}
"""Fields in which a resumed run may differ from the one it goes on from: where and how fast it is
computed, checked and logged, not what; and the stem, which the shapes of the weights tell. `epochs`
and `steps` may differ too, and that is told; see `refuse_another_run`."""
ALIKE = ({"shuffle", "split"}, {"sync", "none"})
"""Values of --bn between which a run may change, and is told: each pair is one thing done by
several processes and by one. shuffle and split keep the key's statistics from the query's; sync
takes those of the whole batch, as one process alone does with none."""


def find(run_folder, config, world):
    """(path, state) of the checkpoint that a run of this config goes on from, or None.

    Every process reads it by itself, so that they need not send each other the weights.

    Raises:
        TrainingError: --resume never, and the folder holds checkpoints.
        CheckpointError: it holds some, and none can be read.
    """
    if config.resume == "never":
        if checkpoint.paths(run_folder):
            raise SettingsError(
                f"{run_folder} already holds checkpoints: choose another --out, or resume "
                "from them with --resume auto."
            )
        return None
    return checkpoint.load_newest(run_folder, report=print if world.first else lambda text: None)


def with_augmenter(config, found, world):
    """The config with --augment_with auto decided, so that a run keeps to it wherever it goes on.

    Args:
        found: (path, state) of the checkpoint that the run goes on from, or None.
    """
    if config.augment_with != "auto":
        return config
    before = {**EARLIER, **todays_names(found[1].get("config", {}))} if found else {}
    asked = before.get("augment_with", "auto")
    return config.replace(augment_with=augmenter(asked, world.device.type, config.cache != "none"))


def state_of(step, config, world, reader, loader, method, optimizer, quarantine, meter):
    """What a checkpoint holds; `restore` takes it up.

    No state of a random generator is among it, for a step's draws follow from the seed and the
    number of the step, and an epoch's order from the seed and the number of the epoch.

    Args:
        quarantine: {index: reason} of the bad samples that any process met.
        meter: the state of `Meter` of all processes.
    """
    return {
        "step": step,
        "epoch": step / len(loader),
        "method": method.state_dict(),
        "optimizer": optimizer.state_dict(),
        "config": plain(config),
        "samples": len(reader),
        "fingerprint": data_fingerprint(reader, config),
        "quarantine": quarantine,
        "meter": meter,
        "world_size": world.size,
        "versions": {"fastneg": __version__, "torch": str(torch.__version__)},
    }


def restore(found, config, world, reader, loader, method, optimizer, meter):
    """Take up what `find` gave; returns (step, lines for the user).

    Args:
        found: (path, state).
        loader, method, optimizer, meter: fresh ones; they go on where the checkpoint was.
    Raises:
        TrainingError: this run may not go on from it; nothing was changed then, except by weights
            of another network.
    """
    path, state = found
    # First of all: weights and momenta of another run might fit, and training would go wrong
    # without a word.
    said = refuse_another_run(path, state, config, reader, world.size, len(loader))
    try:
        # It holds the queue and its pointer too: the next keys overwrite the oldest ones.
        method.load_state_dict(state["method"])
    except RuntimeError as error:
        raise SettingsError(
            f"{path} holds the weights of another network than --backbone "
            f"{config.backbone}: {error}"
        ) from error
    # The momenta belong to the parameters by their order, which is that of the method above.
    optimizer.load_state_dict(state["optimizer"])
    # Before the loader's first epoch: what is known to be bad is replaced without another try.
    loader.know(state.get("quarantine", {}))
    # Steps since the last log line: their figures are part of the next one.
    meter.load(state.get("meter"), world)
    return state["step"], [f"Resuming from {path} (step {state['step']}).", *said]


def plain(config):
    """The fields of a config as JSON gives them back: tuples are lists."""
    return json.loads(json.dumps(config.as_dict()))


def refuse_another_run(path, state, config, reader, processes, iterations):
    """Whether a run of this config, data and number of processes can go on from a checkpoint.

    Args:
        path, state: the checkpoint.
        config: `PretrainConfig` of this call.
        reader: its open data.
        processes: how many there are.
        iterations: steps an epoch.
    Returns:
        lines that say what is another setting from here on.
    Raises:
        TrainingError: it cannot. CheckpointError: the file is no checkpoint of a run.
    """
    if "imported" in state:
        origin = state["imported"]
        raise SettingsError(
            f"{path} holds imported weights, not a run that can be resumed: give another --out and "
            f"--init {origin}."
        )
    needed = ("step", "config", "samples", "world_size", "method", "optimizer")
    checkpoint.require(path, state, needed)
    # A field that is younger than the checkpoint had its default.
    before = {**plain(PretrainConfig()), **EARLIER, **todays_names(state["config"])}
    said = [*_statistics(before, config), *_length(path, before, config, state["step"], iterations)]
    free = (
        MAY_CHANGE
        | {"epochs", "steps"}
        | ({"bn", "bn_splits"} if before["bn"] != config.bn and said else set())
    )
    if renamed := _renamed(before["backbone"], str(config.backbone)):
        said, free = [*said, *renamed], free | {"backbone"}
    now = plain(config)
    differing = [name for name in now if name not in free and before[name] != now[name]]
    if differing:
        listing = ", ".join(f"{name} {before[name]!r} → {now[name]!r}" for name in differing)
        raise SettingsError(
            f"{path} is of a run with other settings ({listing}): keep them, or choose another "
            "--out."
        )
    said += _same_data(path, state, config, reader)
    # With --order page, batches depend on the number of processes: within an epoch another number
    # would repeat some images and leave out others.
    if state["world_size"] != processes and state["step"] % iterations:
        raise TrainingError(
            f"{path} was written within an epoch by {counted(state['world_size'], 'process')}, now "
            f"there are {processes}: start as many as before. Their number may change only at the "
            "end of an epoch."
        )
    return said


def _statistics(before, config):
    """What is said of another --bn, where it may change."""
    was, now = before["bn"], config.bn
    if was == now or {was, now} not in ALIKE:
        return []
    return [f"--bn is {now} from here on, it was {was}: batch statistics are over other groups."]


def _renamed(was, now):
    """What is said of another name of an own network: its weights tell whether it is the same."""
    if was == now or not (is_own(was) and is_own(now)):
        return []
    return [f"--backbone is {now} from here on, it was {was}: the weights fit."]


def _length(path, before, config, step, iterations):
    """What another number of epochs, or of steps, does to the schedules."""
    warmup = config.warmup_epochs  # the run may have been shorter, and is refused later on
    if before["steps"] is None:
        then, was = config.replace(epochs=max(before["epochs"], warmup + 1)), before["epochs"]
    else:
        was = before["steps"]
        then = config.replace(steps=max(was, warmup * iterations + 1))
    total = config.total_steps(iterations)
    if total == then.total_steps(iterations):
        return []
    alike = (before["steps"] is None) == (config.steps is None)
    unit, now = ("epochs", config.epochs) if config.steps is None else ("steps", config.steps)
    if not alike:
        was = f"--{'steps' if unit == 'epochs' else 'epochs'} {was}"
    epoch, iteration = divmod(step, iterations)
    if step > total:
        at = f"epoch {epoch + bool(iteration)}" if unit == "epochs" else f"step {step}"
        raise SettingsError(
            f"{path} is from {at}, beyond --{unit} {now}: give at least as many, or choose another "
            "--out."
        )
    said = f"--{unit} is {now}, it was {was}"
    if step == total:
        return [
            f"{said}: the run is complete, though its learning rate did not decay to the end of "
            "its schedule."
        ]
    rates = [learning_rate(each, epoch, iteration, iterations) for each in (then, config)]
    if step >= then.total_steps(iterations):
        rates[0] = 0.0  # the run was finished
    told = [
        f"the learning rate now decays to 0 over all {now}, and is {rates[1]:.3g} from here on, "
        f"not {rates[0]:.3g}"
    ]
    if config.momentum_schedule == "cosine":
        momenta = [
            scheduled_momentum(config.key_momentum, "cosine", step / each.total_steps(iterations))
            for each in (then, config)
        ]
        told.append(
            f"the momentum of the key encoder is {momenta[1]:.6g} instead of {momenta[0]:.6g}"
        )
    return [
        f"{said}: {'; '.join(told)}. A run with --{unit} {now} from the start would give another "
        "result."
    ]


def _same_data(path, state, config, reader):
    """The data must be that of the checkpoint, wherever it lies now."""
    if state["samples"] != len(reader):
        raise TrainingError(
            f"{path} was trained on {counted(state['samples'], 'sample')}, {config.data} holds "
            f"{len(reader)}: the order of the samples would not continue."
        )
    if "fingerprint" not in state:
        return [
            f"{path} was written by a version that kept no fingerprint of the data: whether it was "
            f"trained on {config.data} is not checked."
        ]
    then, now = state["fingerprint"], data_fingerprint(reader, config)
    if not same_images(then, now):
        raise TrainingError(
            f"{path} was trained on other images than those of {config.data}, though on as many. "
            "Give the file that it was trained on (its path may have changed), or choose another "
            "--out."
        )
    return []


def data_fingerprint(reader, config):
    """`images_fingerprint` of what a run of this config takes from its data."""
    stored = config.view_options().get("texture") == "file"
    return images_fingerprint(reader, used_fields(reader, stored))
