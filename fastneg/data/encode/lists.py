"""Images and labels from a list: .csv, .tsv, .txt, .jsonl, .json."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import NamedTuple

from fastneg.data.encode.list_columns import SPLIT_NAMES, find_columns
from fastneg.data.encode.list_files import ListedFiles
from fastneg.data.encode.list_rows import read_rows
from fastneg.data.errors import BetonError
from fastneg.data.label_names import plain
from fastneg.options import ConfigError

BOXES = re.compile(r"\S+( -?\d+(\.\d+)?){4}(\s+\S+( -?\d+(\.\d+)?){4})*\s*", re.ASCII)
"""A class and the corners of a box, once or more: Kaggle's PredictionString of ImageNet."""
SEVERAL = re.compile(r"\d+(\s*[ ,;|]\s*\d+)+", re.ASCII)
"""Several classes in one cell."""
SPLITS = frozenset(("train", "training", "val", "valid", "validation", "dev", "test", "testing"))


class Listed(NamedTuple):
    names: list[str]
    """Where the images lie: absolute, or relative to the list's folder."""
    texts: list[str] | None
    """The label of each as text; None where the list has none."""
    labels_from: str
    """The column, or "none"."""
    missing: list[str]
    """Images that are not there, "NAME: reason"; they are not among the names."""
    lost: list[str]
    """Their labels: a class keeps its place though its images are missing."""
    notes: list[str]
    """Sentences for a person."""


def read_list(path, label_column=None, split=None):
    """The images and labels of a list.

    The delimiter, a header and the columns are found by what they hold; see
    docs/how-to/encode-odd-sources.md.

    Args:
        label_column: its name or number from 1; "none": no labels are taken; None: it is found.
        split: keep the rows with this value in the column split (subset, set, partition, fold);
            ".": keep all.
    Raises:
        BetonError: the list cannot be read, its columns cannot be told, a row lacks a field, an
            image comes twice, a name without a place fits several files, or rows are of several
            splits.
    """
    path = os.fspath(path)
    files = ListedFiles(path)
    rows = read_rows(path, files.at)
    if not rows.cells:
        raise BetonError(f"{path} lists no images: it is empty.")
    columns = find_columns(rows, path, files, label_column)
    body = list(zip(rows.lines, rows.cells, strict=True))[columns.header :]
    if not body:
        raise BetonError(f"{path} lists no images: it holds a header and nothing else.")
    notes = list(rows.notes)
    body, split_at = _of_split(body, columns, split, path, notes)
    names = _names(body, columns.path, path)
    texts = _texts(body, columns, path, notes)
    left = [
        name
        for i, name in enumerate(columns.names)
        if i not in (columns.path, columns.label, split_at)
    ]
    if left:
        some = ", ".join(left[:12]) + (", …" if len(left) > 12 else "")
        notes.append(f"Columns of {path} that are not taken: {some}.")
    names, missing, kept = files.resolve(names, [number for number, _ in body], notes)
    _refuse_doubles(names, path)
    if texts is None:
        return Listed(names, None, "none", missing, [], notes)
    where = f"{columns.names[columns.label]} of {os.path.basename(path)}"
    where = f"column {where}" if columns.header else where
    there = set(kept)
    lost = [text for i, text in enumerate(texts) if i not in there]
    return Listed(names, [texts[i] for i in kept], where, missing, lost, notes)


def _of_split(body, columns, split, path, notes):
    """(the rows to take, the column that tells their split or None)."""
    names = list(map(plain, columns.names)) if columns.header else []
    at = next((names.index(name) for name in SPLIT_NAMES if name in names), None)
    at = None if at in (columns.path, columns.label) else at
    if at is None:
        if split not in (None, "."):
            raise ConfigError(
                f"--split is {split}, but {path} has no column split: its columns are "
                f"{', '.join(columns.names)}."
            )
        return body, None
    values = Counter(row[at].strip() for _, row in body)
    some = ", ".join(f"{value} ({count})" for value, count in values.most_common(6)) + (
        ", …" if len(values) > 6 else ""
    )
    if split is None and len(values) > 1 and any(value.casefold() in SPLITS for value in values):
        raise ConfigError(
            f"Column {columns.names[at]} of {path} holds {some}: give --split to take one of "
            "them, or --split . to take all."
        )
    if split in (None, "."):
        if len(values) > 1:
            notes.append(f"All rows are taken, whatever their {columns.names[at]}: {some}.")
        return body, at
    chosen = [each for each in body if each[1][at].strip().casefold() == split.casefold()]
    if not chosen:
        raise ConfigError(
            f"--split is {split}, but column {columns.names[at]} of {path} holds {some}."
        )
    return chosen, at


def _names(body, at, path):
    names = [row[at].strip() for _, row in body]
    for (number, row), name in zip(body, names, strict=True):
        if not name:
            raise BetonError(f"line {number} of {path} is {','.join(row)!r}: it names no image.")
    return names


def _texts(body, columns, path, notes):
    if columns.label is None:
        return None
    texts, column = [row[columns.label].strip() for _, row in body], columns.names[columns.label]
    for (number, row), text in zip(body, texts, strict=True):
        name = row[columns.path].strip()
        if not text:
            raise BetonError(
                f"line {number} of {path}, {name}, has no label in {column}: leave the image out "
                "of the list, or give --label_column none to take no labels."
            )
        if text.startswith(("[", "{")) or SEVERAL.fullmatch(text):
            raise BetonError(
                f"line {number} of {path}, {name}, has the label {text[:60]} in {column}: one "
                "class for each image was expected. --label_column names another column, or none."
            )
    if all(map(BOXES.fullmatch, texts)):
        texts = [
            _one_class(text, number, path) for text, (number, _) in zip(texts, body, strict=True)
        ]
        notes.append(f"The boxes behind the classes in {column} of {path} are not taken.")
    return texts


def _one_class(text, number, path):
    classes = sorted(set(text.split()[::5]))
    if len(classes) > 1:
        raise BetonError(
            f"line {number} of {path} names several classes, {', '.join(classes)}: one for each "
            "image was expected."
        )
    return classes[0]


def _refuse_doubles(names, path):
    folder = os.path.dirname(path)
    spelt = Counter(os.path.normpath(os.path.join(folder, name)) for name in names)
    if doubled := next((name for name, count in spelt.items() if count > 1), None):
        raise BetonError(
            f"{path} lists {doubled} more than once, in the same or another spelling: each image "
            "may occur once."
        )
