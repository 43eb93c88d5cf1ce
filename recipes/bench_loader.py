"""fastneg bench loader: images/s of two augmented views, from the same JPEGs, with the same views and the same number of threads."""

from __future__ import annotations

import io
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fastneg.config import default_workers
from fastneg.data.beton import BetonReader
from fastneg.data.encode import encode_samples
from fastneg.data.loaders import TrainLoader

HEIGHT, WIDTH, SIZE = 416, 458, 224


def bench_loader(rounds=3, images=256, batch_size=64):
    """Yield one row per contender: images/s (median of the rounds) and CPU milliseconds per image, and the ratio to torchvision."""
    with tempfile.TemporaryDirectory() as folder:
        samples = list(_photos(images))
        encode_samples(Path(folder) / "bench.beton", ((data, {"label": label}, f"{i}") for i, (data, label) in enumerate(samples)))
        for i, (data, label) in enumerate(samples):
            path = Path(folder) / "images" / str(label) / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        with BetonReader(Path(folder) / "bench.beton") as reader:
            contenders = {"fastneg": _fastneg(reader, batch_size), "torchvision_pil": _torchvision(Path(folder) / "images", batch_size)}
            figures = {name: [] for name in contenders}
            for round_number in range(rounds + 1):  # in turn, so that a machine whose speed drifts treats them alike; the first is warm-up
                for name, epoch in contenders.items():
                    figures[name].append(_measure(epoch, round_number))
    base = statistics.median(rate for rate, _ in figures["torchvision_pil"][1:])
    for name, rounds_of_it in figures.items():
        rate, cpu = (statistics.median(column) for column in zip(*rounds_of_it[1:], strict=True))
        yield {
            "bench": "loader",
            "contender": name,
            "device": "cuda" if torch.cuda.is_available() and name == "fastneg" else "cpu",
            "height": HEIGHT,
            "width": WIDTH,
            "view_size": SIZE,
            "threads": default_workers(),
            "images_per_s": rate,
            "cpu_ms_per_image": cpu,
            "ratio_to_torchvision": rate / base,
        }


def _photos(count):
    """JPEG bytes of random scenes: smooth areas, edges and grain, about as heavy to decode as photographs."""
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse, middle = (rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (6, 40))
        layers = [
            np.asarray(Image.fromarray(layer).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.float32) for layer in (coarse, middle)
        ]
        pixels = 0.7 * layers[0] + 0.3 * layers[1] + rng.normal(0, 6, (HEIGHT, WIDTH, 1))
        file = io.BytesIO()
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
        yield file.getvalue(), i % 4


def _measure(epoch, number):
    before, began = _cpu_seconds(), time.perf_counter()
    images = epoch(number)
    return images / (time.perf_counter() - began), 1000 * (_cpu_seconds() - before) / images


def _cpu_seconds():
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _fastneg(reader, batch_size):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loader = TrainLoader(reader, batch_size, SIZE, augmentation="moco_v2", device=device)

    def epoch(number):
        images = sum(len(batch.query) for batch in loader.epoch(number))
        if device == "cuda":
            torch.cuda.synchronize()
        return images

    return epoch


def _torchvision(folder, batch_size):
    """The published loader: PIL images, two torchvision transforms, worker processes."""
    from torchvision import transforms as T
    from torchvision.datasets import ImageFolder

    view = T.Compose(
        [
            T.RandomResizedCrop(SIZE, (0.2, 1.0)),
            T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
            T.RandomGrayscale(0.2),
            T.RandomApply([_PilBlur()], 0.5),
            T.RandomHorizontalFlip(),
            T.ToTensor(),
            T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    data = ImageFolder(folder, _TwoViews(view))
    loader = torch.utils.data.DataLoader(data, batch_size, shuffle=True, num_workers=default_workers(), drop_last=True)

    def epoch(number):
        return sum(len(query) for (query, key), label in loader)

    return epoch


class _TwoViews:
    def __init__(self, view):
        self.view = view

    def __call__(self, image):
        return self.view(image), self.view(image)


class _PilBlur:
    """MoCo's Gaussian blur."""

    def __call__(self, image):
        from PIL import ImageFilter

        return image.filter(ImageFilter.GaussianBlur(np.random.uniform(0.1, 2.0)))
