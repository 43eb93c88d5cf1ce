"""The test sets as they are published, as tiny trees, in one call of fastneg evaluate; one of them
missing, one partial."""

import json

import numpy as np
import pytest

from fastneg.evaluation.sets.categories_16 import CATEGORIES_16
from helpers.encoder_runs import evaluate, make_probed
from helpers.images import jpeg, photo, saved
from helpers.tinted import TINTS

CAT, KEYBOARD, OVEN, DOG = CLASSES = ("n02123045", "n03085013", "n04111531", "n02106550")
SHAPES = {"cat": CAT, "keyboard": KEYBOARD, "oven": OVEN, "dog": DOG}


def look(wnid, seed):
    """A photo tinted as `make_beton` tints those of a class."""
    return (
        photo(np.random.default_rng(seed), 40, 40) * 0.2 + 0.8 * TINTS[sum(map(ord, wnid)) % 8]
    ).astype(np.uint8)


def write(path, wnid, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        saved(look(wnid, seed), "PNG") if path.suffix == ".png" else jpeg(look(wnid, seed))
    )


def imagenet_and_its_kin(root, others):
    """ImageNet, ImageNet-Sketch and Stylized-ImageNet by class; ImageNet-R and -A, of 200 classes
    each."""
    for wnid in (*CLASSES, others[0]):
        for i in range(2):
            write(root / "imagenet" / "val" / wnid / f"ILSVRC2012_val_{i:08}.JPEG", wnid, i)
            write(root / "imagenet" / "train" / wnid / f"{wnid}_{i}.JPEG", others[0])
            write(root / "ImageNet-Sketch" / "sketch" / wnid / f"sketch_{i}.JPEG", wnid, i)
            write(root / "stylized" / "train" / wnid / f"{wnid}_{i}.png", others[0], i)
            write(root / "stylized" / "val" / wnid / f"{wnid}_{i}.png", wnid, i)
    for wnid in (CAT, DOG, OVEN, *others):
        write(root / "imagenet-r" / wnid / "art_0.jpg", wnid)
    for wnid in (KEYBOARD, DOG, OVEN, *others):
        write(
            root / "imagenet-a" / wnid / "0.000116_digital clock _ digital clock_0.865662.jpg", wnid
        )
    for name in ("imagenet-r", "imagenet-a"):
        (root / name / "README.txt").write_text("n02123045 tabby")


def cue_conflict(root):
    for shape, wnid in SHAPES.items():
        for texture in ("cat", "oven", "truck"):
            write(root / shape / f"{shape}7-{texture}12.png", wnid)
    for shape in sorted(set(CATEGORIES_16) - set(SHAPES)):
        write(root / shape / f"{shape}1-cat2.png", CAT)


def imagenet_c(root, other):
    """fog whole, defocus_blur at two severities."""
    for corruption, severities in (("fog", range(1, 6)), ("defocus_blur", (1, 5))):
        for severity in severities:
            for wnid in (CAT, DOG, other):
                write(
                    root / corruption / str(severity) / wnid / "ILSVRC2012_val_00000001.JPEG", wnid
                )


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """All published layouts below one folder, and a run whose classifier knows CLASSES."""
    root = tmp_path_factory.mktemp("published")
    others = [f"n9{number:07}" for number in range(197)]
    imagenet_and_its_kin(root, others)
    cue_conflict(root / "cue-conflict")
    imagenet_c(root / "imagenet-c", others[0])
    make_probed(root, CLASSES, count=48)
    return root


def test_all_at_once(trees, capsys):
    names = {
        "val": "imagenet",
        "sketch": "ImageNet-Sketch",
        "stylized": "stylized",
        "r": "imagenet-r",
        "a": "imagenet-a",
    }
    names |= {"gone": "imagenet-v2", "conflict": "cue-conflict", "c": "imagenet-c"}
    assert (
        evaluate(
            trees / "run", ",".join(f"{name}={trees / folder}" for name, folder in names.items())
        )
        == 1
    )
    rows = [
        json.loads(line) for line in (trees / "run" / "evaluation.jsonl").read_text().splitlines()
    ]
    found = {(row["kind"], row["set"]): row for row in rows}
    images = {
        name: (row["images"], row["classes"])
        for (kind, name), row in found.items()
        if kind == "accuracy"
    }
    assert images == {"val": (8, 4), "sketch": (8, 4), "stylized": (8, 4), "r": (3, 3), "a": (3, 3)}
    assert all(row["top1"] == 100.0 for (kind, _), row in found.items() if kind == "accuracy"), (
        "joined by WordNet id, of val and no other split"
    )
    streams = capsys.readouterr()
    for name, left in {
        "val": "4 of 5",
        "sketch": "4 of 5",
        "stylized": "4 of 5",
        "r": "3 of 200",
        "a": "3 of 200",
    }.items():
        assert f"{name}: {left} classes and {images[name][0]} of" in streams.out
    # Of 24 images 8 have a shape that the classifier knows and a texture other than truck; 2 of
    # these agree.
    bias = found["shape_bias", "conflict"]
    assert bias["images"] == 6 and bias["categories"] == dict.fromkeys(sorted(SHAPES), 1)
    assert bias["by_category"] == {
        name: {"shape": 1 if name in ("cat", "oven") else 2, "texture": 0, "other": 0}
        for name in sorted(SHAPES)
    }
    assert "conflict: 4 of 16 categories and 6 of 24 images remain." in streams.out
    whole, parts = found["corruptions", "c"], found["corruption_parts", "c"]
    assert (
        whole["of_the_15"],
        whole["mean_top1"],
        whole["partial_mean_top1"],
        whole["images"],
    ) == (["fog"], None, 100.0, 2)
    assert parts["by_corruption"] == {"defocus_blur": {"1": 100.0, "5": 100.0}}
    assert (
        "gone: " in streams.err
        and "imagenet-v2 does not exist" in streams.err
        and "defocus_blur counts in no mean" in streams.err
    )
    assert "2 of 8 sets could not be evaluated wholly: gone, c." in streams.err
    assert [line.split()[:2] for line in streams.out.splitlines() if line.startswith("gone")] == [
        ["gone", "not"]
    ]
