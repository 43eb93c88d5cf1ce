"""Finds the column of a list that holds the images, and the column of their labels."""

from __future__ import annotations

import re
from typing import NamedTuple

from fastneg.data.encode.list_rows import SHOWN, is_image_name
from fastneg.data.errors import BetonError
from fastneg.data.label_names import LABEL_NAMES, plain, surest
from fastneg.options import ConfigError

PATH_NAMES = (
    "path", "filepath", "imagepath", "imgpath", "filename", "imagefilename", "imgfilename", "file",
    "imagefile", "imgfile", "fname", "imagename", "imgname", "image", "img", "images", "imageid",
    "imgid", "fileid", "uuid", "id", "name", "key", "url", "location",
)  # fmt: skip
"""Headers of image columns, the surest first, in lower case and without _, - and blanks."""
SPLIT_NAMES = ("split", "subset", "set", "partition", "fold")
NO_LABELS = re.compile(
    r"unnamed\d*|text|captions?|width|height|size|index|md5|sha256|hash|source|bbox|boxes|mask|"
    r"annotations?"
)
"""Headers, likewise, of columns that hold no labels; "unnamed 0" is that of an index of pandas."""


class Columns(NamedTuple):
    path: int
    label: int | None
    header: bool
    """Whether the first row is a header."""
    names: list[str]
    """The headers, or "column 1", …"""


def find_columns(rows, where, files, label=None):
    """The columns of a list.

    Args:
        rows: `Rows`, not empty.
        where: the list's path, for messages.
        files: its `at(cell)` says whether a cell is the path of a file, its `knows(cell)` whether
            it is the name or the stem of an image below the list's folder.
        label: the label column by name or number from 1, "none", or None: it is found.
    Raises:
        BetonError: they cannot be told; the message shows the first two lines.
    """
    header = rows.keyed or _has_header(rows.cells, files, where)
    first = rows.cells[0]
    names = [f"column {i + 1}" for i in range(len(first))]
    if header:
        names = [cell.strip() or f"unnamed {i}" for i, cell in enumerate(first)]
    body = rows.cells[1:] if header else rows.cells
    path = _path_column(names, body, header, files, rows.cells, where)
    if label is not None:
        at = _asked_column(names, path, label, where)
    else:
        at = _label_column(names, body, path, header, rows.cells, where)
    return Columns(path, at, header, names)


def _cannot(where, cells, what):
    lines = "\n".join("  " + ",".join(row) for row in cells[:2])
    return BetonError(
        f"{where}: {what}. Its first lines are\n{lines}\nA header path,label settles it, or "
        "--label_column NAME (or the column's number; none to take no labels)."
    )


def _has_header(cells, files, where):
    """Whether the first row holds names of columns.

    One that could be either is asked for its files.
    """
    first, rest = cells[0], cells[1 : SHOWN + 1]
    if any(map(is_image_name, re.split(r"[,;|\t ]", " ".join(first)))):
        return False
    path, label = (
        any(plain(cell) in known for cell in first) for known in (PATH_NAMES, LABEL_NAMES)
    )
    if path and label:
        return True
    if any(map(files.at, first)):
        return False
    if any(is_image_name(cell) for row in rest for cell in row):
        return path or label or not any(map(files.knows, first))
    if any(map(files.knows, first)):
        return False
    if any(files.knows(cell) for row in rest for cell in row):
        return True
    raise _cannot(
        where,
        cells,
        "no column holds images: names with a suffix such as .jpg, or those of files below "
        f"{files.folder}, were looked for",
    )


def _path_column(names, body, header, files, cells, where):
    sample = body[:SHOWN]
    for test in (is_image_name, lambda cell: files.at(cell) or files.knows(cell)):
        counts = [sum(test(row[i]) for row in sample) for i in range(len(names))]
        found = [i for i, count in enumerate(counts) if count and count == max(counts)]
        if len(found) == 1:
            return found[0]
        if by_name := [i for i in surest(names, PATH_NAMES) if i in found and header]:
            return by_name[0]
        if found:
            raise _cannot(
                where, cells, f"the columns {', '.join(names[i] for i in found)} all name images"
            )
    if by_name := surest(names, PATH_NAMES) if header else []:
        return by_name[0]
    raise _cannot(where, cells, "no column names images")


def _label_column(names, body, path, header, cells, where):
    others = [i for i in range(len(names)) if i != path]
    if header and (found := _called_label(names, path)):
        return found[0]
    others = [i for i in others if any(row[i].strip() for row in body)]
    if header:
        others = [i for i in others if not _is_no_label(plain(names[i]))]
        ids = [i for i in others if plain(names[i]) in PATH_NAMES]
        others = [i for i in others if i not in ids] or [i for i in ids if _repeats(body, i)]
    else:
        others = _without_numbers(others, body, path, cells, where)
    if len(others) > 1:
        some = ", ".join(names[i] for i in others[:8]) + (", …" if len(others) > 8 else "")
        raise _cannot(where, cells, f"which of the columns {some} is the label cannot be told")
    return others[0] if others else None


def _called_label(names, path):
    found = [i for i in surest(names, LABEL_NAMES) if i != path]
    place = any(plain(name) == "x" for name in names)
    return [i for i in found if not (place and plain(names[i]) == "y")]


def _is_no_label(name):
    return name in SPLIT_NAMES or NO_LABELS.fullmatch(name) is not None


def _without_numbers(others, body, path, cells, where):
    """The columns of a list without a header that may be labels: no numbers of the rows, no
    boxes."""
    counters = [i for i in others if i < path and _counts_up([row[i] for row in body])]
    if counters and counters == others:
        raise _cannot(
            where,
            cells,
            f"column {counters[0] + 1} counts the lines, so it may be the label or not",
        )
    others = [i for i in others if i not in counters]
    texts = [i for i in others if not all(_is_number(row[i]) for row in body)]
    # As in Tiny-ImageNet's list: a name, its class, the four numbers of a box.
    return texts if texts and (len(others) - len(texts)) % 4 == 0 else others


def _repeats(body, at):
    return len({row[at] for row in body}) < len(body)


def _counts_up(texts):
    """Whether a column numbers its rows, from 0 or 1 on."""
    start = texts[0].strip() if texts else ""
    if start not in ("0", "1") or len(texts) < 2:
        return False
    return all(text.strip() == str(i) for i, text in enumerate(texts, int(start)))


def _asked_column(names, path, asked, where):
    if asked == "none":
        return None
    found = [i for i, name in enumerate(names) if name == asked]
    found = found or [i for i, name in enumerate(names) if plain(name) == plain(asked)]
    if not found and asked.isdecimal() and 1 <= int(asked) <= len(names):
        found = [int(asked) - 1]
    if len(found) != 1 or found[0] == path:
        raise ConfigError(
            f"--label_column is {asked}: {where} has the columns {', '.join(names)}, of which "
            f"{names[path]} holds the images."
        )
    return found[0]


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True
