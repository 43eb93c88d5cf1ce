"""The trained encoder of a run folder, ready for evaluation."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from fastneg.config import ConfigError, PretrainConfig, UnfitError
from fastneg.config.method import is_own
from fastneg.data.load.handle import Data
from fastneg.errors import CheckpointError
from fastneg.models.backbones import backbone_of
from fastneg.models.own_networks import named, unwrapped
from fastneg.models.own_outputs import copied, images_of
from fastneg.runs import checkpoint
from fastneg.runs.embed import BATCH, Features, central_crops, extract_features, uses_autocast


@dataclass(frozen=True)
class LoadedRun:
    backbone: nn.Module
    """The query encoder without its projector: (N, 3, H, W) → (N, F). It is in eval mode, frozen,
    on the device."""
    feature_dim: int
    """F."""
    config: PretrainConfig
    checkpoint: str
    """File name of the checkpoint."""
    digest: str
    """SHA-256 of the weights."""

    @torch.no_grad()
    def outputs(self) -> torch.Tensor | None:
        """(2, F) float32 on the CPU: what the backbone gives for two images in which every pixel
        differs.

        The digest knows the weights alone: an own network whose forward was changed has the same.
        None of a network that gives something else each time.
        """
        images = images_of(self.config.image_size, 2).to(self.device)
        first, second = (self.backbone(images.clone()).float().cpu() for _ in range(2))
        return first if same_outputs(first, second) else None

    @property
    def device(self) -> torch.device:
        """Where the backbone is."""
        return next(self.backbone.parameters()).device

    def backbone_copy(self) -> nn.Module:
        """Another network with the same weights, on the same device."""
        if not is_own(self.config.backbone):
            return copy.deepcopy(self.backbone)
        return copied(
            self.backbone, lambda: backbone_of(self.config)[0], self.config.image_size
        ).eval()

    def embed(
        self,
        data: Data,
        *,
        batch_size: int = BATCH,
        resize: int | None = None,
        threads: int = 0,
        progress: str = "features",
    ) -> Features:
        """The features of all images of a file, as the run sees them in evaluation: central crops,
        with its normalisation and precision.

        Args:
            data: the path of a .beton file (several as `open_data` takes them), or an open reader.
            batch_size: images at a time; the features do not depend on it but for rounding.
            resize: side in pixels to which the shorter side is resized before the crop; None: the
                run's.
            threads: decoding threads; 0 takes all cores.
            progress: is done, in the words of the bar on a terminal, of lines on stderr elsewhere.
        Returns:
            `Features`: features (N, F) float32, labels (N,) int64 or None, index (N,) int64, all in
            memory. `fastneg embed` writes them to a file as they come.
        Raises:
            BetonError: the file cannot be read, or more of its images cannot be used than the run's
                max_bad_share. ConfigError: features are not finite, or resize is too small.
        """
        options = {"resize": resize, "threads": threads, "batch_size": batch_size}
        crops = central_crops(data, self.config, device=self.device, **options)
        autocast = uses_autocast(self.config, self.device)
        with contextlib.closing(crops) as loader:
            return extract_features(self.backbone, loader, self.device, autocast, progress)


def load_run(
    run: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    backbone: str | nn.Module | Callable[[], nn.Module] | None = None,
) -> LoadedRun:
    """The backbone of the newest readable checkpoint of a run.

    Args:
        run: the run folder.
        device: the device of the backbone.
        backbone: what makes the network, if the run was given the network as an object: an
            nn.Module, a function that makes one, or the name of one. None: what the run's config
            names.
    Raises:
        CheckpointError: the folder holds no checkpoint, or its weights are of another network.
        ConfigError: the network cannot be made.
    """
    path, state = checkpoint.newest_with(run, ("config", "method"))
    config = PretrainConfig.read(state["config"])
    given = backbone is not None
    if given:
        config = config.replace(backbone=named(backbone, config.image_size), stem=config.stem)
    try:
        backbone, width = backbone_of(config)
    except ConfigError as error:
        if given:
            raise
        raise UnfitError(f"{path}: {error}") from error
    _load(backbone, path, state, config.backbone)
    return LoadedRun(
        backbone.eval().requires_grad_(False).to(device),
        width,
        config,
        path.name,
        weights_digest(backbone),
    )


def same_outputs(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    """Whether two results of `LoadedRun.outputs` are of the same function, but for the rounding of
    devices; also where one of them is None."""
    if one is None or other is None:
        return True
    limit = 1e-2 * other.abs().max().item()
    return one.shape == other.shape and torch.allclose(one, other, 0, limit, equal_nan=True)


def load_into_module(module, run):
    """Give a network the weights of a run that it was the backbone of, in place, where it is."""
    _load(unwrapped(module), *checkpoint.newest_with(run, ("method",)), "the module given")


def _load(backbone, path, state, name):
    prefix = "query_encoder.backbone."
    weights = {
        name[len(prefix) :]: value
        for name, value in state["method"].items()
        if name.startswith(prefix)
    }
    try:
        backbone.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} holds the weights of another network than {name} is now: {error}"
        ) from error


def weights_digest(module):
    """SHA-256 over the names and bytes of a module's parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()
