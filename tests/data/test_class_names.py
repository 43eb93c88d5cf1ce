"""Which class names are one to a person (fastneg.data.class_names), and what becomes of them where
classes are made and joined."""

import numpy as np
import pytest

from fastneg.config import UnfitError
from fastneg.data import BetonReader, BetonWriter
from fastneg.data.class_names import alike, composed, spelling
from fastneg.data.encode.label_texts import classes_of
from fastneg.data.labels import class_map
from helpers.images import jpeg

MAC, LINUX = "cafe\u0301", "caf\u00e9"


def test_case_blanks_and_codings_make_no_other_name():
    assert composed(MAC) == composed(LINUX) == LINUX
    assert spelling("Hot_dog") == spelling("hot  DOG") == spelling("hot-dog") == "hot dog"
    assert spelling(f"Gran {MAC}") == spelling(f"gran_{LINUX}")
    assert len({spelling(name) for name in ("-1", "1", "1 0", "10", "cat", "cats")}) == 6
    assert alike(["cat", "dog", "Cat", "CAT"]) == [("cat", "Cat"), ("cat", "CAT")]
    assert alike(["Cat", "eel"], ["cat", "dog", "eel"]) == [("cat", "Cat")]
    assert alike(["cat", "cat"]) == alike([]) == []


def test_two_spellings_of_a_class_are_told_when_it_is_encoded():
    for texts, said in (
        (["cat", "Cat", "dog", "DOG"], ("Cat and cat", "two classes", "(2 such pairs)")),
        ([MAC, LINUX, "eel"], (r"'cafe\u0301' and 'caf\xe9'", "write them alike")),
    ):
        made = classes_of(texts, texts, "column label of x.csv")
        (note,) = made.notes
        assert len(made.names) == len(texts) and all(part in note for part in said)
    assert not classes_of(["cat", "dog"], list("ab"), "x").notes


def test_classes_of_one_spelling_are_not_dropped_without_a_word(tmp_path):
    with BetonWriter(tmp_path / "x.beton", classes=["cat", MAC]) as writer:
        for label in (0, 1):
            writer.add(jpeg(np.zeros((8, 8, 3), np.uint8)), 8, 8, label=label)
    with BetonReader(tmp_path / "x.beton") as reader:
        assert class_map(reader, ["cat", "dog", LINUX], 3).tolist() == [0, 2]  # the same text
        assert class_map(reader, ["cat", "Cat", MAC], 3).tolist() == [0, 2]
        with pytest.raises(UnfitError, match=r"'cat' and the classifier 'Cat': are they one class"):
            class_map(reader, ["Cat", "dog", MAC], 3)
