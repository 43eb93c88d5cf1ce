"""fastneg bench corruptions: milliseconds per image of each corruption, against the package
`imagecorruptions`, on one core.

Rows of the severities give medians; the rows named `all` sum them over the 15 corruptions and five
severities.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
import types
from pathlib import Path

import numpy as np
import torch

from fastneg.evaluation.corruptions import ALL_15, CORRUPTIONS, SEVERITIES, corrupt

SIZE, BATCH = 224, 16


def bench_corruptions(rounds=3):
    """Yield a row for each contender, corruption and severity, and one for each contender's sum
    over the 75 variants."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = _scenes(BATCH)
    common = {
        "bench": "corruptions",
        "device": device,
        "size": SIZE,
        "batch": BATCH,
        "threads": 1 if device == "cpu" else None,
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        contenders = {"fastneg": _ours(images, device)}
        package = _package(images)
        if package is None:
            yield {
                **common,
                "contender": "imagecorruptions",
                "skipped": "imagecorruptions, scikit-image or SciPy is not installed",
            }
        else:
            contenders["imagecorruptions"] = package
        totals = {name: [] for name in contenders}
        for kind in CORRUPTIONS:
            for severity in SEVERITIES:
                medians = {
                    name: _median(run, kind, severity, rounds) for name, run in contenders.items()
                }
                for name, median in medians.items():
                    row = {
                        **common,
                        "contender": name,
                        "corruption": kind,
                        "severity": severity,
                        "ms_per_image": median,
                    }
                    yield row | (
                        {"times_faster": medians["imagecorruptions"] / median}
                        if package is not None
                        else {}
                    )
                    if kind in ALL_15:
                        totals[name].append((kind, median))
    finally:
        torch.set_num_threads(threads)
    for label, left_out in (("all", ()), ("all but glass_blur", ("glass_blur",))):
        sums = {
            name: sum(median for kind, median in found if kind not in left_out)
            for name, found in totals.items()
        }
        for name, total in sums.items():
            row = {**common, "contender": name, "corruption": label, "ms_per_image": total}
            yield row | (
                {"times_faster": sums["imagecorruptions"] / total} if package is not None else {}
            )


def _median(run, kind, severity, rounds):
    run(kind, severity)
    return statistics.median(run(kind, severity) for _ in range(rounds))


def _ours(images, device):
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).to(device)

    def run(kind, severity):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        corrupt(pixels, kind, severity, range(len(pixels)))
        if device == "cuda":
            torch.cuda.synchronize()
        return 1000 * (time.perf_counter() - began) / len(pixels)

    return run


def _package(images):
    """A function that times the package on one image after the other, or None where it is not
    installed."""
    if package() is None:
        return None
    import cv2
    from imagecorruptions import corrupt as theirs

    cv2.setNumThreads(1)

    def run(kind, severity):
        # a loop of Python over the pixels: one image takes about a second
        some = images[:1] if kind == "glass_blur" else images[:4]
        began = time.perf_counter()
        for image in some:
            theirs(image, severity, kind)
        return 1000 * (time.perf_counter() - began) / len(some)

    return run


class Numpy:
    """numpy as the package expects it: with `float_`."""

    float_ = np.float64

    def __getattr__(self, name):
        return getattr(np, name)


def package():
    """The module `imagecorruptions.corruptions`, or None where it or what it needs is not
    installed.

    Version 1.1.2 was written for older libraries. What it misses in the present ones is put in its
    place: `pkg_resources`, `scipy.ndimage.interpolation`, `np.float_`, and the argument
    `multichannel` of scikit-image's Gaussian filter.
    """
    if any(
        importlib.util.find_spec(name) is None
        for name in ("imagecorruptions", "skimage", "scipy", "cv2")
    ):
        return None
    import scipy.ndimage
    import skimage.filters

    folder = Path(importlib.util.find_spec("imagecorruptions").origin).parent
    stand_ins = {
        "pkg_resources": types.SimpleNamespace(
            resource_filename=lambda _, name: str(folder / name)
        ),
        "scipy.ndimage.interpolation": types.SimpleNamespace(
            map_coordinates=scipy.ndimage.map_coordinates
        ),
    }
    before = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        from imagecorruptions import corruptions as module
    finally:
        for name, value in before.items():
            if value is None:
                del sys.modules[name]
            else:
                sys.modules[name] = value

    def gaussian(image, *args, multichannel=False, **options):
        return skimage.filters.gaussian(
            image, *args, channel_axis=-1 if multichannel else None, **options
        )

    module.np, module.gaussian = Numpy(), gaussian
    return module


def _scenes(count):
    """(count, SIZE, SIZE, 3) uint8 with structure at several scales."""
    from PIL import Image

    rng = np.random.default_rng(0)
    scenes = []
    for _ in range(count):
        layers = [
            Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize(
                (SIZE, SIZE)
            )
            for side in (6, 30)
        ]
        scenes.append(Image.blend(*layers, 0.3))
    return np.stack([np.asarray(scene) for scene in scenes])
