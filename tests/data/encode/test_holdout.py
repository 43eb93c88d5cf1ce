"""encode --holdout: two files of one source, with nothing of one in the other.

Serves fastneg.data.encode.holdout.
"""

import json
import os
import tarfile

import numpy as np
import pytest

from fastneg.config import ConfigError, EncodeConfig
from fastneg.data import BetonError, BetonReader
from fastneg.data.beton import publish
from fastneg.data.encode.encode import encode
from fastneg.data.encode.holdout import Holdout, held_out_path
from fastneg.recipes.encode import run_encode
from helpers.images import jpeg, photo

RNG = np.random.default_rng(0)
COUNTS = {"ant": 20, "bee": 5, "cat": 2, "dog": 1}
IMAGES = {
    f"{name}/{i}.jpg": jpeg(photo(RNG, 12, 12))
    for name, count in COUNTS.items()
    for i in range(count)
}


def tree(root, files=IMAGES):
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def encoded(src, tmp_path, holdout=0.2, **options):
    """(names in OUT, names in OUT-holdout, summary)"""
    config = EncodeConfig(
        str(src), str(tmp_path / "x.beton"), holdout=holdout, **{"workers": 1, **options}
    )
    summary = encode(config)
    return *map(names, (tmp_path / "x.beton", tmp_path / "x-holdout.beton")), summary


def names(path):
    with BetonReader(path, verify=True) as reader:
        for i, name in enumerate(reader.names):  # labels and bytes are those of the source
            if reader.labels is not None:
                assert reader.classes[reader.labels[i]] == os.path.dirname(name).split("/")[-1]
        return sorted(reader.names)


def per_class(found):
    return {name: sum(each.startswith(f"{name}/") for each in found) for name in COUNTS}


def test_each_class_gives_its_share_and_one_at_least(tmp_path, capsys):
    src = tree(tmp_path / "src")
    config = EncodeConfig(str(src), str(tmp_path / "x.beton"), holdout=0.2, workers=1)
    assert run_encode(config) == 0
    train, held = names(tmp_path / "x.beton"), names(tmp_path / "x-holdout.beton")
    assert sorted(train + held) == sorted(IMAGES)
    assert per_class(held) == {"ant": 4, "bee": 1, "cat": 1, "dog": 0}
    out = capsys.readouterr().out
    assert (
        f"{tmp_path}/x-holdout.beton: 6 of these images, held out (seed 0); {config.out}: the "
        "other 22;" in out
    )
    assert out.rstrip().endswith(
        f"; 1 class with one image, or copies of one, in {config.out} alone: dog."
    )
    for path, part, other in (
        ("x", "train", "x-holdout.beton"),
        ("x-holdout", "holdout", "x.beton"),
    ):
        notes = json.loads((tmp_path / f"{path}.beton.json").read_text())
        assert notes["holdout"] == {"share": 0.2, "seed": 0, "part": part, "other": other}
        assert notes["classes"] == list(COUNTS)  # both files number their labels alike


def test_the_seed_decides_and_the_workers_do_not(tmp_path):
    src = tree(tmp_path / "src")
    folders = [tmp_path / name for name in "abc"]
    first, again, other = (
        encoded(src, folder, workers=workers, seed=seed)[1]
        for folder, workers, seed in zip(folders, (1, 2, 1), (0, 0, 1), strict=True)
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("wanted", "expected"), [(3, [1, 1, 1, 0]), (9, [7, 1, 1, 0]), (24, [19, 4, 1, 0])]
)
def test_a_number_of_images_is_met(tmp_path, wanted, expected):
    _, held, summary = encoded(tree(tmp_path / "src"), tmp_path, wanted)
    assert list(per_class(held).values()) == expected and summary["holdout"]["images"] == wanted


@pytest.mark.parametrize(
    ("holdout", "said"),
    [
        (2, r"3 to 24 of these 28 can be held out"),
        (25, r"3 to 24"),
        (2.5, "whole number"),
        (0, "more than 0"),
    ],
)
def test_numbers_that_cannot_be(tmp_path, holdout, said):
    with pytest.raises(ConfigError, match=said):
        encoded(tree(tmp_path / "src"), tmp_path, holdout)
    assert not list(tmp_path.glob("*.beton*"))


def test_images_of_the_same_bytes_stay_together(tmp_path):
    copies = {
        f"{'ab'[i % 2]}/{i}-{j}.jpg": IMAGES[f"ant/{i}.jpg"] for i in range(20) for j in range(3)
    }
    # in another class too
    copies |= {f"b/{i}-other.jpg": IMAGES[f"ant/{i}.jpg"] for i in range(0, 20, 2)}
    for seed in range(5):
        train, held, summary = encoded(tree(tmp_path / "src", copies), tmp_path, 0.3, seed=seed)
        assert not {copies[name] for name in train} & {copies[name] for name in held}
        assert summary["holdout"]["doubles"] == 50 and summary["holdout"]["only_train"] == []
        assert 0.2 < len(held) / len(copies) < 0.45


def test_a_class_of_copies_alone_stays_whole(tmp_path):
    files = {
        **IMAGES,
        **{f"eel/{i}.jpg": IMAGES["dog/0.jpg"] for i in range(4)},
        "dog/1.jpg": jpeg(photo(RNG, 9, 9)),
    }
    for seed in range(4):
        train, held, summary = encoded(tree(tmp_path / "src", files), tmp_path, seed=seed)
        sides = [
            any(name.startswith(("eel/", "dog/0")) for name in found) for found in (train, held)
        ]
        assert sorted(sides) == [False, True]
        told = summary["holdout"]["only_train"] + summary["holdout"]["only_holdout"]
        assert "eel" in told and not {"ant", "bee", "cat"} & set(told)


def test_broken_images_take_no_place(tmp_path):
    """Of three images one is broken: the two that are left lie on both sides, whichever it is."""
    for broken in range(3):
        data = {f"{name}/{i}.jpg": jpeg(photo(RNG, 9, 9)) for name in "ab" for i in range(3)}
        data[f"a/{broken}.jpg"] = b"\xff\xd8 no image"
        train, held, summary = encoded(
            tree(tmp_path / f"src{broken}", data), tmp_path, 0.1, on_error="skip"
        )
        assert len(summary["skipped"]) == 1 and [name[0] for name in held] == ["a", "b"]
        assert [name[0] for name in train] == ["a", "b", "b"]


def test_other_sources(tmp_path):
    src = tree(tmp_path / "src")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in IMAGES:
            archive.add(src / name, name)
    (src / "list.csv").write_text(
        "path,label\n" + "".join(f"{name},{name.split('/')[0]}\n" for name in IMAGES)
    )
    (tmp_path / "two.txt").write_text("ant\nbee\n")
    expected = {"ant": 4, "bee": 1, "cat": 1, "dog": 0}
    for path in (src, tmp_path / "x.tar", src / "list.csv"):
        train, held, _ = encoded(path, tmp_path)
        assert per_class(held) == expected and len(train) == 22
    train, held, _ = encoded(src, tmp_path, subset=str(tmp_path / "two.txt"))
    assert per_class(held) == {**expected, "cat": 0} and len(train) == 20
    flat = tree(tmp_path / "flat", {name.replace("/", "-"): data for name, data in IMAGES.items()})
    train, held, _ = encoded(flat, tmp_path, 0.25)
    assert (len(train), len(held)) == (21, 7)


def test_textures_go_with_their_images(tmp_path):
    textures = {name: jpeg(photo(RNG, 7, 7)) for name in IMAGES}
    train, held, _ = encoded(
        tree(tmp_path / "src"), tmp_path, textures=str(tree(tmp_path / "textures", textures))
    )
    for path, found in (("x", train), ("x-holdout", held)):
        with BetonReader(tmp_path / f"{path}.beton", verify=True) as reader:
            assert sorted(reader.names) == found
            for i, name in enumerate(reader.names):
                assert reader.jpeg(i).tobytes() == IMAGES[name]
                assert reader.jpeg(i, "texture").tobytes() == textures[name]


def test_ffcvs_writer_makes_two_files(tmp_path):
    train, held, summary = encoded(tree(tmp_path / "src"), tmp_path, writer="ffcv", ffcv_mode="raw")
    assert per_class(held) == {"ant": 4, "bee": 1, "cat": 1, "dog": 0} and len(train) == 22
    assert summary["images"] == 28 and summary["re_encoded"] == {
        "raw by ffcv": 28,
        "jpg by ffcv": 0,
    }
    assert sorted(path.name for path in tmp_path.glob("*beton*")) == [
        "x-holdout.beton", "x-holdout.beton.json", "x.beton", "x.beton.json",
    ]  # fmt: skip


def test_nothing_that_could_be_held_out_is_said_before_any_work(tmp_path):
    lonely = {f"{i}/x.jpg": jpeg(photo(RNG, 9, 9)) for i in range(3)}
    with pytest.raises(ConfigError, match=r"no class has two images \(3 images in 3 classes\)"):
        encoded(tree(tmp_path / "src", lonely), tmp_path)
    same = {f"{i}.jpg": IMAGES["ant/0.jpg"] for i in range(3)}
    with pytest.raises(
        BetonError, match=r"x-holdout\.beton would hold no image, because .* copies of one image"
    ):
        encoded(tree(tmp_path / "same", same), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"src", "same"}


def test_no_stale_file_stays_beside_a_new_one(tmp_path):
    src, other = tree(tmp_path / "src"), tmp_path / "y-holdout.beton"
    encoded(src, tmp_path)
    encoded(src, tmp_path, 0.5)  # the pair is replaced as a pair
    assert len(names(tmp_path / "x-holdout.beton")) > 10
    with pytest.raises(
        ConfigError, match=r"x-holdout\.beton holds images that --holdout kept out of .*x\.beton"
    ):
        encode(EncodeConfig(str(src), str(tmp_path / "x.beton"), workers=1))
    encode(EncodeConfig(str(src), str(other), workers=1))
    with pytest.raises(
        ConfigError, match=r"y-holdout\.beton, which exists and was not written by --holdout with"
    ):
        encode(EncodeConfig(str(src), str(tmp_path / "y.beton"), holdout=0.1, workers=1))
    assert len(names(other)) == len(IMAGES) and not (tmp_path / "y.beton").exists()


@pytest.mark.parametrize("failing", range(4))
def test_a_crash_between_the_names_leaves_no_stale_pair(tmp_path, monkeypatch, failing):
    src, real, calls = tree(tmp_path / "src"), os.replace, []
    before = set(encoded(src, tmp_path)[0])

    def replace(source, target):
        calls.append(target)
        if len(calls) > failing:
            raise OSError("the machine died")
        real(source, target)

    monkeypatch.setattr(publish.os, "replace", replace)
    with pytest.raises(OSError, match="died"):
        encoded(src, tmp_path, seed=3)
    assert not (tmp_path / "x-holdout.beton").exists()
    if failing == 0:  # the file of before is whole
        assert set(names(tmp_path / "x.beton")) == before
    assert not list(tmp_path.glob(".*.tmp"))
    monkeypatch.undo()
    encoded(src, tmp_path, seed=3)  # nothing has to be cleared away by hand


def test_an_error_on_the_way_leaves_both_files_of_before(tmp_path):
    src = tree(tmp_path / "src")
    before = encoded(src, tmp_path)[:2]
    (src / "ant" / "0.jpg").write_bytes(b"\xff\xd8 no image")
    with pytest.raises(BetonError, match=r"ant/0\.jpg cannot be used"):
        encoded(src, tmp_path, seed=1)
    assert (names(tmp_path / "x.beton"), names(tmp_path / "x-holdout.beton")) == before
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("share", [0.01, 0.1, 0.37, 0.5, 0.9, 0.99])
def test_every_share_of_every_count(share):
    """The count held out is the rounded share, within one to all but one, and no order of labels
    changes it."""
    for count in (2, 3, 7, 50, 333):
        labels = np.repeat(np.arange(3), count)
        holdout, held = Holdout(labels, share, len(labels), list("abc")), np.zeros(3, int)
        for number, label in enumerate(RNG.permutation(labels).tolist()):
            held[label] += holdout.takes(label, b"%d" % number)
        assert held.tolist() == [min(max(int(share * count + 0.5), 1), count - 1)] * 3


def test_the_name_of_the_second_file():
    found = [str(held_out_path(name)) for name in ("x.beton", "a/b.c.beton", "x")]
    assert found == ["x-holdout.beton", "a/b.c-holdout.beton", "x-holdout"]
