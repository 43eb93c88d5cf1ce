"""Accuracy under corruption: mean accuracy, and ImageNet-C's mean corruption error against AlexNet.

Source: Hendrycks and Dietterich 2019, arXiv:1903.12261.
"""

from __future__ import annotations

import contextlib

import torch

from fastneg.data.beton.identity import content_key
from fastneg.data.labels import ABSENT, join_labels
from fastneg.evaluation.accuracy import columns_of, rank_among, share_interval
from fastneg.evaluation.corruptions import (
    ALL_15,
    SEVERITIES,
    constants_for,
    corrupt,
    normalised,
    pixels_of,
)
from fastneg.evaluation.view import run_view
from fastneg.kernels.host_copy import to_device
from fastneg.models.encoders import embed
from fastneg.progress import shown
from fastneg.runs.classifier import classifier_key
from fastneg.runs.embed import central_crops, uses_autocast

IMAGENET_CLASSES = 1000
ALEXNET_CLEAN = 0.43478
"""Top-1 error of torchvision's AlexNet on ImageNet val.

Its weights IMAGENET1K_V1 are given with 56.522% (torchvision's documentation).
"""
ALEXNET = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
"""AlexNet's top-1 error on ImageNet-C (1000 classes), by corruption, over five severities.

The figures are those of its authors' sheet for mCE, to which the README of hendrycks/robustness
links. google-research/augmix has the same.
"""


def mean_accuracy(by_corruption):
    """Percent: the mean over those of the 15 that are given, and over the severities.

    ValueError if none of the 15 is given.
    """
    common = [values for name, values in by_corruption.items() if name in ALL_15]
    if not common:
        raise ValueError(
            f"Of {', '.join(by_corruption) or 'no corruptions'} none is of ImageNet-C's 15: some "
            "of these were expected."
        )
    return sum(map(sum, common)) / sum(map(len, common))


def mean_corruption_errors(by_corruption, clean_top1):
    """(mCE, relative mCE) in percent of AlexNet's.

    CE_c = Σ_s E_c,s / Σ_s E_c,s of AlexNet; the relative one takes the clean error off both sums;
    means over the 15.

    Args:
        by_corruption: {name: top-1 accuracy in percent at severities 1 to 5}, all of the 15; others
            are ignored.
        clean_top1: percent, on the clean images.
    Raises:
        ValueError: one of the 15 is missing, or has not five severities.
    """
    missing = [name for name in ALL_15 if len(by_corruption.get(name, ())) != len(SEVERITIES)]
    if missing:
        raise ValueError(
            f"mCE needs five severities of each of the 15 corruptions: {', '.join(missing)} lack "
            "some."
        )
    errors = {name: 1 - sum(by_corruption[name]) / (100 * len(SEVERITIES)) for name in ALL_15}
    plain = [errors[name] / ALEXNET[name] for name in ALL_15]
    relative = [
        (errors[name] - (1 - clean_top1 / 100)) / (ALEXNET[name] - ALEXNET_CLEAN) for name in ALL_15
    ]
    return 100 * sum(plain) / len(plain), 100 * sum(relative) / len(relative)


def summary(by_corruption, clean_top1, classes, same_images=True):
    """The means of a row, and notes on what is not given.

    The fields are mean_top1 over all of the 15, of_the_15, mce and relative_mce.

    With fewer of the 15 mean_top1 is None: their mean is partial_mean_top1, and mean_note says what
    it lacks. So no reader can take the one for the other. mCE is None, and mce_note says why, where
    it means nothing.

    Args:
        by_corruption: as in `mean_corruption_errors`, at least one of the 15.
        clean_top1: percent on the clean images, or None: relative mCE is not given then.
        classes: of the classifier that were tested.
        same_images: whether every corruption and severity was tested on as many images.
    """
    names = sorted(set(by_corruption) & set(ALL_15))
    row = {"mean_top1": None, "of_the_15": names, "mce": None, "relative_mce": None}
    if len(names) < len(ALL_15):
        lacking = ", ".join(name for name in ALL_15 if name not in names)
        row |= {
            "partial_mean_top1": mean_accuracy(by_corruption),
            "mce_note": f"mCE is a mean over 15 corruptions; {len(names)} are here.",
        }
        note = (
            f"A mean over {len(names)} of the 15 corruptions, not to be compared with one "
            f"over all or over others; it lacks {lacking}."
        )
        return {**row, "mean_note": note}
    row["mean_top1"] = mean_accuracy(by_corruption)
    if classes != IMAGENET_CLASSES:
        return {
            **row,
            "mce_note": f"mCE compares with AlexNet on 1000 classes; this test has {classes}: see "
            "the mean accuracy.",
        }
    if not same_images:
        return {
            **row,
            "mce_note": "mCE compares with AlexNet on all images; here some corruptions or "
            "severities have fewer.",
        }
    mce, relative = mean_corruption_errors(by_corruption, 0.0 if clean_top1 is None else clean_top1)
    if clean_top1 is None:
        return {
            **row,
            "mce": mce,
            "mce_note": "Relative mCE needs the clean images: name them before this set as "
            "val=PATH.",
        }
    return {**row, "mce": mce, "relative_mce": relative}


def with_interval(row, shares):
    """A row with the 95% interval of its mean accuracy over the choice of images.

    It is that of a share (`share_interval`) of so many images as have its variance: the versions of
    an image are not independent, and not one answer either. Shares that are all 0, or all 1, have
    no variance to go by, and count as one answer an image.

    Args:
        shares: (N,) of each image, in how many of its versions that count it is right, 0 to 1.
    """
    name = "mean_top1" if row["mean_top1"] is not None else "partial_mean_top1"
    if len(shares) < 2:
        return row
    share, variance = row[name] / 100, shares.double().var().item()
    count = len(shares) * max(1.0, share * (1 - share) / variance if variance else 1.0)
    return {**row, f"{name}_interval": list(share_interval(share, count))}


def evaluate_corruptions(
    name,
    reader,
    loaded,
    head,
    clean_top1,
    *,
    arg_max="all",
    device="cpu",
    threads=0,
    corruptions=ALL_15,
    view=None,
):
    """The line of evaluation.jsonl for one test set under corruptions at five severities.

    Each image is decoded once.

    Args:
        name: of the set.
        reader: its open `BetonReader`.
        loaded: `LoadedRun` on `device`.
        head: LinearClassifier.
        clean_top1: percent, of the same images without corruption.
        arg_max: "all" or "present", as of `accuracy`.
        corruptions: names; the mean is over those of the 15 among them.
        view: `View`, as the clean images were shown; None: the run's.
    Raises:
        ConfigError: no labels, or classes that cannot be joined to the classifier's.
    """
    labels, _ = join_labels(reader, head.classes, head.out_features)
    view = view or run_view(loaded.config)
    loader = central_crops(reader, loaded.config, resize=view.side, device=device, threads=threads)
    with contextlib.closing(loader):
        columns = columns_of(labels, arg_max)
        batches = shown(loader, f"{name}, corrupted")
        hits, of_the_15 = _hits(batches, loaded, head.to(device), labels, columns, corruptions)
        skipped = sorted(loader.quarantine)
    known = labels != ABSENT
    known[skipped] = False
    images = known.sum().item()
    by_corruption = {
        kind: [100.0 * hits[kind, severity] / images for severity in SEVERITIES]
        for kind in corruptions
    }
    means = summary(by_corruption, clean_top1, len(labels[known].unique()))
    cells = len(SEVERITIES) * len(set(corruptions) & set(ALL_15))
    return {
        "kind": "corruptions",
        "set": name,
        **_measured(reader, loaded, head),
        "by_corruption": by_corruption,
        "images": images,
        "skipped": len(skipped),
        "arg_max": arg_max,
        **view.fields(),
        **_origin(loaded.config.image_size),
        **with_interval(means, of_the_15[known] / cells),
    }


def _measured(reader, loaded, head):
    """What was measured on what: fields of a line."""
    return {
        "path": str(reader.path),
        "data": content_key(reader),
        "checkpoint": loaded.checkpoint,
        "classifier": classifier_key(head.weight, head.bias),
        "classifier_classes": head.out_features,
    }


def _origin(size):
    """How images of `size` pixels were corrupted: fields of a line."""
    constants = constants_for(size, size)
    source = f"computed on the fly on {size} px images with the constants of {constants}, "
    return {"constants": constants, "source": source + "cut to 8 bits, frost procedural"}


@torch.no_grad()
def _hits(batches, loaded, head, labels, columns, corruptions):
    """How often images of known classes are answered rightly.

    Args:
        batches: `EvalBatch`es of clean images.
        labels: (N,) int64 in the classifier's numbering, or ABSENT.
        columns: as of `rank_among`.
    Returns:
        ({(corruption, severity): images}, (N,) float32: of each image under how many of the 15
        corruptions and their severities).
    """
    device, normalisation = head.weight.device, loaded.config.normalisation()
    autocast, known = uses_autocast(loaded.config, device), labels != ABSENT
    columns = None if columns is None else columns.to(device)
    cells = [(kind, severity) for kind in corruptions for severity in SEVERITIES]
    # Counted on the device, which nothing asks until the end.
    hits = torch.zeros(len(cells), dtype=torch.int64, device=device)
    of_the_15 = torch.zeros(len(labels), device=device)
    for batch in batches:
        kept = known[batch.index]
        if not kept.any():
            continue
        index, true = batch.index[kept], to_device(labels[batch.index][kept], device)
        places, rows = to_device(index, device), to_device(kept.nonzero()[:, 0], device)
        pixels = pixels_of(to_device(batch.images, device)[rows], normalisation)
        for cell, (kind, severity) in enumerate(cells):
            changed = corrupt(pixels, kind, severity, index, trusted=True)
            logits = head(embed(loaded.backbone, normalised(changed, normalisation), autocast))
            right = rank_among(logits, true, columns) < 1
            hits[cell] += right.sum()
            if kind in ALL_15:
                of_the_15.index_add_(0, places, right.float())
    return dict(zip(cells, hits.tolist(), strict=True)), of_the_15.cpu()
