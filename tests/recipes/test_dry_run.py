"""--dry_run says what a command would do, and does nothing."""

import os

import pytest
import torch

from fastneg.config import ConfigError
from fastneg.data import BetonReader
from fastneg.data.beton.local_copy import CACHE_VARIABLE
from fastneg.recipes.cli import main
from fastneg.recipes.commands import COMMANDS
from fastneg.recipes.dry_run import PLANS, take_dry_run
from helpers.encoder_runs import make_run
from helpers.http_files import served
from helpers.images import jpeg, photo
from helpers.pretraining import settings
from helpers.tinted import make_beton


def tree(folder):
    """{path: (bytes, time of the last change)} of all that lies below a folder."""
    found = [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]
    return {path: (os.path.getsize(path), os.stat(path).st_mtime_ns) for path in found}


@pytest.fixture
def parts(beton, tmp_path):
    import numpy as np

    make_run(tmp_path / "run")
    (tmp_path / "run" / "linear.pt").write_bytes(b"")
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "a" / "1.jpg").write_bytes(jpeg(photo(np.random.default_rng(0), 40, 40)))
    torch.save({}, tmp_path / "weights.pth")
    return beton, tmp_path


def words(name, data, folder):
    run, out = f"--run={folder}/run", f"{folder}/out"
    labelled = [run, f"--train={data}", f"--val={data}"]
    given = {
        "demo": [f"--out={out}"],
        "encode": [f"{folder}/photos", f"{out}.beton"],
        "textures": [f"{folder}/photos", out],
        "verify": [str(data)],
        "import": [f"{folder}/weights.pth", out],
        "export": [f"{out}.pth", run],
        "linear": labelled,
        "finetune": labelled,
        "knn": labelled,
        "evaluate": [run, f"--sets=x={data}"],
        "embed": [f"{out}.npz", run, f"--data={data}", "--picture=pca"],
        "show": [str(data), f"{out}.png"],
        "report": [f"{folder}/run", f"--out={out}.html"],
        "bench": ["order", f"--json={out}.json"],
        "stencils": [out],
        "study": [f"--out={out}", "--size=tiny"],
        "presets": [],
        "completion": ["bash"],
    }
    return [name, *given[name], "--dry_run"]


@pytest.mark.parametrize("name", PLANS)
def test_nothing_is_written(name, parts, capsys):
    data, folder = parts
    before = tree(folder), tree(data.parent)
    assert main(words(name, data, folder)) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Dry run: fastneg {name} is not run, nothing is written.")
    assert (tree(folder), tree(data.parent)) == before
    reads, writes = (said.partition(f"\n{title}\n")[2] for title in ("Reads:", "Would write:"))
    if str(data) in " ".join(words(name, data, folder)) and name != "evaluate":
        assert f"{data}: 40 images, " in reads and ", 4 classes" in reads
    if name not in ("verify", "presets", "completion"):
        assert f"{folder}/" in writes


def test_every_command_takes_it():
    assert set(PLANS) | {"pretrain"} >= {*COMMANDS}


def test_what_the_command_would_refuse_is_refused(parts, capsys):
    data, folder = parts
    for line, message in (
        (["verify", f"{folder}/none.beton"], "none.beton"),
        (["knn", f"--run={folder}/none", f"--train={data}", f"--val={data}"], "none is missing"),
        (["embed", str(data), f"--run={folder}/run", f"--data={data}"], "is an input"),
        (["verify", str(data), "--wrong", "1"], "no flag --wrong"),
        (["report", f"{folder}/run", f"--out={folder}"], "a file to write was expected"),
        (["bench", "order", f"--json={folder}"], "--json is"),
        (["stencils", str(folder), "--sets=none"], "--sets has 'none'"),
        (["verify", str(data), "--dry_run=perhaps"], "--dry_run is 'perhaps'"),
    ):
        assert main([*line, "--dry_run"]) in (1, 2)
        assert message in capsys.readouterr().err


def test_urls_are_neither_copied_nor_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "site").mkdir()
    make_beton(tmp_path / "site" / "x.beton")
    with served(tmp_path / "site") as (url, asked):
        assert main(["verify", f"{url}/x.beton", "--dry_run"]) == 0
        assert "24 images" in capsys.readouterr().out and asked["/x.beton"] == 0
    assert not (tmp_path / "cache").exists()
    assert main(["encode", "s3://b/photos", "s3://b/x.beton", "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert "  s3://b/photos\nWould write:\n  s3://b/x.beton\n  s3://b/x.beton.json" in said


def test_it_is_taken_from_anywhere_in_the_line():
    assert take_dry_run(["a", "--dry-run", "--b", "1"]) == (True, ["a", "--b", "1"])
    assert take_dry_run(["--dry_run", "True", "a"]) == (True, ["a"])
    assert take_dry_run(["--dry_run=False", "a=b"]) == (False, ["a=b"])
    assert take_dry_run([]) == (False, [])
    with pytest.raises(ConfigError, match="write --dry_run"):
        take_dry_run(["--dry_run=1"])


def test_pretrain_tells_its_steps_and_writes_nothing(beton, tmp_path, capsys):
    config = settings(beton, tmp_path / "run", epochs=3)
    flags = [f"--{k}={v}" for k, v in config.as_dict().items() if v not in (None, "")]
    before = tree(tmp_path)
    assert main(["pretrain", "--preset=tiny_cpu", *flags, "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert "Steps: 5 an epoch of 8 images, 15 in all (3 epochs), on cpu." in said
    with BetonReader(beton) as reader:
        assert f"{beton}: {len(reader)} images" in said
    assert tree(tmp_path) == before and not (tmp_path / "run").exists()
