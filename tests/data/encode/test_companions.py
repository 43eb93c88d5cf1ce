"""Labels that stand beside the images of a shard: in .cls files, or in a field of .json files."""

import pytest

from fastneg.data import BetonError
from fastneg.data.encode.companions import Companions


def test_a_cls_goes_before_a_json_of_the_same_key():
    companions = Companions()
    companions.add("a", ".cls", b"3\n", "a.cls")
    companions.add("a", ".json", b'{"label": 4}', "a.json")
    companions.add("b", ".json", b'{"label": 5, "width": 7}', "b.json")
    assert len(companions) == 2 and "a" in companions and "c" not in companions
    assert companions.labels(["a", "b", "c"]) == ["3", "5", None]
    assert ".cls files" in companions.source() and "label" in companions.source()


def test_an_unreadable_one_matters_only_to_its_image():
    companions = Companions()
    companions.add("a", ".cls", b"\xff\xfe", "a.cls")
    companions.add("b", ".cls", b"1", "b.cls")
    assert companions.labels(["b"]) == ["1"]
    with pytest.raises(BetonError, match=r"a\.cls"):
        companions.labels(["a"])


def test_labels_in_two_fields_are_refused():
    companions = Companions()
    companions.add("a", ".json", b'{"label": 1}', "a.json")
    companions.add("b", ".json", b'{"target": 1}', "b.json")
    with pytest.raises(BetonError, match="label, target"):
        companions.labels(["a", "b"])
