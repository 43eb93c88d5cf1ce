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
    """Pre-train an encoder, as `fastneg pretrain` does, also with a network of your own.

    Args:
        data: the .beton file to train on; several as a list, or written as for --data.
        out: the run folder. If it holds a run with these settings, that run is resumed.
        backbone: the name of a network as for --backbone; or an nn.Module from images (N, 3, H, W)
            to features (N, F) or to a map (N, F, H, W), which is averaged; or a function that makes
            one. A run with a module begins with the module's weights, and afterwards the module has
            the trained weights. None: the preset's backbone.
        preset: a name that `fastneg presets` lists.
        fields: any field of `PretrainConfig`, which are the flags of `fastneg pretrain`, such as
            batch_size=64.
    Returns:
        Result: the run folder, the number of steps, and whether the run is finished.
    Raises:
        ConfigError: a field has an invalid value, or the network gives no features. TrainingError,
            CheckpointError, BetonError: the run cannot start or resume. OutputError: out is an
            input, or contains one.
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
