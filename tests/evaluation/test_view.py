"""Which images of a set are read unresized, and what their features are."""

import dataclasses

import numpy as np
import pytest
import torch

from fastneg.config import ConfigError, PretrainConfig
from fastneg.data import BetonReader, BetonWriter
from fastneg.evaluation.features import features_of
from fastneg.evaluation.sets.beton import BetonFiles
from fastneg.evaluation.sets.registry import published_view
from fastneg.evaluation.sets.stylized import Stylized
from fastneg.evaluation.view import chosen_view, whole_view
from fastneg.runs import embed as features
from fastneg.runs.embed import central_crops
from fastneg.runs.load import load_run
from helpers.encoder_runs import evaluate, make_run
from helpers.images import saved
from helpers.tinted import SIZE, make_beton, tinted


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
            reader, config, resize=chosen_view("none", None, config).side, threads=1
        )
        [batch] = list(loader)
        loader.close()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (torch.from_numpy(pixels).float() / 255 - mean) / std
    torch.testing.assert_close(batch.images, expected.permute(0, 3, 1, 2), atol=1e-5, rtol=0)


def is_published(name, path, reader):
    """Whether a .beton file is shown in a view of its own."""
    return published_view(BetonFiles(), name, path, reader, PretrainConfig()) is not None


def test_views_and_which_sets_are_published_at_their_size(tmp_path):
    config = load_run(make_run(tmp_path / "run")).config.replace(eval_resize=40)
    whole = whole_view(config)
    assert chosen_view(None, None, config) == (40, 40, "run")
    assert chosen_view(None, whole, config) == whole == (SIZE, "none", "published")
    for published in (None, whole):
        assert chosen_view("none", published, config) == (SIZE, "none", "hand")
    assert chosen_view(36, whole, config) == (36, 36, "hand")
    with pytest.raises(ConfigError, match="resize=31 is below the 32 px"):
        chosen_view(31, None, config)
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


@pytest.mark.parametrize(
    ("name", "path", "called"),
    [
        ("stylized", "x", True),
        ("x", "/data/SIN/val", True),
        ("x", "Stylised-IN/val", True),
        ("cousins", "x", False),
        ("x", "/stylized/a/b", False),
        ("basin", "x", False),
    ],
)
def test_what_is_called_stylized(name, path, called):
    assert Stylized().fits(name, path, None) == called


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
    with pytest.raises(ConfigError, match="silhouettes with resize none, which those with resize"):
        evaluate(probed, f"silhouettes={root}:resize=64", categories=categories)


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
