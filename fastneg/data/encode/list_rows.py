"""Reads the rows of a list of images with any separator: .csv, .tsv, .txt, .jsonl, .json."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fastneg.data.encode.folders import is_image, why_no_file
from fastneg.data.errors import BetonError

LIST_SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json")
DELIMITERS = "\t;,|"
BLANKS = " \t\r\n"  # no others: names of files hold no-break spaces
WORD = re.compile(r'"((?:[^"]|"")*)"(?=\s|$)|(\S+)', re.ASCII)
LAST = re.compile(r"(.*[^ \t])[ \t]+([^ \t]+)")
FIRST = re.compile(r"([^ \t]+)[ \t]+(.*)")
SURE = 2
SHOWN = 100  # rows by which a reading is judged


class Rows(NamedTuple):
    cells: list[list[str]]
    """Equally long lists; of JSON objects the first holds their keys."""
    lines: list[int]
    """The line, or the record of a JSON list, that each stands in."""
    keyed: bool = False
    """Whether the first row is a header beyond doubt: the keys of JSON objects."""
    notes: tuple[str, ...] = ()


def is_image_name(text):
    """Whether a cell ends as the name of an image does."""
    return is_image(text.strip().replace("\\", "/").rpartition("/")[2])


def read_rows(path: str, exists: Callable[[str], bool]) -> Rows:
    """The rows of a list; blank lines, and comments behind #, are passed over.

    Cells are separated by tabs, semicolons, commas, bars or blanks: of the readings that give all
    lines as many cells, the first with a column of files that exist is taken, or else the first
    with a column of image names.

    Args:
        exists: whether a cell is the path of a file.
    Raises:
        BetonError: the file cannot be read, or no reading gives all lines as many cells.
    """
    suffix = Path(path).suffix.lower()
    text = _text(path)
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines(text, path)
    if suffix == ".json":
        return _json(text, path)
    lines = [(i, line) for i, line in enumerate(io.StringIO(text, newline=""), 1) if line.strip()]
    comments = {i for i, line in lines if _is_comment(line)}
    lines = [each for each in lines if each[0] not in comments]
    if not lines:
        return Rows([], [])
    best = _best_reading(lines, suffix, exists, path)
    notes = ()
    if comments:
        notes = (
            f"Taken as comments, for they begin with #: {len(comments)} of the lines of {path}.",
        )
    return Rows([row for _, row in best], [number for number, _ in best], notes=notes)


def _best_reading(lines, suffix, exists, path):
    """[(line number, cells)]: of the readings that fit, the first of the worthiest."""
    failed, best, worth = [], None, -1
    for read in _readings(suffix):
        # Most do not even fit the first lines. An error there is none: a quoted cell may be cut.
        rows = read(lines[:SHOWN])
        if _is_even(rows) or isinstance(rows, csv.Error):
            rows = read(lines)
        if not _is_even(rows):
            failed.append(rows)
        elif (own := _worth(rows, exists)) > worth:
            best, worth = rows, own
            if worth == SURE:
                break
    if best is None:
        raise _uneven(failed, path)
    return best


def _is_even(rows):
    return isinstance(rows, list) and len({len(row) for _, row in rows}) == 1


def _text(path):
    if (reason := why_no_file(path)) is not None:
        raise BetonError(f"{path} cannot be read: {reason}.")
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BetonError(
            f"{path} is no text in UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8."
        ) from error
    except OSError as error:
        raise BetonError(f"{path} cannot be read: {error.strerror}.") from error
    if "\0" in text:
        raise BetonError(f"{path} holds zero bytes: a text in UTF-8 was expected.")
    return text


def _is_comment(line):
    """A line behind #, unless an image is named in it: it may be one whose path begins so."""
    return line.startswith("#") and not any(map(is_image_name, re.split(r'[,;|\t "]', line)))


def _readings(suffix):
    """What makes [(number, cells)], None or a csv.Error of [(number, line)], the most likely
    first."""
    if suffix == ".tsv":
        return [partial(_delimited, delimiter="\t"), _whole]
    delimited = [partial(_delimited, delimiter=delimiter) for delimiter in DELIMITERS]
    label_last, label_first = (
        partial(_split, pattern=LAST, at=0),
        partial(_split, pattern=FIRST, at=1),
    )
    return [
        *delimited,
        label_last,
        _words,
        label_first,
        partial(_split, pattern=FIRST, at=0),
        _whole,
    ]


def _whole(lines):
    """One cell in each line; None if a line that is no image's name has several."""
    rows = [
        (i, [_word(*WORD.fullmatch(line).groups()) if WORD.fullmatch(line) else line])
        for i, line in ((i, line.strip(BLANKS)) for i, line in lines)
    ]
    odd = [cell for _, (cell,) in rows if not is_image_name(cell)]
    return None if any(re.search(r"[,;|\t ]", cell) for cell in odd) else rows


def _word(quoted, plain):
    return quoted.replace('""', '"') if plain is None else plain


def _delimited(lines, delimiter):
    """By the csv module; a quoted cell may hold delimiters and line ends."""
    if not any(delimiter in line for _, line in lines):
        return None
    reader = csv.reader(
        (line for _, line in lines), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    try:
        rows = [(lines[reader.line_num - 1][0], row) for row in reader]
    except csv.Error as error:
        return error
    return [(number, row) for number, row in rows if any(cell.strip() for cell in row)]


def _words(lines):
    """Two words or more in each line, which may be quoted."""
    if any("\t" in line.strip(BLANKS) for _, line in lines):
        return None
    rows = [(i, [_word(*match.groups()) for match in WORD.finditer(line)]) for i, line in lines]
    return rows if any(len(row) > 1 for _, row in rows) else None


def _split(lines, pattern, at):
    """A path and a label in each line, blanks between them and in one of them; None if it cannot be
    so."""
    if any('"' in line for _, line in lines):
        return None
    found = [(i, pattern.fullmatch(line.strip(BLANKS))) for i, line in lines]
    if not all(match for _, match in found):
        return None
    header = not any(map(is_image_name, lines[0][1].split()))
    if not all(is_image_name(match[at + 1]) for _, match in found[header:]):
        return None
    return [(i, list(match.groups())) for i, match in found]


def _worth(rows, exists):
    """How surely a reading is the right one: a column of it holds files, or names of images."""
    body = [row for _, row in rows[1 : SHOWN + 1]] or [row for _, row in rows]
    columns = list(zip(*body, strict=True))
    if any(any(map(exists, column)) for column in columns):
        return SURE
    return int(any(all(map(is_image_name, column)) for column in columns))


def _uneven(readings, path):
    """The error that says which line is odd, by the reading that nearly fits."""
    tables = [rows for rows in readings if isinstance(rows, list) and rows]
    errors = [each for each in readings if isinstance(each, csv.Error)]
    if errors and not any(any(len(row) > 1 for _, row in rows) for rows in tables):
        return BetonError(f"{path} cannot be read as a list: {errors[0]}.")
    rows = max(
        tables,
        key=lambda rows: max(
            Counter(len(row) for _, row in rows if len(row) > 1).values(), default=0
        ),
    )
    usual = Counter(len(row) for _, row in rows).most_common(1)[0][0]
    number, row = next(each for each in rows if len(each[1]) != usual)
    return BetonError(
        f"line {number} of {path} is {','.join(row)!r}, {len(row)} columns where others have "
        f"{usual}: as many were expected in each line. A path with a comma in it stands in quotes."
    )


def _json_lines(text, path):
    records, numbers = [], []
    for number, line in enumerate(io.StringIO(text, newline=""), 1):
        if line.strip():
            try:
                records.append(json.loads(line))
            except ValueError as error:
                raise BetonError(f"line {number} of {path} is no JSON: {error}.") from error
            numbers.append(number)
    return _records(records, numbers, path)


def _json(text, path):
    try:
        content = json.loads(text)
    except ValueError as error:
        raise BetonError(f"{path} is no JSON: {error}.") from error
    if isinstance(content, dict) and content.keys() == {"labels"}:  # as StyleGAN writes it
        content = content["labels"]
    elif isinstance(content, dict) and content and all(map(is_image_name, content)):
        content = [{"path": name, "label": label} for name, label in content.items()]
    if not isinstance(content, list):
        raise BetonError(
            f"{path} is no list of records: [{{path, label}}, …] or {{path: label}} was expected."
        )
    return _records(content, range(1, len(content) + 1), path)


def _records(records, numbers, path):
    """Rows of JSON objects, behind a header of their keys; of lists of one length; of plain
    texts."""
    if not records:
        return Rows([], [])
    if all(isinstance(record, dict) for record in records):
        keys = list({key: None for record in records for key in record})
        rows = [[_cell(record.get(key)) for key in keys] for record in records]
        return Rows([keys, *rows], [0, *numbers], keyed=True)
    if all(isinstance(record, str) for record in records):
        return Rows([[record] for record in records], list(numbers))
    if all(isinstance(record, list) for record in records) and len(set(map(len, records))) == 1:
        return Rows([list(map(_cell, record)) for record in records], list(numbers))
    number, odd = next(
        (each for each in zip(numbers, records, strict=True) if not isinstance(each[1], dict)),
        (numbers[0], records[0]),
    )
    raise BetonError(
        f"record {number} of {path} is {str(odd)[:60]}: an object with a path and a label was "
        "expected."
    )


def _cell(value):
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
