"""The published files of ImageNet-C: PATH/<corruption>/<1-5>/<class>/*.JPEG, or PATH/<corruption>/<1-5>.beton.

They are 224 px already: the central crop alone is taken, without the resize of other sets.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from fastneg.config import ConfigError
from fastneg.data.errors import BetonError
from fastneg.data.labels import ABSENT, join_labels
from fastneg.data.shards import open_data
from fastneg.evaluation.corruptions import ALL_15, CORRUPTIONS, FAMILIES, SEVERITIES
from fastneg.evaluation.features import central_crops, extract_features, uses_autocast
from fastneg.evaluation.metrics import accuracy
from fastneg.evaluation.robustness import summary
from fastneg.evaluation.set_files import encoded

PARTS = "corruption_parts"
"""The kind of a line that holds corruptions with some of the severities: they count in no mean."""


def is_imagenet_c(path):
    """Whether a path is a folder that holds a severity of some corruption."""
    return Path(path).is_dir() and any(_cell(path, name, severity) for name in CORRUPTIONS for severity in SEVERITIES)


def _cell(path, name, severity):
    """The folder or file of a corruption and severity; None if it is not there.

    The archives of ImageNet-C are named for families (noise, blur, weather, digital, extra), which some copies keep as folders.
    """
    for root in (Path(path), *(Path(path) / family for family in FAMILIES)):
        beton, classes = root / name / f"{severity}.beton", root / name / str(severity)
        if beton.exists() or classes.is_dir():
            return beton if beton.exists() else classes
    return None


def find_cells(path):
    """What a folder holds: ({(corruption, severity): Path}, what is missing of it in words)."""
    cells = {(name, severity): place for name in CORRUPTIONS for severity in SEVERITIES if (place := _cell(path, name, severity))}
    found = {name: [severity for severity in SEVERITIES if (name, severity) in cells] for name in CORRUPTIONS}
    missing, absent = [], [name for name in ALL_15 if not found[name]]
    if absent:
        places = f"{path}/{absent[0]}/<1-5>/<class>/ or {path}/{absent[0]}/<1-5>.beton"
        missing.append(f"{len(absent)} of the 15 corruptions are not there: {', '.join(absent)}; {places} was expected.")
    for name, severities in found.items():
        lacking = [str(severity) for severity in SEVERITIES if severity not in severities]
        if severities and lacking:
            places = f"{path}/{name}/{lacking[0]}/<class>/ or {path}/{name}/{lacking[0]}.beton"
            missing.append(f"{name} counts in no mean: it lacks severity {', '.join(lacking)}; {places} was expected.")
    return cells, missing


def evaluate_imagenet_c(run, name, path, loaded, head, clean_top1, *, arg_max="all", device="cpu", threads=0, report=print):
    """(lines of evaluation.jsonl, what was missing or failed in words).

    The line of kind corruptions holds the whole corruptions, with all five severities, and their means. Those with some severities stand in
    a line of kind corruption_parts and count in no mean. Class folders are encoded for a moment, each corruption and severity after the
    other, with the classes that the classifier knows.

    Args:
        clean_top1: percent on the clean images, for relative mCE; None: it is not given.
    Raises:
        ConfigError: there is nothing that can be evaluated.
    """
    cells, missing = find_cells(path)
    results, skipped = {}, {}
    for (kind, severity), place in cells.items():
        try:
            results[kind, severity], skipped[kind, severity] = _accuracy(place, run, loaded, head, arg_max, device, threads)
        except (BetonError, ConfigError, OSError) as error:
            missing.append(f"{kind} counts in no mean: severity {severity} cannot be evaluated: {error}")
    if not results:
        raise ConfigError(f"{path} holds no images of a corruption that can be evaluated. " + " ".join(missing))
    top1 = {kind: {s: results[kind, s].top1 for s in SEVERITIES if (kind, s) in results} for kind in CORRUPTIONS}
    whole = {kind: list(found.values()) for kind, found in top1.items() if len(found) == len(SEVERITIES)}
    if not set(whole) & set(ALL_15):
        whole = {}  # there is no mean to give: what is there stands by itself
    parts = {kind: {str(s): percent for s, percent in found.items()} for kind, found in top1.items() if found and kind not in whole}
    counts = _counts(results)
    if "images_by_corruption" in counts:
        missing.append(f"The corruptions and severities do not hold the same images: there are {counts['images']} and more in each.")
    if left := {f"{kind}/{severity}": count for (kind, severity), count in skipped.items() if count}:
        worst = max(left, key=left.get)
        missing.append(f"{len(left)} folders hold images that cannot be used and were left out, the most {worst}: {left[worst]}.")
    told = f"{len(whole)} whole corruptions and {len(parts)} with some severities"
    report(f"{name}: {counts['images']} images in {counts['classes']} classes for each of {told}.")
    source = f"files of ImageNet-C, central crop of {loaded.config.image_size} px"
    common = {"set": name, "path": str(path), "checkpoint": loaded.checkpoint, **counts, "skipped": max(skipped.values())}
    common |= {"arg_max": arg_max, "source": source}
    rows = []
    if whole:
        means = summary(whole, clean_top1, counts["classes"], "images_by_corruption" not in counts)
        rows.append({"kind": "corruptions", **common, "by_corruption": whole, **means})
    return rows + ([{"kind": PARTS, **common, "by_corruption": parts}] if parts else []), missing


def _counts(results):
    """The images and classes of each corruption and severity; where they differ the fewest, and images_by_corruption."""
    sizes = {(result.images, result.classes) for result in results.values()}
    fewest = {"images": min(images for images, _ in sizes), "classes": min(classes for _, classes in sizes)}
    if len(sizes) == 1:
        return fewest
    by_corruption = {}
    for (kind, severity), result in results.items():
        by_corruption.setdefault(kind, {})[str(severity)] = result.images
    return {**fewest, "images_by_corruption": by_corruption}


def _accuracy(place, run, loaded, head, arg_max, device, threads):
    config = loaded.config
    with tempfile.TemporaryDirectory(dir=run, prefix=".imagenet-c-") as folder:
        if place.is_dir():
            place = encoded(place, run, threads, lambda text: None, Path(folder) / "cell.beton", _known_classes(place, head, folder))
        with open_data(place) as reader:
            labels, _ = join_labels(reader, head.classes, head.out_features)
            crops = central_crops(reader, config, resize=config.image_size, device=device, threads=threads)
            with contextlib.closing(crops) as loader:
                what = "/".join(Path(place).parts[-2:])
                found = extract_features(loaded.backbone, loader, device, uses_autocast(config, device), what)
    assert (labels != ABSENT).any()
    return accuracy(head.logits(found.features, device), labels[found.index], arg_max), len(found.skipped)


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
