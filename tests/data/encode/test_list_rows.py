"""A list's rows: the separator is found, blank lines and comments are passed over."""

import pytest

from fastneg.data import BetonError
from fastneg.data.encode.list_rows import is_image_name, read_rows

ROWS = [["a b.jpg", "cat"], ["c.jpg", "dog"]]


@pytest.mark.parametrize("separator", ["\t", ";", ",", "|"])
def test_every_separator_gives_the_same_rows(tmp_path, separator):
    path = tmp_path / "list.txt"
    lines = [separator.join(row) for row in ROWS]
    path.write_text("# a comment\n" + lines[0] + "\n\n" + lines[1] + "\n")
    rows = read_rows(str(path), lambda name: False)
    assert rows.cells == ROWS and list(rows.lines) == [2, 4]


def test_objects_have_a_header_of_their_keys(tmp_path):
    path = tmp_path / "list.jsonl"
    path.write_text('{"file": "a.jpg", "label": 3}\n{"file": "b.jpg", "label": 5}\n')
    rows = read_rows(str(path), lambda name: False)
    assert rows.keyed and rows.cells == [["file", "label"], ["a.jpg", "3"], ["b.jpg", "5"]]


def test_an_uneven_list_is_refused_with_its_line(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("a.jpg,cat\nb.jpg,dog,more\nc.jpg,cat\n")
    with pytest.raises(BetonError, match="line 2"):
        read_rows(str(path), lambda name: False)


def test_names_of_images_by_their_end():
    assert is_image_name(" x/a.JPEG ") and is_image_name("x\\a.png") and not is_image_name("jpg")
