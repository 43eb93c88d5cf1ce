"""Published files of corrupted images: each corruption and severity is a small set.

They have their size already, so they are shown whole, without the resize of other sets.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import NamedTuple

from fastneg.config import ConfigError, UnfitError
from fastneg.counts import counted
from fastneg.data.beton.overlap import FIELD, told_shared
from fastneg.data.beton.shards import open_data
from fastneg.data.encode.class_folders import holds_image, list_top
from fastneg.data.errors import BetonError
from fastneg.data.known_classes import numbered_names
from fastneg.data.labels import ABSENT, join_labels
from fastneg.evaluation.accuracy import Accuracy, accuracy
from fastneg.evaluation.corruptions import ALL_15, CORRUPTIONS, SEVERITIES
from fastneg.evaluation.sets.corruption_lines import (
    PARTS,
    TREE,
    WHOLE_ONES,
    published_lines,
    told,
    tree_line,
)
from fastneg.evaluation.sets.encoded import encoded
from fastneg.evaluation.sets.registry import Figure, SetKind
from fastneg.evaluation.shared import TrainedOn
from fastneg.evaluation.view import WHOLE, chosen_view, whole_view
from fastneg.runs.embed import central_crops, extract_features, uses_autocast
from fastneg.runs.results import refuse_other


class Cells(NamedTuple):
    """Where the images of each corruption and severity lie."""

    published: dict
    """{(corruption, severity 1 to 5): place} of ImageNet-C's corruptions."""
    others: dict
    """{(corruption, severity as a str): place} of all that is there beside them."""
    missing: list
    """What is missing of ImageNet-C's, in words."""


class CellResult(NamedTuple):
    """Of one corruption and severity."""

    accuracy: Accuracy
    skipped: int
    """Images that cannot be used."""
    images: int
    """All of its images."""
    shared: int | None
    """Images among them that the classifier was trained on; None where that is not known."""


class CorruptedKind(SetKind):
    """A layout of corrupted images: a derived class says where they lie."""

    metrics = ("corruptions",)
    clean = False
    kinds_of_lines = (WHOLE_ONES, PARTS, TREE)
    figures = (
        Figure("Mean over corruptions", WHOLE_ONES, "mean_top1"),
        Figure("Mean over some of the corruptions", WHOLE_ONES, "partial_mean_top1"),
        Figure("Mean over other corruptions", TREE, "tree_mean_top1"),
        Figure("mCE (lower is better)", WHOLE_ONES, "mce", False),
        Figure("Relative mCE (lower is better)", WHOLE_ONES, "relative_mce", False),
    )
    place_of = "{path}/{name}/{severity}/<class>/ or {path}/{name}/{severity}.beton"
    """Where a corruption and severity is expected, in words."""

    def root(self, path):
        """The folder at or below a path that holds the corruptions; None where there is none."""
        raise NotImplementedError

    def published(self, root):
        """{(corruption, severity 1 to 5): place} of ImageNet-C's corruptions."""
        return {}

    def places(self, root):
        """{(corruption, severity): place} of all that is there."""
        raise NotImplementedError

    def beton_of(self, place, folder, context):
        """The .beton file of a place.

        Args:
            place: a file, or a folder of classes, of which those that the classifier knows count.
            folder: for files that are made for the moment.
            context: `fastneg.evaluation.context.Context`.
        Raises:
            ConfigError, BetonError: it holds something else.
        """
        if not place.is_dir():
            return place
        subset = _known_classes(place, context.head, folder)
        made, threads = folder / "cell.beton", context.config.threads
        return encoded(place, context.run, threads, lambda text: None, made, subset)

    def source(self, root, view, config):
        """What a line says of its images: whose files, and how they were shown."""
        return f"files of {Path(root).name}, {shown(view)} {config.image_size} px"

    def holds(self, path):
        return self.root(path) is not None

    def view(self, reader, config):
        return whole_view(config)

    def told(self, row):
        return told(row)

    def find(self, root):
        """The `Cells` of a folder."""
        published = self.published(root)
        others = {
            (name, str(severity)): place
            for (name, severity), place in self.places(root).items()
            if place not in published.values()
        }
        missing = missing_of(published, root, self.place_of) if published or not others else []
        return Cells(published, others, missing)

    def evaluate(self, name, asked, context):
        """(lines of evaluation.jsonl, what was missing or failed in words).

        Class folders are encoded for a moment, each corruption and severity after the other, with
        the classes that the classifier knows. What cannot be evaluated counts in no mean.

        Raises:
            ConfigError: there is nothing that can be evaluated.
        """
        if not Path(asked.path).is_dir():
            raise UnfitError(
                f"{asked.path} is no folder: ImageNet-C's "
                f"{asked.path}/<corruption>/<1-5>/<class>/ or …/<1-5>.beton was expected."
            )
        refuse_other(context.run, name, "resize", str(asked.resize or WHOLE), "with resize")
        root, config = self.root(asked.path) or asked.path, context.loaded.config
        cells, view = self.find(root), chosen_view(asked.resize, whole_view(config), config)
        trained_on = TrainedOn(context.head)
        results, problems = self._accuracies(cells, view, trained_on, context)
        problems = cells.missing + problems
        if not results:
            raise UnfitError(
                f"{asked.path} holds no images of a corruption that can be evaluated. "
                + " ".join(problems)
            )
        common = {
            "set": name,
            "path": str(asked.path),
            "checkpoint": context.loaded.checkpoint,
            "classifier": context.classifier,
            "classifier_classes": context.head.out_features,
            "arg_max": context.config.arg_max,
            **view.fields(),
            "skipped": max(found.skipped for found in results.values()),
            FIELD: _shared_images(name, asked.path, results.values(), trained_on, context),
            "source": self.source(root, view, config),
        }
        own = {cell: found.accuracy for cell, found in results.items() if cell in cells.published}
        rest = {cell: found.accuracy for cell, found in results.items() if cell in cells.others}
        lines, unequal = published_lines(own, common, context) if own else ([], [])
        if rest:
            line, more = tree_line(rest, cells.others, common, context)
            lines, unequal = [*lines, line], unequal + more
        return lines, problems + unequal

    def _accuracies(self, cells, view, trained_on, context):
        """({(corruption, severity): `CellResult`}, what failed in words)."""
        results, problems = {}, []
        for (corruption, severity), place in [*cells.published.items(), *cells.others.items()]:
            try:
                with tempfile.TemporaryDirectory(dir=context.run, prefix=".corrupted-") as folder:
                    file = self.beton_of(place, Path(folder), context)
                    what = f"{corruption}/{severity}"
                    found = _evaluate_cell(file, what, view, trained_on, context)
                results[corruption, severity] = found
            except (BetonError, ConfigError, OSError) as error:
                problems.append(
                    f"{corruption} counts in no mean: severity {severity} cannot be evaluated: "
                    f"{error}"
                )
        left = {
            f"{name}/{level}": found.skipped
            for (name, level), found in results.items()
            if found.skipped
        }
        if left:
            worst = max(left, key=left.get)
            problems.append(
                f"{counted(len(left), 'folder')} hold images that cannot be used and were left "
                f"out, the most {worst}: {left[worst]}."
            )
        return results, problems


def shown(view):
    """How corrupted images were shown, in words that a size in pixels follows."""
    if view.resize == WHOLE:
        return "whole at"
    return f"shorter side {view.side} px, central crop of"


def missing_of(cells, path, place_of):
    """What is missing of ImageNet-C's corruptions, in words.

    Args:
        cells: {(corruption, severity)} of what is there.
        path: of the set.
        place_of: as of `CorruptedKind`.
    """
    found = {
        name: [severity for severity in SEVERITIES if (name, severity) in cells]
        for name in CORRUPTIONS
    }
    missing, absent = [], [name for name in ALL_15 if not found[name]]
    if absent:
        place = place_of.format(path=path, name=absent[0], severity="<1-5>")
        missing.append(
            f"{len(absent)} of the 15 corruptions are not there: {', '.join(absent)}; {place} was "
            "expected."
        )
    for name, severities in found.items():
        lacking = [str(severity) for severity in SEVERITIES if severity not in severities]
        if severities and lacking:
            place = place_of.format(path=path, name=name, severity=lacking[0])
            missing.append(
                f"{name} counts in no mean: it lacks severity {', '.join(lacking)}; {place} was "
                "expected."
            )
    return missing


def _evaluate_cell(file, what, view, trained_on, context):
    """The `CellResult` of a .beton file.

    what: words of the progress bar.
    """
    head, loaded = context.head, context.loaded
    with open_data(file) as reader:
        labels, _ = join_labels(reader, head.classes, head.out_features)
        images, shared = len(reader), trained_on.count(reader)
        crops = central_crops(reader, loaded.config, resize=view.side, **context.computing())
        with contextlib.closing(crops) as loader:
            autocast = uses_autocast(loaded.config, context.device)
            found = extract_features(loaded.backbone, loader, context.device, autocast, what)
    assert (labels != ABSENT).any()
    logits = head.logits(found.features, context.device)
    result = accuracy(logits, labels[found.index], context.config.arg_max)
    return CellResult(result, len(found.skipped), images, shared)


def _shared_images(name, path, results, trained_on, context):
    """How many images of all corruptions the classifier was trained on, which is said; None where
    that is not known."""
    counts = [found.shared for found in results]
    if None in counts:
        why = trained_on.unknown or "some of its files hold no checksums."
        words = f"whether the classifier was trained on images of it is not known: {why}"
        context.report(f"{name}: {words}")
        return None
    images = sum(found.images for found in results)
    if words := told_shared(sum(counts), images, trained_on.train, path):
        context.report(f"{name}: {words}")
    return sum(counts)


def _known_classes(place, head, folder):
    """A file that lists the classes of a folder that the classifier knows.

    None where the classifier has no names.
    """
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
        raise UnfitError(f"{place} holds no folder of a class that the classifier knows.")
    file = Path(folder) / "classes.txt"
    file.write_text("\n".join(known), encoding="utf-8")
    return str(file)
