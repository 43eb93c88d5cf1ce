"""A few images of the first batch as the network sees them: photo, query view, key view, non-semantic negatives."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from PIL import Image

from fastneg.data.augmentation import IMAGENET_MEAN, IMAGENET_STD


def to_pixels(images):
    """(n, 3, H, W) normalised → (n, H, W, 3) uint8 on the CPU."""
    mean, std = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((images.float() * std + mean) * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()


def write_gallery(run, reader, batch, negatives, count=8):
    """RUN/gallery/<i>-image.jpg, <i>-query.jpg, <i>-key.jpg and <i>-negative-<m>.jpg for the first `count` images of a batch."""
    folder = Path(run) / "gallery"
    folder.mkdir(exist_ok=True)
    shown = {"query": to_pixels(batch.query[:count]), "key": to_pixels(batch.key[:count])}
    if negatives is not None:
        shown.update({f"negative-{m}": to_pixels(images) for m, images in enumerate(negatives[:count].unbind(1))})
    for i, index in enumerate(batch.index[:count].tolist()):
        Image.open(io.BytesIO(reader.encoded(index).tobytes())).convert("RGB").save(
            folder / f"{i}-image.jpg", quality=90, subsampling=0
        )
        for name, pixels in shown.items():
            Image.fromarray(pixels[i]).save(folder / f"{i}-{name}.jpg", quality=90, subsampling=0)
