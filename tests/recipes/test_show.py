"""fastneg show draws what a run's first step gets, bit for bit."""

import base64
import contextlib
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from fastneg.config.tools import show_config
from fastneg.data import BetonReader
from fastneg.recipes.arguments import build_config
from fastneg.recipes.cli import main
from fastneg.recipes.show import first_batch
from fastneg.runs.gallery import to_pixels
from fastneg.training.trainer import Trainer, pretrain
from helpers.pretraining import ALONE, settings

KINDS = "patch,texture,blur,random_image"


def pictures(path):
    """[(caption, pixels)] of an .html file."""
    text = path.read_text()
    found = re.findall(
        r'src="data:image/png;base64,([^"]+)".*?<figcaption>(.*?)</figcaption>', text
    )
    return [
        (caption, np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))))
        for data, caption in found
    ]


@pytest.fixture
def run(beton, tmp_path):
    config = settings(beton, tmp_path / "run", negatives=KINDS, negatives_per_query=2, epochs=1)
    pretrain(config, stop_after=1)
    return config


def test_a_run_shows_its_first_batch(run, tmp_path):
    assert (
        main(["show", run.out, str(tmp_path / "new/o.html"), "--images", "3", "--device=cpu"]) == 0
    )
    again = run.replace(out=str(tmp_path / "again"))
    with contextlib.ExitStack() as stack:
        trainer = Trainer(again, ALONE, stack)
        batch = next(iter(trainer.loader.epoch(0)))
        negatives = trainer.draw(batch)[1]
    with BetonReader(run.data) as reader:
        same, drawn, texts = first_batch(run, reader, ALONE, 1)
    assert torch.equal(same.query, batch.query) and torch.equal(same.key, batch.key)
    assert torch.equal(drawn, negatives) and [len(row) for row in texts] == [8] * 8
    shown = pictures(tmp_path / "new/o.html")
    assert len(shown) == 3 * 11
    for i in range(3):
        row = shown[11 * i : 11 * (i + 1)]
        views = torch.cat([batch.query[i : i + 1], batch.key[i : i + 1], negatives[i]])
        for (_, pixels), expected in zip(row[1:], to_pixels(views), strict=True):
            assert np.array_equal(pixels, expected)
        assert [caption for caption, _ in row[:3]][1:] == ["query", "key"]
        assert [caption for caption, _ in row[3:]] == texts[i]


def test_sizes_are_those_of_the_negatives(run):
    with BetonReader(run.data) as reader:
        batch, negatives, texts = first_batch(run, reader, ALONE, 1)
    for i, row in enumerate(texts):
        for negative, text in zip(negatives[i, :2], row[:2], strict=True):
            side = int(re.fullmatch(r"patch: patches of (\d+) px", text)[1])
            corner = negative[:, :side, :side]  # a tile is a window of the query
            windows = batch.query[i].unfold(1, side, 1).unfold(2, side, 1)
            assert (windows == corner[:, None, None]).all(0).all(-1).all(-1).any()
        assert row[2] == "texture: blocks of 5 px from 14 px"
        assert all(re.fullmatch(r"blur: sigma \d\.\d px", text) for text in row[4:6])
        for negative, text in zip(negatives[i, 6:], row[6:], strict=True):
            index = int(re.fullmatch(r"random_image: image (\d+)", text)[1])
            assert torch.equal(negative, batch.query[batch.index.tolist().index(index)])


def test_a_file_is_shown_by_a_preset(beton, tmp_path, capsys):
    out = tmp_path / "o.png"
    flags = ["--preset", "tiny_cpu", "--image_size", "32", "--eval_resize", "32", "--threads=1"]
    flags += ["--patch_min=4", "--patch_max=16"]
    assert main(["show", str(beton), str(out), *flags]) == 0
    assert "holds 40 images: one batch of them all" in capsys.readouterr().out
    page = Image.open(out)
    assert page.format == "PNG" and page.width > 4 * 112 and page.height > 8 * 112
    config = build_config("show", [str(beton), "o.png", *flags])
    assert isinstance(config, show_config()) and config.settings().data == str(beton)


def test_what_cannot_be_shown_is_refused(run, beton, tmp_path, capsys):
    for words, message in (
        ([beton, "o.jpg"], "ends in .png or .html"),
        ([run.out, "o.png", "--preset", "tiny_cpu"], "has its own settings"),
        ([tmp_path, "o.png"], "no run"),
        ([beton, "o.png", "--data", "x"], "is what is shown"),
        ([beton, "o.png", "--preset", "tiny"], "did you mean tiny_cpu"),
        ([run.out, f"{run.out}/gallery/o.png"], "where the run keeps its own files"),
    ):
        assert main(["show", *map(str, words)]) == 2
        assert message in capsys.readouterr().err
