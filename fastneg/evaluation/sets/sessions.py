"""Sets of model-vs-human with sessions, the category in each file's name.

Such a name is dnn/session-1/0001_ske_dnn_0_airplane_00_….png.

Source: the README of rgeirhos/generalisation-humans-DNNs. A name has seven parts: number,
experiment, subject, condition, category, a number, the image shown.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from fastneg.config import UnfitError
from fastneg.data.beton.shards import open_data
from fastneg.data.encode.class_folders import list_whole
from fastneg.data.encode.folders import is_image
from fastneg.data.encode.sources import FolderFiles, Sources
from fastneg.data.labels import ABSENT
from fastneg.evaluation.accuracy import answers, columns_of
from fastneg.evaluation.sets.class_folders import refuse_foreign
from fastneg.evaluation.sets.encoded import encoded
from fastneg.evaluation.sets.labelled import LabelledKind
from fastneg.evaluation.view import whole_if_published

NAME = re.compile(r"(?:.*/)?\d+_[^_/]+_[^_/]+_(?P<condition>[^_/]+)_(?P<category>[^_/]+)_[^/]+")
SESSION = re.compile(r"session-\d+")


class Sessions(LabelledKind):
    """A folder of sessions, or a file whose images are named as theirs.

    The classes are the categories in the names. Sets of several conditions, such as levels of
    contrast, also get the accuracy of each.
    """

    def holds(self, path):
        return Path(path).is_dir() and find_sessions(path) is not None

    @contextlib.contextmanager
    def open(self, path, run, *, workers=0, report=print, known=None, classes=None):
        folder, sessions = find_sessions(path)
        sources = session_sources(folder, sessions)
        refuse_foreign(folder, set(sources.classes), known, classes)
        with open_data(encoded(folder, run, workers, report, sources=sources)) as reader:
            yield reader

    def fits(self, name, path, reader):
        return conditions_of(reader.names) is not None

    def view(self, reader, config):
        return whole_if_published(reader, config)

    def fields(self, reader, index, judged, arg_max):
        conditions = conditions_of(reader.names)
        if len(set(conditions)) == 1:
            return {}
        known = judged.labels != ABSENT
        right = answers(judged.logits, columns_of(judged.labels, arg_max))[0] == judged.labels
        hits = {}
        for place in known.nonzero()[:, 0].tolist():
            hits.setdefault(conditions[index[place]], []).append(bool(right[place]))
        found = {
            name: {"top1": 100.0 * sum(own) / len(own), "images": len(own)}
            for name, own in hits.items()
        }
        return {"by_condition": dict(sorted(found.items()))}


def find_sessions(path):
    """(folder, names of its session folders) of a set with sessions.

    None where a path is no such set.

    The folder may be the set, its dnn/, one of the sessions, or one that holds nothing but these.
    A folder of images that are all named so counts as a session too.
    """
    path = Path(path)
    if SESSION.fullmatch(path.name):
        return path, ["."]
    listing = list_whole(path)
    folders, images = set(listing.folders), list(filter(is_image, listing.files))
    if sessions := sorted(name for name in folders if SESSION.fullmatch(name)):
        return path, sessions
    if "dnn" in folders or (len(folders) == 1 and not images):
        return find_sessions(path / ("dnn" if "dnn" in folders else folders.pop()))
    return (path, ["."]) if images and not folders and all(map(NAME.fullmatch, images)) else None


def session_sources(folder, sessions):
    """The images of sessions, labelled by the categories in their names, as `Sources`.

    Raises:
        ConfigError: a session without images, or an image of another name.
    """
    names, told, ignored = [], [], 0
    for session in sessions:
        files = list_whole(Path(folder) / session).files
        images = list(filter(is_image, files))
        if not images:
            raise UnfitError(
                f"{Path(folder) / session} holds no images: "
                "NNNN_experiment_dnn_condition_category_….png was expected."
            )
        ignored += len(files) - len(images)
        for image in images:
            if (match := NAME.fullmatch(image)) is None:
                raise UnfitError(
                    f"{Path(folder) / session / image} tells no category: the sessions of "
                    "model-vs-human hold names such as "
                    "0001_ske_dnn_0_airplane_00_airplane-0001-sketch-0.png, "
                    "number_experiment_subject_condition_category_…."
                )
            names.append(image if session == "." else f"{session}/{image}")
            told.append(match["category"])
    classes = sorted(set(told))
    labels = [classes.index(category) for category in told]
    return Sources(
        classes=classes,
        names=names,
        labels=labels,
        ignored=ignored,
        left_out={},
        places=names,
        read=FolderFiles(folder),
        labels_from="file names",
    )


def conditions_of(names):
    """The condition of each image of a set with sessions, a list of str.

    None where a name is of no such set.
    """
    found = []
    for name in names or ():
        match = NAME.fullmatch(name or "")
        if match is None:
            return None
        found.append(match["condition"])
    return found or None
