"""Images that a CSV file lists, with their classes."""

from __future__ import annotations

import csv
import os
from collections import Counter

from fastneg.data.errors import BetonError

PATH_COLUMNS = ("path", "file", "filename", "image")
LABEL_COLUMNS = ("label", "class")


def list_csv(path):
    """The images of a CSV file: columns path and label, with a header or in this order without one; without a label column, none has one.

    Paths are absolute or relative to the file's folder.

    Returns:
        (names in the order of the file, the class of each as text; None where there is no label column).
    Raises:
        BetonError: the file cannot be read, a row lacks a field, or an image comes twice.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), 1) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BetonError(f"{path} cannot be read as CSV: {error}.") from error
    at, label_at = 0, 1
    header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    if any(name in PATH_COLUMNS for name in header):
        at = next(number for number, name in enumerate(header) if name in PATH_COLUMNS)
        label_at = next((number for number, name in enumerate(header) if name in LABEL_COLUMNS), None)
        rows = rows[1:]
    elif header and len(header) == 1:
        label_at = None
    classes, names, folder = [], [], os.path.dirname(path)
    for number, row in rows:
        if len(row) <= max(at, label_at or 0) or not row[at].strip() or (label_at is not None and not row[label_at].strip()):
            wanted = "a path" if label_at is None else "a path and a label"
            raise BetonError(f"line {number} of {path} is {','.join(row)!r}: {wanted} was expected.")
        name = row[at].strip()
        names.append(name)
        if label_at is not None:
            classes.append(row[label_at].strip())
    if doubled := next(
        (name for name, count in Counter(os.path.normpath(os.path.join(folder, name)) for name in names).items() if count > 1), None
    ):
        raise BetonError(f"{path} lists {doubled} more than once, in the same or another spelling: each image may occur once.")
    return names, classes or None
