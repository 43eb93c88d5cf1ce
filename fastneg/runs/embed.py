"""Features of a trained encoder: of whole files at once, or batch by batch.

Legend: N images, F backbone features, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from fastneg.config import UnfitError
from fastneg.counts import counted
from fastneg.data.load.labelled_loaders import EvalLoader
from fastneg.kernels.host_copy import some_later, to_device
from fastneg.models.encoders import embed
from fastneg.progress import shown

BATCH = 256


@dataclass(frozen=True)
class Features:
    features: torch.Tensor
    """(N, F) float32 on the CPU, as the backbone gives them: not normalised."""
    labels: torch.Tensor | None
    """(N,) int64, numbered as in the file, or None where the file has no labels."""
    index: torch.Tensor
    """(N,) int64, positions in the file: all of them, but for those in `skipped`."""
    skipped: dict[int, str]
    """{position: reason} of the images that cannot be used.

    They are at most the run's max_bad_share of the file; with more of them the command ends.
    """


class Part(NamedTuple):
    """The features of one batch; tensors as of `Features`."""

    features: torch.Tensor
    labels: torch.Tensor | None
    index: torch.Tensor


def uses_autocast(config, device):
    """Whether a run's encoder computes in bfloat16 on this device: as in its training."""
    return config.precision == "bf16" or (
        config.precision == "auto" and torch.device(device).type == "cuda"
    )


def central_crops(reader, config, *, resize=None, device="cpu", threads=0, batch_size=BATCH):
    """The `EvalLoader` of what a run is judged on, with its settings.

    Args:
        reader: an open data set, or a path.
        config: PretrainConfig of the run.
        resize: side to which the shorter side is resized before the crop; None: the run's.
    """
    options = {"device": device, "threads": threads, **config.evaluation_options()}
    options["resize"] = resize or config.eval_resize
    return EvalLoader(reader, batch_size, config.image_size, **options)


def feature_parts(backbone, loader, device, autocast=False, what="features"):
    """Yield the features of a loader's images batch by batch, as `Part`s.

    Args:
        backbone: (N, 3, H, W) → (N, F), in eval mode, on `device`.
        loader: gives `EvalBatch`es, such as `EvalLoader`; its length is the number of batches.
        autocast: compute in bfloat16.
        what: is done, in the words of `fastneg.progress.Progress`.
    """
    if backbone.training:
        raise ValueError(
            "The backbone is in training mode: its batch statistics would mix the images. Call "
            ".eval() first."
        )
    made = (
        (embed(backbone, to_device(batch.images, device), autocast), batch.label, batch.index)
        for batch in shown(loader, what)
    )
    for part in some_later(made):
        yield Part(*part)


def refuse_not_finite(features):
    """ConfigError where features, (N, F), are NaN or infinite."""
    bad = (~features.isfinite().all(1)).sum().item()
    if bad:
        raise UnfitError(
            f"The encoder gives NaN or infinite features for {bad} of "
            f"{counted(len(features), 'image')}: its training diverged."
        )


def extract_features(backbone, loader, device, autocast=False, what="features"):
    """One pass over a loader.

    Args:
        As of `feature_parts`.
    Returns:
        Features.
    Raises:
        ConfigError: the encoder gives NaN or infinite features.
    """
    parts = list(feature_parts(backbone, loader, device, autocast, what))
    if not parts:
        raise UnfitError("There are no images to take features of.")
    features, labels, index = zip(*parts, strict=True)
    found = Features(
        torch.cat(features),
        None if labels[0] is None else torch.cat(labels),
        torch.cat(index),
        dict(getattr(loader, "quarantine", {})),
    )
    refuse_not_finite(found.features)
    return found
