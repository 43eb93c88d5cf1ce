"""The section of example images with right and wrong answers, selected by a rule."""

from __future__ import annotations

import collections

import numpy as np

from fastneg.counts import counted
from fastneg.data.beton.shards import open_data
from fastneg.data.errors import BetonError
from fastneg.report.blocks import Fold, Picture, Pictures, Section, pretty
from fastneg.report.sections.agreement import predicted_sets
from fastneg.runs.gallery import thumbnail

EACH = 4
"""Images of each sort for a set."""
SETS = 10
"""Sets that are shown."""


def section(entries, problems):
    """Images of each set with the answers of all entries.

    None where no run has predictions whose images are there.

    Args:
        entries: list of Entry.
        problems: list that (run name, sentence) pairs are added to, for sets whose images cannot be
            read.
    """
    runs = [run for entry in entries for run in entry.runs]
    blocks = []
    for test_set in predicted_sets(runs)[:SETS]:
        first = next(run for run in runs if test_set in run.predictions)
        try:
            blocks.append(_pictures(entries, first, test_set))
        except (BetonError, OSError) as error:
            problems.append((first.name, f"no example images of {test_set}: {error}"))
    if not blocks:
        return None
    caption = (
        "The true class is above an image, the answers are below it. Nobody picked the images. "
        "They are evenly spaced over three groups: all runs are right, some are, none is."
    )
    left = len(predicted_sets(runs)) - SETS
    caption += f" {left} further sets are not shown." if left > 0 else ""
    folded = [Fold("Images of other sets", tuple(blocks[1:]))] if len(blocks) > 1 else []
    return Section("examples", "Images and answers", (*blocks[:1], *folded), caption)


def _pictures(entries, first, test_set):
    """Pictures of one set. Runs that answered other images than the first run are left out."""
    shared = first.predictions[test_set]
    comparable = [
        [run for run in entry.runs if first.answered_as(run, test_set)] for entry in entries
    ]
    rights = np.stack([run.predictions[test_set].right for found in comparable for run in found])
    rows, sorts = [], rights.sum(0)
    with open_data(
        first.source_path(test_set), cache_dir=first.config.get("cache_dir", "")
    ) as reader:
        if len(reader) <= shared.index[-1]:
            raise BetonError(
                f"{reader.path} holds {counted(len(reader), 'image')}, predictions are of image "
                f"{shared.index[-1]}: it was encoded anew."
            )
        for chosen in (sorts == len(rights), (sorts > 0) & (sorts < len(rights)), sorts == 0):
            places = evenly(np.flatnonzero(chosen), EACH)
            if len(places):
                rows.append(
                    tuple(
                        _picture(reader, first, entries, comparable, test_set, place)
                        for place in places
                    )
                )
    words = (
        ["right in every run", "right in some", "wrong in every run"]
        if len(rights) > 1
        else ["right", "wrong"]
    )
    counts = [
        (sorts == len(rights)).sum(),
        ((sorts > 0) & (sorts < len(rights))).sum(),
        (sorts == 0).sum(),
    ]
    counts = counts if len(rights) > 1 else [counts[0], counts[2]]
    caption = ", ".join(f"{count:,} {word}" for count, word in zip(counts, words, strict=True))
    return Pictures(
        pretty(test_set),
        tuple(rows),
        f"{counted(len(shared.index), 'image', ',')}: {caption}.",
        EACH,
    )


def evenly(places, count):
    """At most `count` of some places, evenly spaced."""
    return (
        places
        if len(places) <= count
        else places[np.linspace(0, len(places) - 1, count).round().astype(int)]
    )


def _picture(reader, first, entries, comparable, test_set, place):
    index = int(first.predictions[test_set].index[place])
    answers = []
    for number, runs in enumerate(comparable):
        if runs:
            said = collections.Counter(
                run.class_name(run.predictions[test_set].predicted[place], test_set) for run in runs
            )
            answer, votes = said.most_common(1)[0]
            right = answer == first.class_name(first.predictions[test_set].label[place], test_set)
            answers.append(
                (number, answer + (f" {votes}/{len(runs)}" if votes < len(runs) else ""), right)
            )
    try:
        source = thumbnail(reader.encoded(index).tobytes())
    except (OSError, SyntaxError, ValueError):
        # what Pillow raises on damaged data; the picture shows as missing
        source = None
    return Picture(
        source, first.class_name(first.predictions[test_set].label[place], test_set), tuple(answers)
    )
