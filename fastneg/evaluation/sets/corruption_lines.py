"""The lines of evaluation.jsonl about corrupted images, and their texts for the terminal.

- corruptions: the whole corruptions of ImageNet-C, with all five severities, and their means
- corruption_parts: those with some of the severities, which count in no mean
- corruption_tree: corruptions that are not ImageNet-C's, with the mean over what is there
"""

from __future__ import annotations

from fastneg.counts import counted
from fastneg.evaluation.corruptions import ALL_15, CORRUPTIONS, SEVERITIES
from fastneg.evaluation.corruptions.robustness import summary

WHOLE_ONES = "corruptions"
PARTS = "corruption_parts"
TREE = "corruption_tree"


def published_lines(results, common, context):
    """(lines of ImageNet-C's corruptions, problems in words).

    Args:
        results: {(corruption, severity): `Accuracy`}.
        common: the fields that both lines begin with, `set` among them.
        context: `fastneg.evaluation.context.Context`.
    """
    top1 = {
        name: {level: results[name, level].top1 for level in SEVERITIES if (name, level) in results}
        for name in CORRUPTIONS
    }
    whole = {
        name: list(found.values()) for name, found in top1.items() if len(found) == len(SEVERITIES)
    }
    if not set(whole) & set(ALL_15):
        whole = {}  # there is no mean to give: what is there stands by itself
    parts = {
        name: {str(level): percent for level, percent in found.items()}
        for name, found in top1.items()
        if found and name not in whole
    }
    counts, problems = _counts(results)
    told_counts = f"{len(whole)} whole corruptions and {len(parts)} with some severities"
    context.report(f"{common['set']}: {_images_of(counts)} for each of {told_counts}.")
    lines, common = [], {**common, **counts}
    if whole:
        means = summary(whole, context.clean_top1, counts["classes"], same_images=not problems)
        lines.append({"kind": WHOLE_ONES, **common, "by_corruption": whole, **means})
    if parts:
        lines.append({"kind": PARTS, **common, "by_corruption": parts})
    return lines, problems


def tree_line(results, wanted, common, context):
    """(the line of corruptions that are not ImageNet-C's, problems in words).

    A corruption of which a severity could not be read counts in no mean.

    Args:
        results: {(corruption, severity): `Accuracy`}.
        wanted: the corruptions and severities that are there, read or not.
        common, context: as of `published_lines`.
    """
    found, (counts, problems) = {}, _counts(results)
    for (name, severity), result in results.items():
        found.setdefault(name, {})[severity] = result.top1
    lacking = {name for name, _ in set(wanted) - set(results)}
    each = [sum(own.values()) / len(own) for name, own in found.items() if name not in lacking]
    context.report(
        f"{common['set']}: {_images_of(counts)} for each of {len(found)} corruptions that are not "
        "ImageNet-C's."
    )
    means = {
        "tree_mean_top1": sum(each) / len(each) if each else None,
        "corruptions": sorted(set(found) - lacking),
        "mean_note": f"A mean over the {len(each)} corruptions that are there and their "
        "severities: no mCE, and not to be compared with one over others.",
    }
    return {"kind": TREE, **common, **counts, "by_corruption": found, **means}, problems


def _images_of(counts):
    return f"{counted(counts['images'], 'image')} in {counted(counts['classes'], 'class')}"


def _counts(results):
    """({images, classes} of each corruption and severity, problems in words).

    Where they differ it gives the fewest, and images_by_corruption.
    """
    sizes = {(result.images, result.classes) for result in results.values()}
    fewest = {
        "images": min(images for images, _ in sizes),
        "classes": min(classes for _, classes in sizes),
    }
    if len(sizes) == 1:
        return fewest, []
    by_corruption = {}
    for (name, severity), result in results.items():
        by_corruption.setdefault(name, {})[str(severity)] = result.images
    problem = (
        "The corruptions and severities do not hold the same images: there are "
        f"{fewest['images']} and more in each."
    )
    return {**fewest, "images_by_corruption": by_corruption}, [problem]


def told(row):
    """A line about corrupted images as text: its means, then each corruption by severity."""
    lines = [f"{row['set']} under corruptions: {text}" for text in _means(row)]
    for name, values in row["by_corruption"].items():
        if row["kind"] == TREE:
            shown = "".join(f"  {severity}: {top1:.1f}" for severity, top1 in values.items())
            lines.append(f"  {name:<24}{shown}")
            continue
        if not isinstance(values, dict):
            values = dict(zip(map(str, SEVERITIES), values, strict=True))
        columns = [
            f"{values[level]:7.1f}" if level in values else f"{'–':>7}"
            for level in map(str, SEVERITIES)
        ]
        lines.append(f"  {name:<18}{''.join(columns)}")
    return lines


def _means(row):
    """The lines that tell the means of a row of corrupted images, and what they do not mean."""
    if row["kind"] == PARTS:
        return [f"with some of the severities, and in no mean, {row['source']}"]
    if row["kind"] == TREE:
        mean, over = row["tree_mean_top1"], f"the mean over {len(row['corruptions'])} corruptions"
        words = "no corruption is whole" if mean is None else f"top-1 {mean:.2f}%, {over}"
        return [f"{words}, {row['source']}", row["mean_note"]]
    mean = row["partial_mean_top1"] if row["mean_top1"] is None else row["mean_top1"]
    over = f"{len(row['of_the_15'])} of ImageNet-C's 15 corruptions"
    lines = [f"top-1 {mean:.2f}%, the mean over 5 severities of {over}, {row['source']}"]
    lines += [row["mean_note"]] if "mean_note" in row else []
    if row["mce"] is not None:
        relative = "not known" if row["relative_mce"] is None else f"{row['relative_mce']:.1f}%"
        lines.append(f"mCE {row['mce']:.1f}%, relative mCE {relative} (AlexNet: 100%)")
    return lines + ([row["mce_note"]] if "mce_note" in row else [])
