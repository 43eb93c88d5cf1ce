"""The lines of RUN/evaluation.jsonl: writing, reading, replacing, checking."""

from __future__ import annotations

import math
from pathlib import Path

from fastneg.config import ConfigError
from fastneg.files import append_json, json_rows
from fastneg.runs.paths import RESULTS

ANSWERS = ("shape", "texture", "other")


def append_result(run, row):
    """Add one line to RUN/evaluation.jsonl; a later line of the same kind and set replaces an
    earlier one for every reader."""
    append_json(Path(run) / RESULTS, row)


def results_of(run):
    """The lines of RUN/evaluation.jsonl, as far as they can be read."""
    return json_rows(Path(run) / RESULTS)


def refuse_other(run, name, field, value, words):
    """Keep a set's figures of one kind from silently replacing those of another: both would stand
    under its name.

    Args:
        field: of the lines of evaluation.jsonl, which tells the kinds apart.
        value: of the new figures.
        words: what the field is, before its value, in a message.
    Raises:
        ConfigError: RUN/evaluation.jsonl holds figures of the set with another value there.
    """
    path, found = Path(run) / RESULTS, None
    for row in results_of(run):
        if row.get("set") == name:
            found = str(row.get(field) or "") or found
    if found not in (None, value):
        raise ConfigError(
            f"{path} holds figures of {name} {words} {found}, which those {words} {value} would "
            f"replace: give the set another name, such as {name}-{value.replace(' ', '-')}=PATH."
        )


def is_number(value):
    """Whether a value read from JSON is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_pair(value):
    """Whether a value is an interval [low, high]."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(map(is_number, value))
        and value[0] <= value[1]
    )


def chance_coverage(row, classifier=None):
    """The coverage in percent of answers drawn evenly: two of all categories name a cue.

    Args:
        row: a line of kind shape_bias.
        classifier: the line of kind linear beside it, where each of its classes is a category.
    Returns:
        None where neither says how many categories there are.
    """
    if is_number(row.get("chance_coverage")):
        return row["chance_coverage"]
    categories = row.get("categories")
    count = len(categories) if isinstance(categories, dict) else (classifier or {}).get("classes")
    return 200.0 / count if is_number(count) and count > 1 else None


def key_of(row):
    """(kind, set) under which a line is kept: a later one of the same key replaces an earlier one.

    Few-shot shares are own kinds.
    """
    if row["kind"] in ("few_shot", "few_shot_finetune") and is_number(row.get("share")):
        return f"{row['kind']} {row['share']:g}", row["set"]
    return row["kind"], row["set"]


def misfit(row):
    """Why a line of evaluation.jsonl cannot be shown, in words, or None.

    Kinds that the report does not know fit.
    """
    if not isinstance(row.get("set"), str):
        return "it names no set"
    check, expected = _CHECKS.get(row["kind"], (lambda row: True, ""))
    return None if check(row) else expected


def _top1(row):
    return is_number(row.get("top1"))


def _few_shot(row):
    return _top1(row) and is_number(row.get("share"))


def _corruptions(row):
    series = row.get("by_corruption")
    fits = (
        isinstance(series, dict)
        and bool(series)
        and all(isinstance(v, list) and len(v) == 5 for v in series.values())
    )
    # the second where not all of the 15 corruptions are there
    means = (row.get("mean_top1"), row.get("partial_mean_top1"))
    return (
        fits
        and all(is_number(percent) for five in series.values() for percent in five)
        and any(map(is_number, means))
    )


def _parts(row):
    found = row.get("by_corruption")
    return isinstance(found, dict) and all(
        isinstance(v, dict) and all(map(is_number, v.values())) for v in found.values()
    )


def _tree(row):
    mean = row.get("tree_mean_top1")  # None where no corruption is whole
    return _parts(row) and bool(row["by_corruption"]) and (mean is None or is_number(mean))


def _shape_bias(row):
    counts = row.get("by_category")
    fits = isinstance(counts, dict) and all(
        isinstance(c, dict) and all(is_number(c.get(a)) for a in ANSWERS) for c in counts.values()
    )
    return (
        fits
        and is_number(row.get("coverage"))
        and (row.get("shape_bias") is None or is_number(row["shape_bias"]))
    )


def _classes(row):
    found, groups = row.get("by_class"), row.get("groups")
    return _accuracies(found) and bool(found) and (groups is None or _accuracies(groups))


def _accuracies(found):
    return isinstance(found, dict) and all(
        isinstance(values, dict) and is_number(values.get("top1")) for values in found.values()
    )


def _similarity(row):
    edges = row.get("edges")
    if not (
        isinstance(edges, list)
        and len(edges) > 1
        and all(map(is_number, edges))
        and sorted(set(edges)) == edges
    ):
        return False
    histograms = similarity_histograms(row)
    return bool(histograms) and all(
        isinstance(counts, list)
        and len(counts) == len(edges) - 1
        and all(is_number(count) and count >= 0 for count in counts)
        for counts in histograms.values()
    )


def similarity_histograms(row):
    """{what the query is compared with: counts} of a line of kind similarity: positive, queue (or
    batch), then each kind of negative."""
    negatives = row.get("negative")
    found = {"positive": row.get("positive"), "queue": row.get("queue"), "batch": row.get("batch")}
    found |= (
        {f"negative: {kind}": counts for kind, counts in negatives.items()}
        if isinstance(negatives, dict)
        else {}
    )
    return {name: counts for name, counts in found.items() if counts is not None}


def _embedding(row):
    points, labels = row.get("points"), row.get("labels")
    fits = isinstance(points, list) and isinstance(labels, list) and len(points) == len(labels) > 0
    return fits and all(
        isinstance(point, list) and len(point) == 2 and all(map(is_number, point))
        for point in points
    )


_CHECKS = {
    "linear": (_top1, "top1 is no number"),
    "untrained": (_top1, "top1 is no number"),
    "knn": (_top1, "top1 is no number"),
    "accuracy": (_top1, "top1 is no number"),
    "finetune": (_top1, "top1 is no number"),
    "few_shot": (_few_shot, "share and top1 were expected as numbers"),
    "few_shot_finetune": (_few_shot, "share and top1 were expected as numbers"),
    "corruptions": (
        _corruptions,
        "mean_top1 (or partial_mean_top1) and five numbers for each corruption were expected",
    ),
    "corruption_parts": (_parts, "a number for each severity of each corruption was expected"),
    "corruption_tree": (
        _tree,
        "tree_mean_top1 and a number for each severity of each corruption were expected",
    ),
    "shape_bias": (
        _shape_bias,
        "shape_bias, coverage and three counts for each category were expected",
    ),
    "per_class": (_classes, "by_class with the top1 of each class was expected"),
    "texture_classes": (_classes, "by_class with the top1 of each class was expected"),
    "similarity": (
        _similarity,
        "rising edges and one count fewer for positive, queue and each negative were expected",
    ),
    "embedding": (_embedding, "points in two dimensions and as many labels were expected"),
}
