"""Builds the parts of a run from its config and from the content of its folder."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from fastneg import distributed
from fastneg.config import PretrainConfig
from fastneg.counts import counted
from fastneg.data.beton.shards import open_data
from fastneg.data.load.train_loader import TrainLoader
from fastneg.errors import SettingsError
from fastneg.methods import METHODS
from fastneg.models.backbones import check_view_sizes
from fastneg.models.batch_norm import batch_norms, check_batch_norm, sync_batch_norm
from fastneg.models.fused_norms import fuse
from fastneg.models.graphs import compile_static
from fastneg.models.preprocessing import told_of_init
from fastneg.models.weights import load_into, read_weights
from fastneg.runs import checkpoint
from fastneg.runs.embed import uses_autocast
from fastneg.runs.environment import environment, write_settings
from fastneg.runs.lock import RunLock
from fastneg.runs.log import RunLog, drop_rows_after
from fastneg.training import resume
from fastneg.training.bad_samples import BadSamples
from fastneg.training.checks import (
    check_agreement,
    check_batch,
    check_data,
    check_length,
    check_place,
    check_room,
)
from fastneg.training.meter import Meter
from fastneg.training.online_knn import OnlineKnn
from fastneg.training.optim import OPTIMIZERS, GuardedSGD


@dataclass
class Parts:
    """What a step (step.py) and the loop (trainer.py) work with; `build` makes it."""

    config: PretrainConfig
    """With all that a run of it decides once."""
    run_folder: Path
    reader: object
    """The training data."""
    method: nn.Module
    """On the device."""
    model: nn.Module
    """The method, in `DistributedDataParallel` where there are several processes."""
    optimizer: GuardedSGD
    loader: TrainLoader
    knn: OnlineKnn | None
    meter: Meter
    log: RunLog
    bad_samples: BadSamples
    step: int
    """Steps that the run has taken: 0, or those of the checkpoint that it goes on from."""
    batch_norms: int
    """Layers of batch normalisation in the backbone."""
    autocast: bool
    """Whether the networks compute in bfloat16."""


def build(config, world, stack: ExitStack) -> Parts:
    """Make the parts of a run, ready for its next step.

    The order matters where one part must find another in place; those comments are below. Whatever
    the config alone can tell is refused first, before the run folder is made.

    Args:
        config: `PretrainConfig`.
        world: `World`.
        stack: closes what is opened here.
    Raises:
        TrainingError, CheckpointError, ConfigError, BetonError: each says what to do.
    """
    method, told = new_method(config, world)
    _say(told, world)
    reader = stack.enter_context(open_data(config.data, cache_dir=config.cache_dir))
    _say(check_data(reader, config), world)

    run_folder = Path(config.out)
    if world.first:
        # Held before the folder's checkpoints are read: another training might be writing them.
        stack.callback(RunLock(run_folder).close)
        check_room(run_folder, method)
    found = resume.find(run_folder, config, world)
    config = resume.with_augmenter(config, found, world)
    check_agreement(config, found, reader, world)
    if config.init and not found:
        _say(begin_with(method, config), world)
    norms = _set_batch_norm(method, config, world)
    method, optimizer, model = _place(method, config, world)
    threads = config.threads or distributed.share_of_cores(world)
    knn = OnlineKnn(config, reader, world, threads, stack) if config.knn_every else None
    loader = _loader(reader, config, world, threads, stack)
    meter, step = Meter(), 0
    if found:
        step, said = resume.restore(found, config, world, reader, loader, method, optimizer, meter)
        _say(said, world)
    log = _open_log(run_folder, config, world, step if found else -1, len(loader))
    stack.callback(log.close)
    if world.first:
        # After the log, which may refuse: the settings of a run that never began are not kept.
        write_settings(run_folder, config.as_dict(), environment(world.device))
    return Parts(
        config=config,
        run_folder=run_folder,
        reader=reader,
        method=method,
        model=model,
        optimizer=optimizer,
        loader=loader,
        knn=knn,
        meter=meter,
        log=log,
        bad_samples=BadSamples(loader, world, log),
        step=step,
        batch_norms=norms,
        autocast=uses_autocast(config, world.device),
    )


def new_method(config, world):
    """(the method with fresh weights, what to say of its backbone), once the config fits the
    processes and the machine."""
    check_batch(config, world)
    check_place(config, world)
    torch.manual_seed(config.seed)  # of the fresh weights: alike in all processes
    method = METHODS[config.method](config)
    backbone = method.query_encoder.backbone
    if not any(True for _ in backbone.parameters()):
        raise SettingsError(
            f"--backbone {config.backbone} has no parameters: layers in a list or a dict belong "
            "into nn.ModuleList or nn.ModuleDict."
        )
    if not any(each.requires_grad for each in backbone.parameters()):
        raise SettingsError(
            f"--backbone {config.backbone} has no parameter to train: each is frozen, or the "
            "features do not depend on it, for example because forward runs under torch.no_grad."
        )
    check_view_sizes(backbone, config)
    return method, list(getattr(backbone, "told", []))


def begin_with(method, config):
    """Take the weights of --init; what to say of them."""
    weights = read_weights(config.init)
    taken = load_into(method, weights, config.init_prefix or None)
    return [*taken.said, *told_of_init(config, weights.config)]


def _set_batch_norm(method, config, world):
    """Let --bn act on the network; returns how many layers its backbone has."""
    backbone = method.query_encoder.backbone
    _say(check_batch_norm(method, config), world)
    norms = batch_norms(backbone)
    if config.bn == "sync":
        # The whole method: BYOL's projector and predictor are normalised too.
        sync_batch_norm(method)
    if config.fused_bn == "on" or (config.fused_bn == "auto" and world.device.type == "cuda"):
        _say(_fuse(method, norms, config), world)
    return norms


def _fuse(method, norms, config):
    """Fuse the networks' batch normalisation; what is to be said of the backbone's, as lines."""
    fused = fuse(method.query_encoder.backbone)
    fuse(method)
    if not fused.layers:
        if config.fused_bn == "on":
            raise SettingsError(
                f"--fused_bn is on, but {config.backbone} has no block of a supported kind with a "
                "ReLU after its batch normalisation: leave it out."
            )
        return []
    return [
        f"{fused.layers} of the {counted(norms, 'layer')} of batch normalisation are fused with "
        f"their ReLU, {fused.additions} of them with the residual addition too."
    ]


def _place(method, config, world):
    """(method on the device, its optimizer, the method as it is called in a step)."""
    method = method.to(world.device)
    if world.device.type == "cuda":
        method = method.to(memory_format=torch.channels_last)
        # All steps of a view size have the same shapes: cuDNN tries its algorithms once for each.
        torch.backends.cudnn.benchmark = True
    # After the move: the flags by which it skips a step lie on the device of the parameters.
    trained = (parameter for parameter in method.parameters() if parameter.requires_grad)
    optimizer = OPTIMIZERS[config.optimizer](trained, config)
    if config.compile:
        encoders = method.query_encoder, getattr(method, "key_encoder", None)
        compile_static(encoders, len(config.view_sizes()))
    model = distributed.data_parallel(method, world, compress=config.compress_gradients)
    return method, optimizer, model


def _loader(reader, config, world, threads, stack):
    loader = train_loader(reader, config, world, threads)
    stack.callback(loader.close)
    check_length(config, len(loader))
    return loader


def train_loader(reader, config, world, threads):
    """The `TrainLoader` of a run."""
    return TrainLoader(
        reader,
        config.batch_size,
        config.view_size,
        **config.view_options(),
        order=config.order,
        device=world.device,
        seed=config.seed,
        rank=world.rank,
        world_size=world.size,
        threads=threads,
        prefetch_queue_depth=config.prefetch_queue_depth,
        check_crc=config.check_crc,
        max_bad_share=config.max_bad_share,
        cache=None if config.cache == "none" else config.cache,
    )


def _open_log(run_folder, config, world, last_step, iterations):
    """The log, cut to end at `last_step`: what it has beyond is of steps that will be taken
    again."""
    if world.first:
        checkpoint.remove_unfinished(run_folder)
        drop_rows_after(run_folder, last_step)
    return RunLog(
        run_folder,
        config.total_steps(iterations),
        enabled=world.first,
        wandb=config.wandb,
        settings=config.as_dict(),
    )


def _say(lines, world):
    if lines and world.first:
        print("\n".join(lines), flush=True)
