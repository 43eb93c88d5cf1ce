"""A few images of the first batch as the network sees them: photo, query view, key view,
non-semantic negatives."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from PIL import Image

from fastneg.config import IMAGENET
from fastneg.runs.paths import GALLERY


def to_pixels(images, normalisation=IMAGENET):
    """(n, 3, H, W), normalised so → (n, H, W, 3) uint8 on the CPU."""
    device = images.device
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in normalisation)
    return (
        ((images.float() * std + mean) * 255)
        .round()
        .clamp(0, 255)
        .byte()
        .permute(0, 2, 3, 1)
        .cpu()
        .numpy()
    )


def write_gallery(run, reader, batch, negatives, normalisation=IMAGENET, count=8):
    """RUN/gallery/<i>-image.jpg, <i>-query.jpg, <i>-key.jpg and <i>-negative-<m>.jpg for the first
    `count` images of a batch."""
    folder = Path(run) / GALLERY
    folder.mkdir(exist_ok=True)
    views = {"query": batch.query, "key": batch.key}
    if negatives is not None:
        views |= {f"negative-{m}": images for m, images in enumerate(negatives.unbind(1))}
    shown = {name: to_pixels(images[:count], normalisation) for name, images in views.items()}
    for i, index in enumerate(batch.index[:count].tolist()):
        Image.open(io.BytesIO(reader.encoded(index).tobytes())).convert("RGB").save(
            folder / f"{i}-image.jpg", quality=90, subsampling=0
        )
        for name, pixels in shown.items():
            Image.fromarray(pixels[i]).save(folder / f"{i}-{name}.jpg", quality=90, subsampling=0)
