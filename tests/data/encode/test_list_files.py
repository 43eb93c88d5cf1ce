"""The files that a list names: where it says, or by their names below its folder."""

import pytest

from fastneg.data import BetonError
from fastneg.data.encode.list_files import ListedFiles
from helpers.odd_trees import tree


def test_names_ids_and_what_is_nowhere(tmp_path):
    tree(tmp_path, "images/a.jpg", "images/deep/b.jpg", "list.csv")
    files, notes = ListedFiles(str(tmp_path / "list.csv")), []
    assert files.at("images/a.jpg") and not files.at("a.jpg") and not files.at("")
    assert files.knows("b") and not files.knows("c")
    found, missing, kept = files.resolve(["images/a.jpg", "b", "c"], [1, 2, 3], notes)
    assert found == ["images/a.jpg", "images/deep/b.jpg"] and kept == [0, 1]
    [told] = missing
    assert told.startswith("c (line 3)") and len(notes) == 1


def test_a_name_that_fits_two_files_is_refused(tmp_path):
    tree(tmp_path, "one/a.jpg", "two/a.jpg", "list.csv")
    with pytest.raises(BetonError, match=r"line 7 of .* names a, which may be"):
        ListedFiles(str(tmp_path / "list.csv")).resolve(["a"], [7], [])
