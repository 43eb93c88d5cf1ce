"""Test sets as others publish them: categories, sessions, numbered classes, images that are read
unresized."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from fastneg.config import ConfigError
from fastneg.data import BetonReader, BetonWriter
from fastneg.data.encode.subsets import IMAGENET100
from fastneg.data.known_classes import CIFAR10, CIFAR100, IMAGENET, numbered_names
from fastneg.data.labels import class_map
from fastneg.evaluation import features
from fastneg.evaluation.categories import CATEGORIES_16
from fastneg.evaluation.category_answers import category_logits
from fastneg.evaluation.features import central_crops, features_of
from fastneg.evaluation.linear import load_linear
from fastneg.evaluation.sets.files import open_set
from fastneg.evaluation.sets.sessions import conditions_of, find_sessions, session_sources
from fastneg.evaluation.sets.view import is_published, view_of
from fastneg.runs.folder import read_run
from fastneg.runs.load import load_run
from fastneg.runs.predictions import read_predictions
from helpers.encoder_runs import evaluate, make_probed, make_run
from helpers.images import saved
from helpers.tinted import SIZE, make_beton, make_images, tinted

CATEGORIES = {"airplane": ["a", "b"], "bear": ["c"], "bicycle": ["d"], "bird": ["zebra"]}


@pytest.fixture
def categories(tmp_path):
    (tmp_path / "categories.json").write_text(json.dumps(CATEGORIES))
    return str(tmp_path / "categories.json")


def answers_in_categories(run, reader):
    """The category of each image by the definition: the mean of the softmax over a category's
    classes, arg-max."""
    loaded = load_run(run)
    found = features_of(run, loaded, reader, threads=1, report=lambda text: None)
    shares = load_linear(run, loaded).logits(found.features).double().softmax(1)
    means = [[row[0] / 2 + row[1] / 2, row[2], row[3]] for row in shares.tolist()]
    return [("airplane", "bear", "bicycle")[int(np.argmax(row))] for row in means]


# --- categories -----------------------------------------------------------------------------------


def test_folders_of_categories_are_scored_in_categories(
    probed, lines, tmp_path, categories, capsys
):
    looks = {"airplane": "abdc", "bear": "ccd", "bicycle": "dac", "bird": "ab"}
    root = tmp_path / "edges"
    make_images(
        {
            root / name / f"{name}{i}.png": look
            for name, own in looks.items()
            for i, look in enumerate(own)
        }
    )
    assert evaluate(probed, f"edges={root}", categories=categories) == 0
    row, per_class, embedded = lines()
    with open_set(root, probed, report=lambda text: None) as reader:
        said = answers_in_categories(probed, reader)
        true = [reader.classes[label] for label in reader.labels]
    kept = [i for i, name in enumerate(true) if name != "bird"]
    right = [said[i] == true[i] for i in kept]
    assert 0 < sum(right) < len(right) == row["images"] == 10
    assert row["top1"] == pytest.approx(100 * np.mean(right)) and row["top5"] == 100
    assert row["categories"] == {"airplane": 2, "bear": 1, "bicycle": 1} and row[
        "chance"
    ] == pytest.approx(100 / 3)
    assert list(per_class["by_class"]) == ["airplane", "bear", "bicycle"] and set(
        embedded["labels"]
    ) < set(CATEGORIES)
    printed = capsys.readouterr().out
    assert "3 of 4 categories and 10 of 12 images remain" in printed
    assert (
        "scored in 3 categories, by the mean probability over each one's classes; chance 33.3%"
        in printed
    )
    kept_answers = read_predictions(probed)[0]["edges"]
    run = read_run(probed, "run")
    assert [run.class_name(number, "edges") for number in kept_answers.predicted] == [
        said[i] for i in kept
    ]
    assert run.class_name(2) == "c", "other sets are answered in the classifier's classes"


def test_a_category_of_many_classes_does_not_win_by_their_number():
    logits = torch.log(torch.tensor([[0.2, 0.2, 0.2, 0.4], [0.3, 0.3, 0.3, 0.1]]))
    shares = category_logits(logits, {"many": [0, 1, 2], "one": [3]})
    torch.testing.assert_close(
        shares.exp(), torch.tensor([[0.2, 0.4], [0.3, 0.1]], dtype=torch.float64)
    )
    assert category_logits(torch.tensor([[math.nan, 0.0]]), {"x": [0], "y": [1]}).isnan().all()


def test_a_conflicting_set_asked_for_accuracy_is_scored_by_shape(
    probed, lines, tmp_path, categories
):
    root = tmp_path / "conflict"
    make_images(
        {root / "airplane" / "airplane1-bear2.png": "a", root / "bear" / "bear1-airplane3.png": "c"}
    )
    assert evaluate(probed, f"by-shape={root}:accuracy", categories=categories) == 0
    assert [row["kind"] for row in lines()] == ["accuracy", "per_class", "embedding"] and lines()[
        0
    ]["top1"] == 100


def test_present_categories_only(probed, lines, tmp_path, categories):
    root = tmp_path / "two"
    make_images({root / "airplane" / "airplane0.png": "c", root / "bicycle" / "bicycle0.png": "d"})
    assert evaluate(probed, f"two={root}", categories=categories, arg_max="present") == 0
    row = lines()[0]
    assert row["chance"] == 50 and row["classes"] == 2 and row["arg_max"] == "present"


def test_coverage_tells_images_and_chance(probed, lines, tmp_path, categories, capsys):
    root = tmp_path / "conflict"
    make_images(
        {
            root / "airplane" / "airplane1-bear2.png": "a",
            root / "airplane" / "airplane1-airplane2.png": "a",
            root / "bear" / "bear1-bicycle1.png": "d",
            root / "bear" / "bear1-bird1.png": "c",
            root / "bicycle" / "bicycle1-bicycle2.png": "d",
            root / "bird" / "bird1-airplane2.png": "a",
            root / "bear" / "bear2-truck1.png": "c",
        }
    )
    assert evaluate(probed, f"cues={root}", categories=categories) == 0
    row = lines()[-1]
    assert (row["images"], row["without_conflict"]) == (2, 2)
    assert row["chance_coverage"] == pytest.approx(200 / 3)
    printed = capsys.readouterr().out
    assert (
        "coverage is over the 2 images with a conflict of cues; 2 more have none and do not count; "
        "by chance 66.7%" in printed
    )
    assert "chance coverage 66.7" in printed


# --- sessions -------------------------------------------------------------------------------------


def session_names():
    shown = [("airplane", "a"), ("bear", "c"), ("bicycle", "c"), ("bear", "a"), ("bird", "a")]
    return {
        f"{number:04}_con_dnn_{condition}_{name}_10_n0_{number}.png": look
        for number, (condition, (name, look)) in enumerate(
            (c, s) for c in ("c05", "c100") for s in shown
        )
    }


@pytest.mark.parametrize("below", ["", "dnn", "dnn/session-1"])
def test_sessions_tell_the_category(probed, lines, tmp_path, categories, below):
    root = tmp_path / "contrast"
    make_images({root / "dnn" / "session-1" / name: look for name, look in session_names().items()})
    (root / "dnn" / "session-1" / "notes.txt").write_text("no image")
    name = f"contrast{below.replace('/', '-')}"
    assert evaluate(probed, f"{name}={root / below}", categories=categories) == 0
    row = lines()[0]
    assert row["images"] == 8 and row["classes"] == 3 and row["top1"] == pytest.approx(50)
    assert row["by_condition"] == {
        "c05": {"top1": 50.0, "images": 4},
        "c100": {"top1": 50.0, "images": 4},
    }


def test_several_sessions_and_loose_images(tmp_path):
    names = list(session_names())
    make_images(
        {
            tmp_path / "s" / "dnn" / f"session-{1 + i % 2}" / name: "a"
            for i, name in enumerate(names)
        }
    )
    folder, sessions = find_sessions(tmp_path / "s")
    assert (
        sessions == ["session-1", "session-2"]
        and len(session_sources(folder, sessions).names) == 10
    )
    make_images(dict.fromkeys((tmp_path / "loose" / name for name in names), "a"))
    sources = session_sources(*find_sessions(tmp_path / "loose"))
    assert sources.classes == ["airplane", "bear", "bicycle", "bird"] and sources.labels[:3] == [
        0,
        1,
        2,
    ]
    assert conditions_of(sources.names) == ["c05"] * 5 + ["c100"] * 5
    assert conditions_of([*sources.names, "cat/0.png"]) is None is conditions_of(None)
    make_images({tmp_path / "classes" / "cat" / "1.png": "a"})
    assert find_sessions(tmp_path / "classes") is None
    make_images({tmp_path / "s" / "dnn" / "session-1" / "other.png": "a"})
    with pytest.raises(ConfigError, match=r"other\.png tells no category"):
        session_sources(folder, sessions)
    (tmp_path / "s" / "dnn" / "session-3").mkdir()
    with pytest.raises(ConfigError, match="session-3 holds no images"):
        session_sources(folder, ["session-3"])


# --- numbered classes
# -------------------------------------------------------------------------------------------------


def test_the_lists_of_classes_are_the_published_ones():
    assert len(set(IMAGENET)) == 1000 and list(IMAGENET) == sorted(IMAGENET)
    assert set(IMAGENET100) < set(IMAGENET)
    assert {wnid for ids in CATEGORIES_16.values() for wnid in ids} < set(IMAGENET)
    assert list(CIFAR10) == sorted(CIFAR10) and len(CIFAR10) == 10
    assert list(CIFAR100) == sorted(CIFAR100) and len(set(CIFAR100)) == 100
    timm = pytest.importorskip("timm.data")
    assert list(IMAGENET) == timm.ImageNetInfo().label_names()


def test_numbers_are_places_in_a_known_order_and_never_of_sorted_text():
    assert numbered_names(["0", "1", "10"], ["n01440764"]) == (
        "ImageNet",
        [IMAGENET[0], IMAGENET[1], IMAGENET[10]],
    )
    assert numbered_names(["000", "009"], ["bird"]) == ("CIFAR-10", ["airplane", "truck"])
    assert numbered_names(["0", "99"], ["apple", "worm"]) == ("CIFAR-100", ["apple", "worm"])
    for numbers, classes in (
        (["0", "1000"], IMAGENET),  # no place of ImageNet's
        (["0", "1"], ["cat", "dog", "zebra crossing"]),  # of no known collection
        (["0", "1"], ["0", "1"]),  # joined as they are
        (["0", "n1"], IMAGENET),
        (["0"], None),
        ([], IMAGENET),
    ):
        assert numbered_names(numbers, classes) is None


@pytest.fixture(scope="module")
def of_imagenet(tmp_path_factory):
    """A run with a classifier of three of ImageNet's classes that look unlike each other."""
    names = tuple(IMAGENET[place] for place in (2, 10, 999))
    assert len({sum(map(ord, name)) % 8 for name in names}) == 3
    return make_probed(tmp_path_factory.mktemp("imagenet"), names)


def test_numbered_folders_give_the_figures_of_named_ones(of_imagenet, tmp_path, capsys):
    places = {2: 3, 10: 2, 999: 2, 1: 2}
    for numbered in (True, False):
        root = tmp_path / ("v2" if numbered else "named")
        files = {n: root / (str(n) if numbered else IMAGENET[n]) for n in places}
        make_images(
            {
                files[n] / f"{i}.png": IMAGENET[n]
                for n, count in places.items()
                for i in range(count)
            }
        )
    assert evaluate(of_imagenet, f"v2={tmp_path / 'v2'},named={tmp_path / 'named'}") == 0
    rows = [
        json.loads(line) for line in (of_imagenet / "evaluation.jsonl").read_text().splitlines()
    ]
    found = {row["set"]: row for row in rows if row["kind"] == "accuracy"}
    assert (
        found["v2"]["images"] == found["named"]["images"] == 7
        and found["v2"]["top1"] == found["named"]["top1"] == 100
    )
    assert (
        "its classes are numbers, taken as places in ImageNet's order (1 is n01443537, 999 is "
        "n15075141)" in capsys.readouterr().out
    )


def test_numbers_of_an_unknown_collection_are_refused(probed, tmp_path, capsys):
    make_images({tmp_path / "set" / str(n) / "0.png": "a" for n in range(4)})
    assert evaluate(probed, f"numbers={tmp_path / 'set'}") == 1
    assert "holds 4 folders (0, 1, 2, …), none of which" in capsys.readouterr().err
    with BetonReader(make_beton(tmp_path / "n.beton", 4, classes=("0", "1"))) as reader:
        with pytest.raises(
            ConfigError, match=r"names its classes by numbers .* rename the folders"
        ):
            class_map(reader, ["a", "b"], 2)
        assert class_map(reader, ["1", "0", "2"], 3).tolist() == [1, 0]


# --- images that are read unresized
# -----------------------------------------------------------------------------------


def raw_beton(path, pixels, names=None, classes=("a", "b")):
    with BetonWriter(path, classes=list(classes)) as writer:
        for i, image in enumerate(pixels):
            writer.add_raw(image, label=i % len(classes), name=None if names is None else names[i])
    return path


def test_an_image_of_the_networks_size_is_read_pixel_for_pixel(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    config = load_run(make_run(tmp_path / "run")).config.replace(eval_resize=40)
    with BetonReader(raw_beton(tmp_path / "x.beton", pixels)) as reader:
        loader = central_crops(
            reader, config, resize=view_of("none", False, config).side, threads=1
        )
        [batch] = list(loader)
        loader.close()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (torch.from_numpy(pixels).float() / 255 - mean) / std
    torch.testing.assert_close(batch.images, expected.permute(0, 3, 1, 2), atol=1e-5, rtol=0)


def test_views_and_which_sets_are_published_at_their_size(tmp_path):
    config = load_run(make_run(tmp_path / "run")).config.replace(eval_resize=40)
    assert view_of(None, False, config) == (40, 40, "run")
    assert view_of(None, True, config) == (SIZE, "none", "published")
    assert view_of("none", False, config) == view_of("none", True, config) == (SIZE, "none", "hand")
    assert view_of(36, True, config) == (36, 36, "hand")
    with pytest.raises(ConfigError, match="resize=31 is below the 32 px"):
        view_of(31, False, config)
    full, other, small = (
        np.zeros((2, *side, 3), np.uint8) for side in ((224, 224), (224, 223), (96, 96))
    )
    session = ["0001_ske_dnn_0_airplane_00_x.png", "0002_ske_dnn_0_bear_00_y.png"]
    for number, (name, expected, options) in enumerate(
        [
            ("photos", False, {}),
            ("cousins", False, {}),
            ("SIN", True, {}),
            ("stylized-imagenet", True, {}),
            ("edges", True, {"classes": ("airplane", "bear")}),
            ("edges", False, {"classes": ("airplane", "house")}),
            ("sketch", True, {"names": session}),
            ("cues", True, {"names": ["a/a1-b2.png", "b/b1-a1.png"]}),
        ]
    ):
        cues = name == "cues"
        for pixels in (full, other, small):
            with BetonReader(raw_beton(tmp_path / f"{number}.beton", pixels, **options)) as reader:
                whole = pixels is full or (pixels is small and cues)
                assert is_published("x", f"{name}/val", reader) == (expected and whole)
                assert is_published(name, "x.beton", reader) == (expected and whole)


def test_a_made_set_is_read_as_its_kin(tmp_path):
    """Stencils of 224 px tell their textures by an int field: all of them get the run's crop."""
    with BetonWriter(
        tmp_path / "swapped.beton", ("label", "texture"), classes=["a", "b"]
    ) as writer:
        for label in (0, 1):
            writer.add_raw(np.zeros((224, 224, 3), np.uint8), label=label, texture=1 - label)
    with BetonReader(tmp_path / "swapped.beton") as reader:
        assert not is_published("swapped", "swapped.beton", reader)


def test_a_published_set_is_read_whole(probed, lines, tmp_path, categories, capsys):
    root, rng = tmp_path / "silhouettes", np.random.default_rng(0)
    for name, look in (("airplane", "a"), ("bear", "c")):
        (root / name).mkdir(parents=True)
        for i in range(4):
            (root / name / f"{name}{i}.png").write_bytes(saved(tinted(rng, look, 224), "PNG"))
    sets = f"silhouettes={root},whole={root}:resize=none,cropped={root}:resize=64"
    assert evaluate(probed, sets, categories=categories) == 0
    rows = {row["set"]: row for row in lines() if row["kind"] == "accuracy"}
    assert [(row["resize"], row["resize_by"]) for row in rows.values()] == [
        ("none", "published"),
        ("none", "hand"),
        (64, "hand"),
    ]
    printed = capsys.readouterr().out
    assert (
        "silhouettes: all images are 224×224 and read whole, scaled to the 32 px of the network, "
        "as others read such a set (resize=32 for the run's crop)." in printed
    )
    assert (
        "whole: read whole, scaled to the 32 px" in printed
        and "cropped: shorter side scaled to 64 px" in printed
    )
    assert evaluate(probed, f"silhouettes={root}:resize=64", categories=categories) == 1
    assert (
        "holds figures of silhouettes with resize none, which those with resize 64 would replace"
        in capsys.readouterr().err
    )


def test_corruptions_show_the_images_as_the_clean_set_was(probed, lines, tmp_path, monkeypatch):
    seen, real = [], features.EvalLoader

    def recorded(*args, **options):
        seen.append(options["resize"])
        return real(*args, **options)

    monkeypatch.setattr(features, "EvalLoader", recorded)
    path = make_beton(tmp_path / "clean.beton", 4)
    assert evaluate(probed, f"clean={path}:resize=36", corruptions="on") == 0
    assert seen == [36, 36]
    shown = {row["kind"]: row["resize"] for row in lines() if "resize" in row}
    assert shown["accuracy"] == shown["corruptions"] == 36


def test_features_of_one_view_are_not_taken_for_those_of_another(tmp_path):
    run, said = make_run(tmp_path / "run"), []
    loaded = load_run(run)
    loaded = dataclasses.replace(loaded, config=loaded.config.replace(eval_resize=40))
    with BetonReader(make_beton(tmp_path / "x.beton", 4)) as reader:
        whole = features_of(run, loaded, reader, threads=1, report=said.append, resize=SIZE)
        cropped = features_of(run, loaded, reader, threads=1, report=said.append)
        assert not torch.allclose(whole.features, cropped.features) and not any(
            "stored before" in line for line in said
        )
        again = features_of(run, loaded, reader, threads=1, report=said.append, resize=SIZE)
        assert torch.equal(again.features, whole.features) and "stored before" in said[-1]
