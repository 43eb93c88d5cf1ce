"""Commands that read .beton files take URLs of them, as pretrain --data does; what cannot be by URL
is refused in words."""

import fsspec
import numpy as np
import pytest

from fastneg.data.beton import local_copy
from fastneg.recipes.cli import main
from fastneg.runs.results import results_of
from helpers.encoder_runs import make_run
from helpers.report_runs import page_of
from helpers.tinted import damage, make_beton

COMPUTE = ["--device", "cpu", "--threads", "1"]


@pytest.fixture
def place(tmp_path, monkeypatch, request):
    """(URL of a folder with train.beton, val.beton and an image, its fsspec file system)"""
    monkeypatch.setenv(local_copy.CACHE_VARIABLE, str(tmp_path / "usual"))
    monkeypatch.chdir(tmp_path)
    files, root = fsspec.filesystem("memory"), f"/{request.node.name.partition('[')[0]}"
    make_run(tmp_path / "run", cache_dir=str(tmp_path / "of_run"))
    for name, seed in (("train", 0), ("val", 1)):
        make_beton(tmp_path / f"{name}.beton", 16, seed=seed)
        for ending in (".beton", ".beton.json"):
            files.put(str(tmp_path / f"{name}{ending}"), f"{root}/{name}{ending}")
    files.pipe(f"{root}/photos/cat/1.jpg", b"\xff\xd8")
    yield f"memory:/{root}", files
    files.rm(root, recursive=True)


def test_every_command_that_reads_a_file_takes_its_url(place, tmp_path, monkeypatch, capsys):
    root, _ = place
    copied = []
    plain = local_copy._copy
    monkeypatch.setattr(
        local_copy, "_copy", lambda *given: copied.append(given[2]) or plain(*given)
    )
    sets = [f"--train={root}/train.beton", f"--val={root}/val.beton"]
    run = ["--run", "run", *COMPUTE]
    for line in (
        ["linear", *run, *sets, "--mode=features", "--epochs=1"],
        ["knn", *run, *sets],
        ["finetune", *run, *sets, "--epochs=1"],
        ["evaluate", *run, f"--sets=val={root}/val.beton,both={root}/*.beton"],
        ["embed", "f.npz", *run, f"--data={root}/val.beton"],
    ):
        assert main(line) == 0, capsys.readouterr().err
    assert sorted(copied) == [f"{root}/train.beton", f"{root}/val.beton"]
    assert not (tmp_path / "usual").exists()  # the run's --cache_dir
    found = {(row["kind"], row["set"]): row for row in results_of("run")}
    assert found["linear", "val"]["path"] == f"{root}/val.beton"
    assert found["accuracy", "val"]["images"] == 16 and found["accuracy", "both"]["images"] == 32
    with np.load("f.npz") as features:
        assert features["features"].shape == (16, 128)
    assert "no example images" not in page_of(tmp_path, "run").text
    options = ["--preset=tiny_cpu", "--image_size=32", "--cache_dir=of_show"]
    assert main(["show", f"{root}/val.beton", "s.png", *options, *COMPUTE]) == 0
    assert list((tmp_path / "of_show").rglob("val.beton"))
    assert main(["knn", *run, *sets, "--cache_dir=given"]) == 0
    assert len(list((tmp_path / "given").rglob("*.beton"))) == 2


def test_verify_lists_the_bad_samples_of_a_url(place, tmp_path, capsys):
    root, files = place
    damage(tmp_path / "val.beton", 3, 5)
    files.put(str(tmp_path / "val.beton"), f"{root.removeprefix('memory:/')}/val.beton")
    line = ["verify", f"{root}/val.beton", "--workers=1", "--cache_dir=here"]
    assert main(line) == 1
    said = capsys.readouterr().out
    assert "16 samples, 2 bad" in said and "sample 3" in said and "sample 5" in said
    # What verify has copied is no sound file for anyone else.
    sets = [f"--train={root}/val.beton", f"--val={root}/val.beton"]
    assert main(["knn", "--run=run", *sets, "--cache_dir=here", *COMPUTE]) == 1
    assert "is damaged" in capsys.readouterr().err
    assert not list((tmp_path / "here").rglob("*.beton"))


def test_what_is_no_file_of_ours_is_refused_before_it_is_copied(place, tmp_path, capsys):
    root, files = place
    make_run(tmp_path / "run", step=2)
    main(["linear", "--run=run", "--train=train.beton", "--val=val.beton", "--mode=lbfgs"])
    inner = root.removeprefix("memory:/")
    files.pipe(f"{inner}/photos.tar", b"cat/1.jpg" + bytes(500))
    capsys.readouterr()
    for url, said, code in (
        ("photos", "is a folder: a .beton file was expected. fastneg encode makes one", 2),
        ("photos.tar", "is no .beton file, it begins with b'cat/1.jpg", 1),
        ("none.beton", "cannot be read or written: there is no file /", 1),
        ("photos:corruptions", "of those .beton files alone are read, without the metric corr", 2),
    ):
        line = ["evaluate", "--run=run", f"--sets=x={root}/{url}", "--cache_dir=here", *COMPUTE]
        assert main(line) == code
        assert said in capsys.readouterr().err
    assert not [path for path in (tmp_path / "here").rglob("*") if "photos" in path.name]
    (tmp_path / "file").write_bytes(b"")
    more = [f"--sets=x={root}/val.beton", "--cache_dir=file/x", *COMPUTE]
    assert main(["evaluate", "--run=run", *more]) == 1
    assert "Name another --cache_dir" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["embed", "s3://b/f.npz", "--run=run", "--data=val.beton"], "OUT is s3://b/f.npz, a URL"),
        (["show", "val.beton", "s3://b/s.png"], "OUT is s3://b/s.png, a URL"),
        (["export", "s3://b/w.pth", "--run=run"], "OUT is s3://b/w.pth, a URL"),
        (["stencils", "s3://b/set"], "OUT is s3:/"),
        (["demo", "--out=s3://b/d"], "--out is s3:/"),
        (["study", "--size=tiny", "--out=s3://b/d"], "--out is s3:/"),
        (["import", "val.beton", "s3://b/run"], "RUN is s3:/"),
        (["import", "s3://b/w.pth", "imported"], "it is a URL: copy the file"),
        (["textures", "s3://b/photos", "out"], "SRC is s3://b/photos, a URL"),
        (["textures", "s3://b/photos", "out", "--dry_run"], "a URL, which is not taken"),
        (["pretrain", "--preset=tiny_cpu", "--data=val.beton", "--out=s3://b/r"], "--out is s3:/"),
    ],
)
def test_other_urls_are_refused(place, tmp_path, line, said, capsys):
    before = sorted(tmp_path.iterdir())
    assert main(line) in (1, 2)
    assert said in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
