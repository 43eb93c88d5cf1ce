"""Features: equal to the encoder on Pillow's central crop, in file order, extracted once for each
(weights, file, transform)."""

import io
import os

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fastneg.config import ConfigError
from fastneg.data import BetonError, BetonReader, BetonWriter
from fastneg.data.load.batch import EvalBatch
from fastneg.evaluation.features import features_of
from fastneg.recipes.presets import tiny_cpu
from fastneg.runs import embed as module
from fastneg.runs.embed import extract_features, uses_autocast
from fastneg.runs.load import load_run
from helpers.encoder_runs import make_run, silent
from helpers.images import photo
from helpers.tinted import SIZE, damage, make_beton


@pytest.fixture
def parts(tmp_path):
    run = make_run(tmp_path / "run")
    with BetonReader(make_beton(tmp_path / "data.beton")) as reader:
        yield run, load_run(run), reader


def test_features_are_the_encoder_on_the_central_crop(parts):
    run, loaded, reader = parts
    found = features_of(run, loaded, reader, threads=1, report=silent)
    assert found.features.shape == (24, 128) and found.features.dtype == torch.float32
    assert found.labels.tolist() == [i % 4 for i in range(24)] and found.index.tolist() == list(
        range(24)
    )
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for i in (0, 5, 23):
        image = Image.open(io.BytesIO(reader.jpeg(i).tobytes()))
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        crop = image.resize(
            (SIZE, SIZE), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
        )
        pixels = (torch.from_numpy(np.array(crop)).float() / 255 - mean) / std
        with torch.no_grad():
            expected = loaded.backbone(pixels.permute(2, 0, 1)[None])[0]
        error = (found.features[i] - expected).norm() / expected.norm()
        assert error < 0.02, f"image {i}: {error}"
        others = (found.features - expected).norm(dim=1)
        assert others.argmin() == i


def test_the_same_features_are_read_from_disk(parts, monkeypatch):
    run, loaded, reader = parts
    said = []
    first = features_of(run, loaded, reader, threads=1, report=said.append)
    monkeypatch.setattr(module, "EvalLoader", None)
    second = features_of(run, loaded, reader, threads=1, report=said.append)
    assert all(
        torch.equal(getattr(first, name), getattr(second, name))
        for name in ("features", "labels", "index")
    )
    assert "stored before" in said[1]
    assert not list((run / "features").glob(".*"))


@pytest.mark.parametrize("change", ["weights", "data", "transform", "time", "forward"])
def test_any_change_extracts_anew(parts, tmp_path, change):
    run, loaded, reader = parts
    first = features_of(run, loaded, reader, threads=1, report=silent)
    said, same = [], change == "time"
    files = 1 if change == "forward" else 2
    if change == "weights":
        loaded = load_run(make_run(run, seed=1, step=2))
    elif change == "transform":
        loaded = load_run(make_run(run, step=2, precision="bf16"))
    elif change == "forward":  # of the same weights, as after an edit of an own network's code
        forward = loaded.backbone.forward
        loaded.backbone.forward = lambda images: 2 * forward(images)
    elif change == "data":
        reader = BetonReader(make_beton(reader.path, seed=5))
    else:
        os.utime(reader.path, ns=(1, 1))
    second = features_of(run, loaded, reader, threads=1, report=said.append)
    assert "stored before" not in said[0]
    assert torch.equal(first.features, second.features) == same
    assert len(list((run / "features").glob("*.pt"))) == files
    assert ("computes something else now" in said[0]) == (change == "forward")


@pytest.mark.parametrize("checksums", [True, False])
def test_other_content_of_the_same_name_size_and_time_is_noticed(tmp_path, checksums):
    """Two images change places, and the file gets its old time back: only the checksums in its
    metadata tell, or, as in FFCV's files of raw pixels, nothing but the time of the change."""
    rng, run, path = np.random.default_rng(0), make_run(tmp_path / "run"), tmp_path / "data.beton"
    images, found = [photo(rng, 40, 48) for _ in range(4)], []
    for order in ((0, 1, 2, 3), (1, 0, 2, 3)):
        with BetonWriter(path, classes=["a"], checksums=checksums) as writer:
            for i in order:
                writer.add_raw(np.asarray(images[i]), label=0)
        os.utime(path, ns=(1, 1))
        with BetonReader(path) as reader:
            found.append(
                (
                    path.stat().st_size,
                    features_of(run, load_run(run), reader, threads=1, report=silent).features,
                )
            )
    assert found[0][0] == found[1][0] and torch.equal(found[0][1][[1, 0, 2, 3]], found[1][1])


def test_a_damaged_store_is_told_and_replaced(parts):
    run, loaded, reader = parts
    first = features_of(run, loaded, reader, threads=1, report=silent)
    [path] = (run / "features").glob("*.pt")
    path.write_bytes(path.read_bytes()[:100])
    said = []
    again = features_of(run, loaded, reader, threads=1, report=said.append)
    assert "cannot be used" in said[0] and torch.equal(first.features, again.features)
    features_of(run, loaded, reader, threads=1, report=said.append)
    assert "stored before" in said[-1]


def test_images_that_cannot_be_used_are_left_out_and_told(parts, tmp_path):
    run, _, reader = parts
    whole = features_of(run, load_run(run), reader, threads=1, report=silent)
    path, said, kept = (
        make_beton(tmp_path / "damaged.beton"),
        [],
        [i for i in range(24) if i not in (3, 9)],
    )
    damage(path, 3, 9)
    lax = load_run(make_run(tmp_path / "lax", max_bad_share=0.1))
    with BetonReader(path) as damaged:
        for _ in range(2):  # extracted, and stored before
            found = features_of(tmp_path / "lax", lax, damaged, threads=1, report=said.append)
            assert found.index.tolist() == kept and found.labels.tolist() == [i % 4 for i in kept]
            torch.testing.assert_close(found.features, whole.features[kept])
            assert found.skipped.keys() == {3, 9} and "cannot be decoded" in found.skipped[9]
            assert (
                "2 of 24 images cannot be used and are LEFT OUT" in said[-1]
                and "sample 3" in said[-1]
            )
        with pytest.raises(
            BetonError, match=r"2 of 24 samples cannot be used, 0.001 of them may be"
        ):
            features_of(run, load_run(run), damaged, threads=1, report=silent)


def test_bfloat16_where_the_run_says_so():
    config = tiny_cpu()
    assert not uses_autocast(config, "cpu") and uses_autocast(config, "cuda")
    assert uses_autocast(config.replace(precision="bf16"), "cpu") and not uses_autocast(
        config.replace(precision="fp32"), "cuda"
    )


def batches():
    images = torch.randn(5, 3, 4, 4)
    return [
        EvalBatch(images[:3], torch.arange(3), None),
        EvalBatch(images[3:], torch.arange(3, 5), None),
    ]


def test_a_file_without_labels_has_features_too():
    found = extract_features(nn.Flatten().eval(), batches(), "cpu")
    assert (
        found.features.shape == (5, 48)
        and found.labels is None
        and found.index.tolist() == [0, 1, 2, 3, 4]
    )


def test_what_cannot_be_used_is_refused():
    with pytest.raises(ValueError, match="training mode"):
        extract_features(nn.Flatten().train(), batches(), "cpu")
    broken = batches()
    broken[1].images[1, 0, 0, 0] = float("nan")
    with pytest.raises(ConfigError, match="1 of 5 images"):
        extract_features(nn.Flatten().eval(), broken, "cpu")
