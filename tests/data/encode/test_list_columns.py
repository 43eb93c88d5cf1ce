"""Which columns of a list hold paths and labels: by the header, by the files, or as asked."""

from types import SimpleNamespace

import pytest

from fastneg.config import ConfigError
from fastneg.data.encode.list_columns import find_columns
from fastneg.data.encode.list_rows import Rows
from fastneg.data.label_names import plain, surest

NO_FILES = SimpleNamespace(at=lambda cell: False, knows=lambda cell: False)


def rows(*cells, keyed=False):
    return Rows([list(row) for row in cells], list(range(1, len(cells) + 1)), keyed)


def test_a_header_names_the_columns():
    found = find_columns(
        rows(("index", "Class Name", "File-Name"), ("0", "cat", "a.jpg"), ("1", "dog", "b.jpg")),
        "list.csv",
        NO_FILES,
    )
    assert (found.path, found.label, found.header) == (2, 1, True)


def test_without_a_header_the_images_are_seen():
    found = find_columns(
        rows(("cat", "a.jpg"), ("dog", "b.jpg"), ("cat", "c.jpg")), "list.csv", NO_FILES
    )
    assert (found.path, found.label, found.header) == (1, 0, False)


def test_a_column_is_taken_as_asked():
    table = rows(("path", "label", "breed"), ("a.jpg", "cat", "manx"), ("b.jpg", "dog", "pug"))
    assert find_columns(table, "list.csv", NO_FILES, label="breed").label == 2
    assert find_columns(table, "list.csv", NO_FILES, label="none").label is None
    with pytest.raises(ConfigError, match="colour"):
        find_columns(table, "list.csv", NO_FILES, label="colour")


def test_the_surest_name_comes_first():
    assert plain("File_Name ") == "filename"
    assert surest(["id", "x", "Path"], ("path", "id")) == [2, 0]
