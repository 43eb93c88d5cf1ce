"""Sets that share images with the training set are told, wherever a figure comes from such a pair.

Serves fastneg.data.beton.overlap and fastneg.evaluation.shared.
"""

import json
import os
import shutil
import time

import numpy as np
import pytest

from fastneg.config import EvaluateConfig, FinetuneConfig, KnnConfig, LinearConfig, ReportConfig
from fastneg.data import BetonReader, BetonWriter, open_data
from fastneg.data.beton import overlap as module
from fastneg.data.beton.overlap import shared_images
from fastneg.recipes.evaluate import run_evaluate
from fastneg.recipes.finetune import run_finetune
from fastneg.recipes.knn import run_knn
from fastneg.recipes.linear import run_linear
from fastneg.report.page import write_report
from fastneg.training.trainer import pretrain
from helpers.encoder_runs import make_run
from helpers.images import jpeg, photo
from helpers.pretraining import rows, settings
from helpers.report_runs import Page
from helpers.tinted import make_beton

RNG = np.random.default_rng(0)
IMAGES = [photo(RNG, 20, 24) for _ in range(14)]


def write(path, chosen, raw=False, checksums=True):
    """A file of some of the IMAGES, as JPEGs or raw pixels."""
    with BetonWriter(path, checksums=checksums, page_size=4096) as writer:
        for i in chosen:
            add = (IMAGES[i],) if raw else (jpeg(IMAGES[i]), *IMAGES[i].shape[:2])
            (writer.add_raw if raw else writer.add)(*add, label=i % 2)
    return str(path)


def shared(train, val, **options):
    with open_data(train) as one, open_data(val) as other:
        return shared_images(one, other, **options).tolist()


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("checksums", [(True, True), (True, False), (False, True), (False, False)])
def test_images_are_found_with_and_without_checksums(tmp_path, raw, checksums):
    train = write(tmp_path / "a.beton", range(8), raw, checksums[0])
    val = write(tmp_path / "b.beton", [9, 3, 10, 0, 0, 7, 12], raw, checksums[1])
    assert shared(train, val) == [False, True, False, True, True, True, False]
    assert shared(train, val, train_at=[0, 1, 3], val_at=[1, 2, 5]) == [True, False, False]
    assert not any(
        shared(
            write(tmp_path / "c.beton", [8, 9], raw, checksums[0]),
            write(tmp_path / "d.beton", [10], raw),
        )
    )


@pytest.mark.parametrize("checksums", [True, False])
def test_several_files_are_one_set(tmp_path, checksums):
    for name, chosen in (("a", range(4)), ("b", range(4, 8)), ("c", [8, 9])):
        write(tmp_path / f"{name}.beton", chosen, checksums=checksums)
    write(tmp_path / "v.beton", [5, 11], checksums=checksums)
    names = {name: str(tmp_path / f"{name}.beton") for name in "abcv"}
    assert shared(f"{names['a']},{names['b']}", f"{names['c']},{names['v']}") == [
        False,
        False,
        True,
        False,
    ]
    assert (
        shared(f"{names['a']},{names['b']}", f"{names['b']},{names['c']}")
        == [True] * 4 + [False] * 2
    )


def test_the_same_file_is_known_without_reading_it(tmp_path, monkeypatch):
    train = write(tmp_path / "a.beton", range(6), raw=True, checksums=False)
    os.link(train, tmp_path / "link.beton")
    monkeypatch.setattr(module, "_crcs", None)
    for other in (train, str(tmp_path / "link.beton"), f"{tmp_path}/../{tmp_path.name}/a.beton"):
        assert shared(train, other) == [True] * 6


def test_a_picture_that_differs_in_one_byte_is_another(tmp_path):
    other = IMAGES[0].copy()
    other[0, 0, 0] ^= 1
    for name, image in (("a", IMAGES[0]), ("b", other)):
        with BetonWriter(tmp_path / f"{name}.beton", checksums=False) as writer:
            writer.add_raw(image, label=0)
    assert shared(str(tmp_path / "a.beton"), str(tmp_path / "b.beton")) == [False]


class Many:
    """1.3 million images with checksums, of which nothing can be read."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.checksums, self.stored_bytes = (
            rng.integers(0, 2**32, 1_300_000),
            rng.integers(10_000, 200_000, 1_300_000),
        )

    def __len__(self):
        return len(self.checksums)


def test_a_million_images_take_seconds():
    train, val = Many(0), Many(1)
    val.checksums[:7], val.stored_bytes[:7] = train.checksums[-7:], train.stored_bytes[-7:]
    val.checksums[7] = train.checksums[0]  # the size differs
    began = time.process_time()
    assert np.flatnonzero(shared_images(train, val)).tolist() == list(range(7))
    assert time.process_time() - began < 20  # about one


def lines(run):
    return [json.loads(line) for line in (run / "evaluation.jsonl").read_text().splitlines()]


@pytest.fixture
def sets(tmp_path):
    """A run, a training file, a copy of it, one that shares 6 of 12 images with it, and one that
    shares none."""
    run, train = make_run(tmp_path / "run"), make_beton(tmp_path / "train.beton", 24)
    shutil.copy(train, tmp_path / "copy.beton")
    clean = make_beton(tmp_path / "clean.beton", 12, seed=5)
    with (
        BetonReader(train) as one,
        BetonReader(clean) as two,
        BetonWriter(tmp_path / "half.beton", classes=list("abcd")) as writer,
    ):
        for i in range(12):
            source = (one, two)[i % 2]
            writer.add(source.jpeg(i), *source.sizes[i].tolist(), label=int(source.labels[i]))
    return run, *(str(tmp_path / f"{name}.beton") for name in ("train", "copy", "half", "clean"))


COMMANDS = {
    "linear": lambda run, train, val: run_linear(
        LinearConfig(str(run), train, val, mode="features", epochs=1, device="cpu", threads=1)
    ),
    "few_shot": lambda run, train, val: run_linear(
        LinearConfig(str(run), train, val, share=50.0, device="cpu", threads=1)
    ),
    "knn": lambda run, train, val: run_knn(
        KnnConfig(str(run), train, val, device="cpu", threads=1)
    ),
    "finetune": lambda run, train, val: run_finetune(
        FinetuneConfig(str(run), train, val, epochs=1, batch_size=12, device="cpu", threads=1)
    ),
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_every_probe_says_so(sets, kind, capsys):
    run, train, copy, half, clean = sets
    for val, count, total in ((train, 24, 24), (copy, 24, 24), (half, 6, 12), (clean, 0, 12)):
        assert COMMANDS[kind](run, train, val) == 0
        out = capsys.readouterr().out
        assert lines(run)[-1]["kind"] == kind and lines(run)[-1]["shared_with_train"] == count
        if count:
            assert (
                f"SHARED IMAGES: {count} of the {total} images of {val} are in {train} too" in out
            )
            assert f"; {count} IMAGES OF THE SET ARE IN THE TRAINING SET TOO (step-" in out
        else:
            assert "SHARED" not in out and "TRAINING SET TOO" not in out


def test_evaluate_compares_with_the_probes_training_set(sets, capsys, monkeypatch, tmp_path):
    run, train, copy, half, clean = sets
    monkeypatch.chdir(tmp_path)
    COMMANDS["linear"](run, "train.beton", clean)
    monkeypatch.chdir("/")  # the training file was named relative to another folder
    capsys.readouterr()
    evaluate = lambda sets, **options: run_evaluate(
        EvaluateConfig(str(run), sets, device="cpu", threads=1, **options)
    )
    assert evaluate(f"copy={copy},half={half},clean={clean}") == 0
    found = {(row["kind"], row["set"]): row.get("shared_with_train") for row in lines(run)}
    assert [found["accuracy", name] for name in ("copy", "half", "clean")] == [24, 6, 0]
    assert found["per_class", "half"] == 6
    out = capsys.readouterr().out
    assert (
        f"half: SHARED IMAGES: 6 of the 12 images of {half} are in train.beton too" in out
        and "clean: " not in out
    )
    os.remove(train)
    assert evaluate(f"half={half}") == 0
    assert lines(run)[-1]["shared_with_train"] is None
    assert (
        "half: whether the classifier was trained on images of it is not known: "
        in capsys.readouterr().out
    )
    make_beton(train, 24, seed=8)
    assert evaluate(f"half={half}") == 0
    assert (
        lines(run)[-1]["shared_with_train"] is None
        and "is not what linear.pt was trained on" in capsys.readouterr().out
    )


def test_files_of_corruptions_that_were_trained_on_are_told(sets, capsys, tmp_path):
    run, train, _, half, clean = sets
    COMMANDS["linear"](run, train, clean)
    for severity, source in enumerate((half, clean, clean, clean, half), 1):
        (tmp_path / "c" / "fog").mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tmp_path / "c" / "fog" / f"{severity}.beton")
        shutil.copy(f"{source}.json", tmp_path / "c" / "fog" / f"{severity}.beton.json")
    (tmp_path / "c" / "sparkles").mkdir()
    for name in ("1.beton", "1.beton.json"):
        shutil.copy(tmp_path / "c" / "fog" / name, tmp_path / "c" / "sparkles" / name)
    capsys.readouterr()
    config = EvaluateConfig(str(run), f"c={tmp_path / 'c'}", device="cpu", threads=1)
    assert run_evaluate(config) == 1, "14 corruptions are missing"
    whole, tree = lines(run)[-2:]
    assert (whole["kind"], tree["kind"]) == ("corruptions", "corruption_tree")
    assert whole["shared_with_train"] == tree["shared_with_train"] == 18, "6 in each of three"
    said = f"c: SHARED IMAGES: 18 of the 72 images of {tmp_path / 'c'} are in {train} too"
    assert said in capsys.readouterr().out
    os.remove(train)
    run_evaluate(config)
    assert lines(run)[-1]["shared_with_train"] is None
    assert "c: whether the classifier was trained on images of it is not known" in (
        capsys.readouterr().out
    )


def test_the_report_says_it_where_the_figures_stand(sets, tmp_path):
    run, train, _, half, clean = sets
    COMMANDS["linear"](run, train, half)
    COMMANDS["knn"](run, train, clean)
    page = lambda: Page(
        write_report(ReportConfig((str(run),), str(tmp_path / "r.html"))).read_text(
            encoding="utf-8"
        )
    )
    shown = page().text
    # the tile and the row of the table
    assert shown.count("6 images of it are in the training set too") == 2
    assert (
        "6 images of val are in the training set too, byte for byte" in shown
        and "(linear)" in shown
    )
    COMMANDS["linear"](run, train, clean)
    assert "training set too" not in page().text


def test_the_knn_while_training_says_so(sets, tmp_path, capsys):
    _, train, _, half, clean = sets
    doubled = tmp_path / "doubled.beton"
    with BetonReader(train) as reader, BetonWriter(doubled, classes=list("abcd")) as writer:
        # those at 0, 10 and 20 ask, and each has a copy that votes
        for i in [*range(20), 5, 0, 10, 3]:
            writer.add(reader.jpeg(i), *reader.sizes[i].tolist(), label=int(reader.labels[i]))
    for number, (data, val, count) in enumerate(
        ((train, half, 6), (train, clean, 0), (str(doubled), "", 3))
    ):
        out = tmp_path / f"run{number}"
        pretrain(settings(data, out, epochs=1, knn_every=1, knn_val=val))
        (row,) = rows(out, "knn")
        said = capsys.readouterr().out
        assert row["shared_with_train"] == count
        asking = 12 if val else 3
        assert (f"SHARED IMAGES: {count} of the {asking} images of" in said) == bool(count)
