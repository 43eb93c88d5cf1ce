"""fastneg pretrain, as a command and as a function."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from fastneg.counts import counted
from fastneg.data.beton.shards import text_of
from fastneg.models.own_networks import named
from fastneg.recipes.commands import DEFAULT_PRESET
from fastneg.recipes.preset_config import preset_config
from fastneg.runs.load import load_into_module
from fastneg.training import trainer


def pretrain(
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    backbone: str | nn.Module | Callable[[], nn.Module] | None = None,
    preset: str = DEFAULT_PRESET,
    **fields: Any,
) -> trainer.Result:
    """Pre-train an encoder: what `fastneg pretrain` does, also of a network of your own.

    Args:
        data: the .beton file to train on; several as a list, or as of --data.
        out: the run folder. If it holds a run of these settings, that is gone on with.
        backbone: the name of a network as of --backbone; or an nn.Module from images (N, 3, H, W)
            to features (N, F) or to a map (N, F, H, W), which is averaged; or a function that makes
            one. The run begins with the weights of a module. They are those of the run afterwards.
            None: the preset's.
        preset: a name that `fastneg presets` lists.
        fields: any field of `PretrainConfig`, the flags of `fastneg pretrain`: batch_size=64, say.
    Returns:
        Result: the run folder, the steps taken, and whether the run is finished.
    Raises:
        ConfigError: a field cannot be, or the network gives no features. TrainingError,
            CheckpointError, BetonError: the run cannot start or go on. OutputError: out is, or
            holds, an input.
    """
    given = backbone is not None and not isinstance(backbone, str)
    if given:
        fields = {"stem": "auto", **fields}  # the preset's is of its own network
    elif backbone is not None:
        fields["backbone"] = backbone
    config = preset_config(preset, data=text_of(data), out=os.fspath(out), **fields)
    if given:
        config = config.replace(backbone=named(backbone, config.image_size))
    result = trainer.pretrain(config)
    if isinstance(backbone, nn.Module):
        load_into_module(backbone, result.run)
    return result


def run_pretrain(config):
    """Train as the config says; 0 when finished, 128 + signal when a signal stopped it."""
    began = time.perf_counter()
    result = trainer.pretrain(config)
    if not result.finished:
        return 128 + result.signal if result.signal else 1
    if result.first:
        print(
            f"{result.run}: {counted(result.step, 'step')}, this call "
            f"{time.perf_counter() - began:.0f} s.",
            flush=True,
        )
    return 0
