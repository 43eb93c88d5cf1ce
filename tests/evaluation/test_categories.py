"""Categories and groups: the 16 of model-vs-human, and files of a user's own."""

from pathlib import Path

import pytest

from fastneg.config import ConfigError
from fastneg.data.known_classes import IMAGENET100
from fastneg.evaluation.categories import load_groups, members_of
from fastneg.evaluation.sets.categories_16 import CATEGORIES_16, load_categories


def test_the_16_categories():
    ids = [wnid for members in CATEGORIES_16.values() for wnid in members]
    assert (
        len(CATEGORIES_16) == 16
        and len(ids) == len(set(ids)) == 207
        and all(len(wnid) == 9 and wnid[0] == "n" for wnid in ids)
    )
    assert load_categories("16") is CATEGORIES_16
    assert {category: len(members) for category, members in CATEGORIES_16.items()} == {
        "airplane": 1, "bear": 4, "bicycle": 2, "bird": 49, "boat": 5, "bottle": 7, "car": 3,
        "cat": 6, "chair": 4, "clock": 3, "dog": 109, "elephant": 2, "keyboard": 2, "knife": 1,
        "oven": 1, "truck": 8,
    }  # fmt: skip


def test_they_are_the_classes_of_model_vs_human():
    """Its helper/human_categories.py lists their places among ImageNet's 1000 classes."""
    folder = Path(pytest.importorskip("timm").__file__).parent / "data" / "_info"
    imagenet = (folder / "imagenet_synsets.txt").read_text().split()
    places = {
        category: [imagenet.index(wnid) for wnid in members]
        for category, members in CATEGORIES_16.items()
    }
    assert {category: found for category, found in places.items() if len(found) < 10} == {
        "airplane": [404], "bear": [294, 295, 296, 297], "bicycle": [444, 671],
        "boat": [472, 554, 625, 814, 914], "bottle": [440, 720, 737, 898, 899, 901, 907],
        "car": [436, 511, 817], "cat": [281, 282, 283, 284, 285, 286],
        "chair": [423, 559, 765, 857], "clock": [409, 530, 892], "elephant": [385, 386],
        "keyboard": [508, 878], "knife": [499], "oven": [766],
        "truck": [555, 569, 656, 675, 717, 734, 864, 867],
    }  # fmt: skip
    without = {192, 204, 227, 242, 251, 258, 260, 264}  # dogs of no category, such as the dalmatian
    assert places["dog"] == [place for place in range(152, 269) if place not in without]
    assert places["bird"][:3] == [8, 10, 11] and places["bird"][-3:] == [143, 144, 145]
    overlap = {
        name: len(
            {*(folder / f"imagenet_{name}_synsets.txt").read_text().split()} & set(IMAGENET100)
        )
        for name in "ar"
    }
    assert overlap == {"a": 15, "r": 19}, "as docs/how-to/test-sets.md says"


def test_imagenet_100_knows_seven_of_them():
    classes = sorted(IMAGENET100)
    found = members_of(CATEGORIES_16, classes)
    assert {category: len(members) for category, members in found.items()} == {
        "bird": 5, "cat": 1, "chair": 2, "dog": 17, "keyboard": 1, "oven": 1, "truck": 1,
    }  # fmt: skip
    assert classes[found["cat"][0]] == "n02123045"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("g.json", '{"fine": ["a", "b"], "coarse": ["c"]}'),
        ("g.csv", "class,group\na,fine\nb , fine\nc,coarse\n"),
    ],
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
