"""fastneg embed: the file, the picture in the report, and what is refused."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import fastneg
from fastneg.data import BetonReader
from fastneg.recipes.cli import main
from fastneg.recipes.embed import embed_output
from helpers.encoder_runs import make_run
from helpers.report_runs import page_of
from helpers.tinted import damage, make_beton


@pytest.fixture
def parts(tmp_path):
    run = make_run(tmp_path / "run")
    return run, make_beton(tmp_path / "data.beton")


def embedded(run, data, out, *more):
    return main(
        ["embed", str(out), "--run", str(run), "--data", str(data), "--threads", "1", *more]
    )


def test_it_writes_what_embed_gives(parts, tmp_path, capsys):
    run, data = parts
    assert embedded(run, data, tmp_path / "new/f.npz", "--batch_size", "7") == 0
    assert "24 × 128 features" in capsys.readouterr().out
    loaded = fastneg.load_run(run)
    out = loaded.embed(data, threads=1)
    with np.load(tmp_path / "new/f.npz") as found, BetonReader(data) as reader:
        assert np.allclose(found["features"], out.features, atol=1e-5)
        assert np.array_equal(found["labels"], out.labels)
        assert ("names" in found) == (reader.names is not None)
        about = json.loads(str(found["about"]))
    assert about["weights_sha256"] == loaded.digest and about["data"] == [str(data)]
    assert not (run / "features").exists()


def test_a_picture_goes_into_the_report(parts, tmp_path, capsys):
    run, data = parts
    damage(data, 5)
    options = ["--picture", "pca", "--set", "mine"]
    assert embedded(run, data, tmp_path / "f.parquet", *options) == 1  # none may be bad
    assert "1 of 24 samples cannot be used" in capsys.readouterr().err
    assert not (tmp_path / "f.parquet").exists()
    make_beton(data)
    assert embedded(run, data, tmp_path / "f.parquet", *options) == 0
    assert len(pq.read_table(tmp_path / "f.parquet")) == 24
    page = page_of(tmp_path, str(run))
    assert "Embedding, mine" in page.text
    assert "24 images by the two principal components of their features." in page.text


def test_what_cannot_be_is_refused_before_the_work(parts, tmp_path, capsys):
    run, data = parts
    for out, more, message in (
        (tmp_path / "f.csv", (), "ends in .npz or .parquet"),
        (data, (), "which is an input"),
        (run / "checkpoints" / "f.npz", (), "where the run keeps its own files"),
        (tmp_path / "f.npz", ("--set", "x"), "no effect without --picture"),
        (tmp_path / "f.npz", ("--resize", "16"), "below the 32 px"),
    ):
        assert embedded(run, data, out, *more) == 2
        assert message in capsys.readouterr().err
    assert BetonReader(data).labels is not None and not (tmp_path / "f.npz").exists()
    assert callable(embed_output)
