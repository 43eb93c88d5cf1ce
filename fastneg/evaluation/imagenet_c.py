"""The published files of ImageNet-C: PATH/<corruption>/<1-5>/<class>/*.JPEG, or PATH/<corruption>/<1-5>.beton.

They are 224 px already: the central crop alone is taken, without the resize of other sets.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from fastneg.config import ConfigError
from fastneg.data.errors import BetonError
from fastneg.data.labels import ABSENT, join_labels
from fastneg.data.loaders import EvalLoader
from fastneg.data.shards import open_data
from fastneg.evaluation.corruptions import ALL_15, CORRUPTIONS, SEVERITIES
from fastneg.evaluation.features import BATCH, extract_features, uses_autocast
from fastneg.evaluation.metrics import accuracy
from fastneg.evaluation.robustness import summary
from fastneg.evaluation.set_files import encoded


def is_imagenet_c(path):
    """Whether a path is a folder with a sub-folder that is named as a corruption."""
    return Path(path).is_dir() and any((Path(path) / name).is_dir() for name in CORRUPTIONS)


def find_cells(path):
    """What a folder holds: ({(corruption, severity): Path}, what is missing in words).

    A corruption counts when all five severities are there.
    """
    cells, missing = {}, []
    absent = [name for name in ALL_15 if not (Path(path) / name).is_dir()]
    if absent:
        missing.append(f"{len(absent)} of the 15 corruptions have no folder in {path}: {', '.join(absent)}.")
    for name in CORRUPTIONS:
        folder = Path(path) / name
        if not folder.is_dir():
            continue
        found = {}
        for severity in SEVERITIES:
            beton, classes = folder / f"{severity}.beton", folder / str(severity)
            if beton.exists() or classes.is_dir():
                found[name, severity] = beton if beton.exists() else classes
        lacking = [str(severity) for severity in SEVERITIES if (name, severity) not in found]
        if lacking:
            places = f"{folder}/{lacking[0]}/<class>/ or {folder}/{lacking[0]}.beton"
            missing.append(f"{name} is left out: it lacks severity {', '.join(lacking)}; {places} was expected.")
        else:
            cells |= found
    return cells, missing


def evaluate_imagenet_c(run, name, path, loaded, head, clean_top1, *, arg_max="all", device="cpu", threads=0, report=print):
    """(the line of evaluation.jsonl of kind corruptions, what was missing or failed in words).

    Class folders are encoded for a moment, each corruption and severity after the other, with the classes that the classifier knows.

    Args:
        clean_top1: percent on the clean images, for relative mCE; None: it is not given.
    Raises:
        ConfigError: not one corruption is whole.
    """
    cells, missing = find_cells(path)
    results = {}
    for (kind, severity), place in cells.items():
        if any(result is None for (other, _), result in results.items() if other == kind):
            continue  # a severity before it failed
        try:
            results[kind, severity] = _accuracy(place, run, loaded, head, arg_max, device, threads)
        except (BetonError, ConfigError, OSError) as error:
            results[kind, severity] = None
            missing.append(f"{kind} is left out: severity {severity} cannot be evaluated: {error}")
    whole = [kind for kind in CORRUPTIONS if all(results.get((kind, severity)) is not None for severity in SEVERITIES)]
    if not set(whole) & set(ALL_15):
        raise ConfigError(f"{path} holds no whole corruption of ImageNet-C's 15. " + " ".join(missing))
    counts = {(result.images, result.classes) for result in results.values() if result is not None}
    if len(counts) > 1:
        found = ", ".join(f"{images} in {classes}" for images, classes in sorted(counts))
        missing.append(f"The folders hold different numbers of images or classes: {found}.")
    images, classes = min(counts)
    report(f"{name}: {images} images in {classes} classes for each of {len(whole)} corruptions and 5 severities.")
    by_corruption = {kind: [results[kind, severity].top1 for severity in SEVERITIES] for kind in whole}
    row = {
        "kind": "corruptions",
        "set": name,
        "path": str(path),
        "checkpoint": loaded.checkpoint,
        "by_corruption": by_corruption,
        "images": images,
        "arg_max": arg_max,
        "source": f"files of ImageNet-C, central crop of {loaded.config.image_size} px",
        **summary(by_corruption, clean_top1, classes),
    }
    return row, missing


def _accuracy(place, run, loaded, head, arg_max, device, threads):
    config = loaded.config
    with tempfile.TemporaryDirectory(dir=run, prefix=".imagenet-c-") as folder:
        if place.is_dir():
            place = encoded(place, run, threads, lambda text: None, Path(folder) / "cell.beton", _known_classes(place, head, folder))
        with open_data(place) as reader:
            labels, _ = join_labels(reader, head.classes, head.out_features)
            loader = EvalLoader(reader, BATCH, config.image_size, resize=config.image_size, device=device, threads=threads)
            try:
                what = "/".join(Path(place).parts[-2:])
                found = extract_features(loaded.backbone, loader, device, uses_autocast(config, device), what)
            finally:
                loader.close()
    assert (labels != ABSENT).any()
    return accuracy(head.logits(found.features, device), labels, arg_max)


def _known_classes(place, head, folder):
    """A file that lists the classes of a folder that the classifier knows, or None where it has no names."""
    if head.classes is None:
        return None
    known = sorted({entry.name for entry in place.iterdir() if entry.is_dir()} & set(head.classes))
    if not known:
        raise ConfigError(f"{place} holds no folder of a class that the classifier knows.")
    file = Path(folder) / "classes.txt"
    file.write_text("\n".join(known), encoding="utf-8")
    return str(file)
