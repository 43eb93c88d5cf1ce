"""Published files of corrupted images: ImageNet-C's PATH/<corruption>/<1-5>/<class>/*.JPEG or
PATH/<corruption>/<1-5>.beton, trees of other corruptions and severities (ImageNet-3DCC,
ImageNet-C-bar), and the arrays of CIFAR-10-C.

They have their size already: the central crop alone is taken, without the resize of other sets.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from fastneg.config import ConfigError
from fastneg.counts import counted
from fastneg.data.beton.shards import open_data
from fastneg.data.encode.class_folders import holds_image, list_top
from fastneg.data.errors import BetonError
from fastneg.data.known_classes import numbered_names
from fastneg.data.labels import ABSENT, join_labels
from fastneg.evaluation.corruptions import ALL_15, CORRUPTIONS, FAMILIES, SEVERITIES
from fastneg.evaluation.corruptions.robustness import summary
from fastneg.evaluation.features import central_crops, extract_features, uses_autocast
from fastneg.evaluation.metrics import accuracy
from fastneg.evaluation.sets.corrupted_files import Arrays, corrupted_root, find_arrays, find_tree
from fastneg.evaluation.sets.files import encoded
from fastneg.evaluation.sets.view import WHOLE, view_of

TREE = "corruption_tree"
"""The kind of a line that holds corruptions that are not ImageNet-C's."""
PARTS = "corruption_parts"
"""The kind of a line that holds corruptions with some of the severities: they count in no mean."""


def is_imagenet_c(path):
    """Whether a path is a folder that holds a severity of some corruption."""
    return Path(path).is_dir() and any(
        _cell(path, name, severity) for name in CORRUPTIONS for severity in SEVERITIES
    )


def _cell(path, name, severity):
    """The folder or file of a corruption and severity; None if it is not there.

    The archives of ImageNet-C are named for families (noise, blur, weather, digital, extra), which
    some copies keep as folders.
    """
    for root in (Path(path), *(Path(path) / family for family in FAMILIES)):
        beton, classes = root / name / f"{severity}.beton", root / name / str(severity)
        if beton.exists() or classes.is_dir():
            return beton if beton.exists() else classes
    return None


def is_corrupted(path):
    """Whether a path is a folder of corrupted images: ImageNet-C's, a tree of other corruptions, or
    CIFAR-10-C's arrays."""
    return is_imagenet_c(path) or corrupted_root(path) is not None


def find_cells(path):
    """What a folder holds of ImageNet-C's corruptions: ({(corruption, severity): Path or Arrays},
    what is missing of it in words)."""
    arrays = find_arrays(path)
    if arrays:
        cells = {cell: place for cell, place in arrays.items() if cell[0] in CORRUPTIONS}
        form = "{path}/{name}.npy"
    else:
        cells = {
            (name, severity): place
            for name in CORRUPTIONS
            for severity in SEVERITIES
            if (place := _cell(path, name, severity))
        }
        form = "{path}/{name}/{severity}/<class>/ or {path}/{name}/{severity}.beton"
    found = {
        name: [severity for severity in SEVERITIES if (name, severity) in cells]
        for name in CORRUPTIONS
    }
    missing, absent = [], [name for name in ALL_15 if not found[name]]
    if absent:
        places = form.format(path=path, name=absent[0], severity="<1-5>")
        missing.append(
            f"{len(absent)} of the 15 corruptions are not there: {', '.join(absent)}; {places} "
            "was expected."
        )
    for name, severities in found.items():
        lacking = [str(severity) for severity in SEVERITIES if severity not in severities]
        if severities and lacking:
            places = form.format(path=path, name=name, severity=lacking[0])
            missing.append(
                f"{name} counts in no mean: it lacks severity {', '.join(lacking)}; {places} was "
                "expected."
            )
    return cells, missing


def find_others(path, cells):
    """{(corruption, severity): Path or Arrays} of what a folder holds beside the cells of
    ImageNet-C."""
    found = find_arrays(path) or find_tree(path)
    return {
        (name, str(severity)): place
        for (name, severity), place in found.items()
        if place not in cells.values()
    }


def evaluate_imagenet_c(
    run,
    name,
    path,
    loaded,
    head,
    clean_top1,
    *,
    arg_max="all",
    device="cpu",
    threads=0,
    report=print,
    resize=None,
):
    """(lines of evaluation.jsonl, what was missing or failed in words).

    The line of kind corruptions holds the whole corruptions, with all five severities, and their
    means. Those with some severities stand in a line of kind corruption_parts and count in no mean.
    Corruptions that are not ImageNet-C's stand in a line of kind corruption_tree with the mean over
    what is there. Class folders are encoded for a moment, each corruption and severity after the
    other, with the classes that the classifier knows.

    Args:
        clean_top1: percent on the clean images, for relative mCE; None: it is not given.
        resize: as of `TestSet`; None: the whole image.
    Raises:
        ConfigError: there is nothing that can be evaluated.
    """
    root = path if is_imagenet_c(path) else corrupted_root(path) or path
    cells, missing = find_cells(root)
    others = find_others(root, cells)
    missing = missing if cells or not others else []
    view = view_of(resize, True, loaded.config)
    results, skipped = {}, {}
    for (kind, severity), place in [*cells.items(), *others.items()]:
        try:
            results[kind, severity], skipped[kind, severity] = _accuracy(
                place, run, loaded, head, arg_max, device, threads, view
            )
        except (BetonError, ConfigError, OSError) as error:
            missing.append(
                f"{kind} counts in no mean: severity {severity} cannot be evaluated: {error}"
            )
    if not results:
        raise ConfigError(
            f"{path} holds no images of a corruption that can be evaluated. " + " ".join(missing)
        )
    left = {f"{kind}/{level}": count for (kind, level), count in skipped.items() if count}
    if left:
        worst = max(left, key=left.get)
        missing.append(
            f"{counted(len(left), 'folder')} hold images that cannot be used and were left out, "
            f"the most {worst}: {left[worst]}."
        )
    common = {"set": name, "path": str(path), "checkpoint": loaded.checkpoint, "arg_max": arg_max}
    common |= {**view.fields(), "skipped": max(skipped.values())}
    common["source"] = _source(root, view, loaded.config)
    own = {cell: result for cell, result in results.items() if cell in cells}
    rows = _published_rows(name, own, common, clean_top1, missing, report) if own else []
    rest = {cell: result for cell, result in results.items() if cell in others}
    if rest:
        rows.append(_tree_row(name, rest, others, common, missing, report))
    return rows, missing


def _source(root, view, config):
    """What a line says of its images: whose files, and how they were shown."""
    how = "whole at" if view.resize == WHOLE else f"shorter side {view.side} px, central crop of"
    if is_imagenet_c(root):
        how = "central crop of" if view.resize == WHOLE else how
        return f"files of ImageNet-C, {how} {config.image_size} px"
    return f"files of {Path(root).name}, {how} {config.image_size} px"


def _published_rows(name, results, common, clean_top1, missing, report):
    """The lines of ImageNet-C's corruptions: those that are whole, and those that lack
    severities."""
    top1 = {
        kind: {s: results[kind, s].top1 for s in SEVERITIES if (kind, s) in results}
        for kind in CORRUPTIONS
    }
    whole = {
        kind: list(found.values()) for kind, found in top1.items() if len(found) == len(SEVERITIES)
    }
    if not set(whole) & set(ALL_15):
        whole = {}  # there is no mean to give: what is there stands by itself
    parts = {
        kind: {str(s): percent for s, percent in found.items()}
        for kind, found in top1.items()
        if found and kind not in whole
    }
    counts = _counts(results)
    if "images_by_corruption" in counts:
        missing.append(
            "The corruptions and severities do not hold the same images: there are "
            f"{counts['images']} and more in each."
        )
    told = f"{len(whole)} whole corruptions and {len(parts)} with some severities"
    report(
        f"{name}: {counted(counts['images'], 'image')} in {counted(counts['classes'], 'class')} "
        f"for each of {told}."
    )
    rows, common = [], {**common, **counts}
    if whole:
        means = summary(whole, clean_top1, counts["classes"], "images_by_corruption" not in counts)
        rows.append({"kind": "corruptions", **common, "by_corruption": whole, **means})
    return rows + ([{"kind": PARTS, **common, "by_corruption": parts}] if parts else [])


def _tree_row(name, results, others, common, missing, report):
    """The line of corruptions that are not ImageNet-C's. A corruption of which a severity could not
    be read counts in no mean."""
    found, counts = {}, _counts(results)
    for (kind, severity), result in results.items():
        found.setdefault(kind, {})[severity] = result.top1
    if "images_by_corruption" in counts:
        missing.append(
            "The corruptions and severities do not hold the same images: there are "
            f"{counts['images']} and more in each."
        )
    lacking = {kind for kind, _ in set(others) - set(results)}
    each = [sum(own.values()) / len(own) for kind, own in found.items() if kind not in lacking]
    mean = sum(each) / len(each) if each else None
    note = (
        f"A mean over the {len(each)} corruptions that are there and their severities: no mCE, and "
        "not to be compared with one over others."
    )
    report(
        f"{name}: {counted(counts['images'], 'image')} in {counted(counts['classes'], 'class')} "
        f"for each of {len(found)} corruptions that are not ImageNet-C's."
    )
    means = {"tree_mean_top1": mean, "corruptions": sorted(set(found) - lacking), "mean_note": note}
    return {"kind": TREE, **common, **counts, "by_corruption": found, **means}


def _counts(results):
    """The images and classes of each corruption and severity; where they differ the fewest, and
    images_by_corruption."""
    sizes = {(result.images, result.classes) for result in results.values()}
    fewest = {
        "images": min(images for images, _ in sizes),
        "classes": min(classes for _, classes in sizes),
    }
    if len(sizes) == 1:
        return fewest
    by_corruption = {}
    for (kind, severity), result in results.items():
        by_corruption.setdefault(kind, {})[str(severity)] = result.images
    return {**fewest, "images_by_corruption": by_corruption}


def _accuracy(place, run, loaded, head, arg_max, device, threads, view):
    config = loaded.config
    with tempfile.TemporaryDirectory(dir=run, prefix=".imagenet-c-") as folder:
        cell = Path(folder) / "cell.beton"
        what = "/".join((place.images if isinstance(place, Arrays) else place).parts[-2:])
        if isinstance(place, Arrays):
            place = place.write(cell, head.classes)
        elif place.is_dir():
            place = encoded(
                place, run, threads, lambda text: None, cell, _known_classes(place, head, folder)
            )
        with open_data(place) as reader:
            labels, _ = join_labels(reader, head.classes, head.out_features)
            crops = central_crops(reader, config, resize=view.side, device=device, threads=threads)
            with contextlib.closing(crops) as loader:
                found = extract_features(
                    loaded.backbone, loader, device, uses_autocast(config, device), what
                )
    assert (labels != ABSENT).any()
    return accuracy(head.logits(found.features, device), labels[found.index], arg_max), len(
        found.skipped
    )


def _known_classes(place, head, folder):
    """A file that lists the classes of a folder that the classifier knows, or None where it has no
    names."""
    if head.classes is None:
        return None
    folders = list_top(place).folders
    _, names = numbered_names(folders, head.classes) or (None, folders)
    known = [
        folder
        for folder, name in zip(folders, names, strict=True)
        if name in set(head.classes) and holds_image(place / folder)
    ]
    if not known:
        raise ConfigError(f"{place} holds no folder of a class that the classifier knows.")
    file = Path(folder) / "classes.txt"
    file.write_text("\n".join(known), encoding="utf-8")
    return str(file)
