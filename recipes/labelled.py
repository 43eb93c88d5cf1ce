"""Shared by the commands that train or vote on labels: opens two labelled sets, matches their
classes, prints a result."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import torch

from fastneg.config import UnfitError
from fastneg.counts import counted
from fastneg.data.beton.identity import content_key
from fastneg.data.beton.overlap import FIELD, shared_images, told_shared
from fastneg.data.beton.shards import open_data
from fastneg.data.encode.outputs import named_data
from fastneg.data.known_classes import told_of_numbers
from fastneg.data.labels import ABSENT, class_count, join_labels, labels_of
from fastneg.runs.outputs import evaluation_output


class Labelled(NamedTuple):
    train: object
    """Open `BetonReader` (or `BetonSet`)."""
    val: object
    labels: torch.Tensor
    """(images of train,) int64."""
    count: int
    """Classes of train."""
    val_labels: torch.Tensor
    """(images of val,) int64 in train's numbering, ABSENT where train has no such class."""
    shared: int = 0
    """Images of val that train holds too, byte for byte."""
    trained_on: str = ""
    """How the command named train."""

    def fields(self):
        """What a result row says of them."""
        return {
            FIELD: self.shared,
            "data": content_key(self.val),
            "train": self.trained_on,
            "train_data": content_key(self.train),
            "classifier_classes": self.count,
        }


@contextlib.contextmanager
def open_labelled(config, cache_dir=""):
    """The sets that a config names as train and val, joined before any work, so that a wrong file
    costs no hour.

    Images that both of them hold are told, before the work and with its result.

    Args:
        config: of linear, finetune or knn.
        cache_dir: where copies of files by URL lie, unless the config says so.
    Raises:
        OutputError: a file that is written into the run is one of the sets.
        ConfigError: labels are missing, those of train are of one class alone, or val has none of
            its classes.
    """
    evaluation_output(config.run, named_data(config.train, config.val))
    folder = config.cache_dir or cache_dir
    with (
        open_data(config.train, cache_dir=folder) as train,
        open_data(config.val, cache_dir=folder) as val,
    ):
        labels, count = labels_of(train), class_count(train)
        if len(labels.unique()) < 2:
            raise UnfitError(
                f"{config.train} holds {counted(len(labels), 'image')} of one class: at least two "
                "classes were expected."
            )
        val_labels, joined = join_labels(val, train.classes, count)
        known = val_labels != ABSENT
        if said := told_of_numbers(val.classes, train.classes):
            print(f"{config.val}: {said}")
        if not known.all():
            classes, images = counted(len(joined), "class"), counted(len(known), "image")
            kept = (
                f"{(joined != ABSENT).sum().item()} of {classes} and {known.sum().item()} of "
                f"{images} remain"
            )
            print(f"{config.val}: {kept}: {config.train} does not know the others.")
        for line in _told_of_join(config, train, val, labels, val_labels):
            print(line)
        shared = int(shared_images(train, val).sum())
        words = told_shared(shared, len(val), config.train, config.val)
        if words:
            print(words, flush=True)
        yield Labelled(train, val, labels, count, val_labels, shared, str(config.train))


def _told_of_join(config, train, val, labels, val_labels):
    """Lines on what a join of classes may hide: that it is by number, and classes of which there is
    nothing to learn from."""
    bare = [spec for spec, data in ((config.train, train), (config.val, val)) if not data.classes]
    if bare:
        yield (
            f"{config.val}: its classes are those of the same numbers in {config.train}, for "
            f"{' and '.join(map(str, bare))} gives no names of classes."
        )
    unseen = (val_labels != ABSENT) & ~torch.isin(val_labels, labels)
    if unseen.any():
        classes = val_labels[unseen].unique().tolist()
        some = [train.classes[each] if train.classes else str(each) for each in classes[:3]]
        yield (
            f"{config.val}: {counted(int(unseen.sum()), 'image')} of "
            f"{counted(len(classes), 'class')} ({', '.join(some)}{', …' * (len(classes) > 3)}) of "
            f"which {config.train} has no image: none of them can be answered rightly."
        )


def told(result, shared=0):
    """An `Accuracy` in words, and how many images of its set the training set holds too."""
    top1 = (
        f"top-1 {result.top1:.2f}% ({result.top1_interval[0]:.2f} to {result.top1_interval[1]:.2f})"
    )
    words = (
        f"{top1}, top-5 {result.top5:.2f}% of {counted(result.images, 'image')} in "
        f"{counted(result.classes, 'class')}"
    )
    return words + (f"; {shared} IMAGES OF THE SET ARE IN THE TRAINING SET TOO" if shared else "")
