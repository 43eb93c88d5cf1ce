"""Categories and groups: the 16 of model-vs-human, and files of a user's own."""

import pytest

from fastneg.config import ConfigError
from fastneg.data.subsets import IMAGENET100
from fastneg.evaluation.categories import CATEGORIES_16, load_categories, load_groups, members_of


def test_the_16_categories():
    ids = [wnid for members in CATEGORIES_16.values() for wnid in members]
    assert len(CATEGORIES_16) == 16 and len(ids) == len(set(ids)) == 207 and all(len(wnid) == 9 and wnid[0] == "n" for wnid in ids)
    sizes = {category: len(CATEGORIES_16[category]) for category in ("airplane", "bear", "dog", "knife", "truck")}
    assert sizes == {"airplane": 1, "bear": 4, "dog": 109, "knife": 1, "truck": 8}
    assert load_categories("16") is CATEGORIES_16


def test_imagenet_100_knows_seven_of_them():
    classes = sorted(IMAGENET100)
    found = members_of(CATEGORIES_16, classes)
    assert {category: len(members) for category, members in found.items()} == {
        "bird": 5, "cat": 1, "chair": 2, "dog": 17, "keyboard": 1, "oven": 1, "truck": 1,
    }  # fmt: skip
    assert classes[found["cat"][0]] == "n02123045"


@pytest.mark.parametrize(
    ("name", "text"),
    [("g.json", '{"fine": ["a", "b"], "coarse": ["c"]}'), ("g.csv", "class,group\na,fine\nb , fine\nc,coarse\n")],
)
def test_groups_of_a_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert load_groups(tmp_path / name) == {"fine": ("a", "b"), "coarse": ("c",)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("g.json", text) for text in ("[1]", "{", '{"a": "b"}', '{"a": [1]}', "{}")),
        ("g.csv", "x,y\n1,2\n"),
        ("g.csv", ""),
        ("g.csv", "class,group\na\n"),
    ],
)
def test_what_is_no_grouping_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=r"JSON .* or CSV"):
        load_groups(tmp_path / name)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_groups(tmp_path / "none.json")
