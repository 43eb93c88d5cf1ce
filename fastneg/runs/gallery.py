"""RUN/gallery/, a few images of the first batch as the network sees them (photo, query view, key
view, non-semantic negatives): written by a training, read for the report."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import torch
from PIL import Image

from fastneg.config import IMAGENET
from fastneg.runs.paths import GALLERY

THUMBNAIL = 224  # longest side in pixels of an image in the page
SHOWN_NEGATIVES = 4


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


def read_gallery(folder):
    """The images of RUN/gallery/, which pretrain writes of the first batch.

    Returns:
        (for each image {"image": data URI or None, "query": …, "key": …, "negatives": [data URI or
        None, …], "left_out": n}, problems in words).
    """
    names = {path.name for path in (folder / GALLERY).glob("*.jpg")}
    damaged, found = [], []

    def picture(file):
        if file not in names:
            return None
        try:
            return thumbnail(folder / GALLERY / file)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            # what Pillow raises on damaged files
            damaged.append(file)
            return None

    for i in sorted(
        {int(match[1]) for name in names if (match := re.fullmatch(r"(\d+)-image\.jpg", name))}
    ):
        numbers = sorted(
            int(match[1])
            for name in names
            if (match := re.fullmatch(rf"{i}-negative-(\d+)\.jpg", name))
        )
        negatives = [picture(f"{i}-negative-{m}.jpg") for m in numbers[:SHOWN_NEGATIVES]]
        views = {view: picture(f"{i}-{view}.jpg") for view in ("image", "query", "key")}
        found.append({**views, "negatives": negatives, "left_out": len(numbers) - len(negatives)})
    if not names:
        return [], ["gallery/ is missing or empty."]
    return found, [f"gallery/: {', '.join(damaged)} cannot be decoded."] if damaged else []


def thumbnail(source):
    """An image as a data URI, made smaller if need be.

    Args:
        source: the path of an image file, or the bytes of one.
    """
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        if max(image.size) <= THUMBNAIL and image.format == "JPEG":
            data = content
        else:
            small = image.convert("RGB")
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=88)
            data = buffer.getvalue()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()
