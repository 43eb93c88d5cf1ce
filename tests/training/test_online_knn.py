"""kNN while training against the same taken with `fastneg knn`'s parts; in several processes the
same as in one."""

import contextlib
import os
import signal

import numpy as np
import pytest
import torch

from fastneg.config import ConfigError
from fastneg.data import BetonReader
from fastneg.data.load.labelled_loaders import EvalLoader
from fastneg.data.load.train_loader import TrainLoader
from fastneg.feature_geometry import alignment, rank_me, uniformity
from fastneg.knn import knn_votes
from fastneg.runs.embed import extract_features
from fastneg.runs.load import load_run
from fastneg.training import online_knn, trainer
from fastneg.training.trainer import pretrain
from helpers.pretraining import ALONE, pretrain_in_two, rows, same_weights, settings
from helpers.tinted import damage, make_beton


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("knn")
    return make_beton(folder / "train.beton", 40), make_beton(
        folder / "val.beton", 20, classes=("d", "a", "c", "b"), seed=1
    )


def features(run, path, **options):
    with BetonReader(path) as reader:
        loader = EvalLoader(reader, 7, 32, resize=32, threads=1, **options)
        with contextlib.closing(loader):
            found = extract_features(load_run(run).backbone, loader, "cpu")
        return found.features, found.labels, reader.classes


def test_it_is_the_knn_of_the_finished_run(files, tmp_path):
    train, val = files
    config = settings(train, tmp_path / "run", epochs=2, knn_every=2, knn_val=str(val))
    pretrain(config)
    (row,) = rows(tmp_path / "run", "knn")
    voters, labels, classes = features(tmp_path / "run", train)
    queries, query_labels, names = features(tmp_path / "run", val)
    answers = torch.tensor([classes.index(names[label]) for label in query_labels.tolist()])
    votes = knn_votes(queries, voters, labels, 4, 40)
    expected = 100 * (votes.argmax(1) == answers).double().mean().item()
    counts = {"images": 20, "voters": 40, "k": 40, "shared_with_train": 0}
    figures = {
        "top1": pytest.approx(expected),
        "rank_me": pytest.approx(rank_me(voters)),
        "uniformity": pytest.approx(uniformity(voters)),
        "alignment": pytest.approx(aligned(config, val)),
    }
    assert row == {"kind": "knn", "step": 10, "epoch": 1, **figures, **counts}
    assert 1 < row["rank_me"] < 40 and row["uniformity"] < 0 < row["alignment"] < 4


def aligned(config, path):
    """The alignment of two views of each image, as the run draws them."""
    options = {"crop_area": (config.crop_min, config.crop_max), "augmentation": config.recipe()}
    loader = TrainLoader(path, 20, 32, seed=config.seed, threads=1, **options)
    with contextlib.closing(loader), torch.no_grad():
        backbone, batch = load_run(config.out).backbone, next(iter(loader))
        return alignment(backbone(batch.query), backbone(batch.key))


def test_without_a_file_every_tenth_image_asks_the_others(files, tmp_path):
    train, _ = files
    pretrain(settings(train, tmp_path / "run", epochs=1, knn_every=1))
    (row,) = rows(tmp_path / "run", "knn")
    found, labels, _ = features(tmp_path / "run", train)
    asking = torch.arange(0, 40, 10)
    voting = torch.tensor([i for i in range(40) if i % 10])
    votes = knn_votes(found[asking], found[voting], labels[voting], 4, 36)
    assert row["images"] == 4 and row["voters"] == row["k"] == 36
    assert row["top1"] == pytest.approx(
        100 * (votes.argmax(1) == labels[asking]).double().mean().item()
    )


def test_it_changes_nothing_in_the_training_and_misses_no_epoch_when_resumed(files, tmp_path):
    train, _ = files
    every = {"without": 0, "whole": 1, "parts": 1}
    without, whole, parts = (
        settings(train, tmp_path / name, epochs=3, knn_every=often) for name, often in every.items()
    )
    pretrain(without)
    pretrain(whole)
    for stop in (5, 3):  # at the end of an epoch, and within one
        pretrain(parts, stop_after=stop)
    pretrain(parts)
    assert same_weights(tmp_path / "without", tmp_path / "whole") and same_weights(
        tmp_path / "whole", tmp_path / "parts"
    )
    assert [row["step"] for row in rows(tmp_path / "whole", "knn")] == [5, 10, 15]
    assert rows(tmp_path / "whole", "knn") == rows(tmp_path / "parts", "knn")
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts") == rows(tmp_path / "without")


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_signal_ends_it_and_the_same_command_takes_it_up_again(
    files, tmp_path, monkeypatch, epochs
):
    """In the middle of training and after its last step."""
    train, _ = files
    whole, parts = (
        settings(train, tmp_path / name, epochs=epochs, knn_every=1) for name in ("whole", "parts")
    )
    pretrain(whole)
    monkeypatch.setattr(online_knn, "BATCH", 4)
    plain, calls = online_knn.embed, []

    def embed(*arguments):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(*arguments)

    monkeypatch.setattr(online_knn, "embed", embed)
    result = pretrain(parts)
    assert (
        not result.finished
        and result.signal == signal.SIGTERM
        and result.step == 5
        and len(calls) == 3
    )
    assert rows(tmp_path / "parts", "knn") == []
    monkeypatch.undo()
    assert pretrain(parts).finished
    assert (
        rows(tmp_path / "parts", "knn") == rows(tmp_path / "whole", "knn")
        and len(rows(tmp_path / "parts", "knn")) == epochs
    )
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_two_processes_find_what_one_finds(beton, tmp_path):
    """Each process takes a share of voters and queries, with the running statistics that the
    checkpoint holds."""
    config = settings(
        beton,
        tmp_path / "run",
        epochs=1,
        knn_every=1,
        knn_val=str(beton),
        bn="none",
        bn_splits=None,
    )
    pretrain_in_two(config)
    (row,) = rows(tmp_path / "run", "knn")
    with BetonReader(beton) as reader, contextlib.ExitStack() as stack:
        alone = online_knn.OnlineKnn(config, reader, ALONE, 1, stack)(
            load_run(tmp_path / "run").backbone, False
        )
    figures = {name: row[name] for name in alone}
    assert figures == pytest.approx(alone, rel=1e-9) and row["step"] == 5


def test_images_that_cannot_be_used_neither_vote_nor_ask(files, tmp_path):
    train, val = (
        make_beton(tmp_path / f"{name}.beton", count, seed=seed)
        for name, count, seed in (("train", 40, 0), ("val", 20, 1))
    )
    damage(train, 7, 8)
    damage(val, 0)
    pretrain(
        settings(
            train, tmp_path / "run", epochs=1, knn_every=1, knn_val=str(val), max_bad_share=0.05
        )
    )
    (row,) = rows(tmp_path / "run", "knn")
    (voters, labels, _), (queries, answers, _) = (
        features(tmp_path / "run", path, max_bad_share=0.1) for path in (train, val)
    )
    votes = knn_votes(queries, voters, labels, 4, 38)
    assert (row["images"], row["voters"], row["k"]) == (19, 38, 38)
    assert row["top1"] == pytest.approx(100 * (votes.argmax(1) == answers).double().mean().item())


def test_every_process_asks_as_often_whatever_it_could_use(files, tmp_path, monkeypatch):
    """`stopping` is a collective: a process that left it out, for a batch of bad images, would
    leave the others waiting."""
    train, _ = files
    hurt = make_beton(tmp_path / "hurt.beton", 40)
    damage(hurt, 4, 5, 6, 7)
    monkeypatch.setattr(online_knn, "BATCH", 2)
    asked = {}
    for path in (train, hurt):
        config = settings(
            path,
            tmp_path / path.stem,
            epochs=1,
            knn_every=1,
            knn_train=str(train),
            knn_val=str(path),
            max_bad_share=0.5,
        )
        calls = []
        with BetonReader(path) as reader, contextlib.ExitStack() as stack:
            knn = online_knn.OnlineKnn(config, reader, ALONE, 1, stack)
            knn(torch.nn.Flatten(), False, stopping=lambda calls=calls: calls.append(1))
        asked[path] = len(calls)
    assert asked[train] == asked[hurt] == 40


def test_images_of_classes_that_do_not_vote_are_told(files, tmp_path, capsys):
    train, _ = files
    val = make_beton(tmp_path / "val.beton", 12, classes=("a", "zebra", "c"))
    config = settings(train, tmp_path / "run", knn_every=1, knn_val=str(val))
    with contextlib.ExitStack() as stack, BetonReader(train) as reader:
        online_knn.OnlineKnn(config, reader, ALONE, 1, stack)
    said = f"{val}: 8 of 12 images ask in the kNN while training: {train} does not know the classes"
    assert said in capsys.readouterr().out


def test_larger_files_are_thinned_evenly():
    assert np.array_equal(online_knn._spaced(np.arange(10), 4), [0, 3, 6, 9])
    assert np.array_equal(online_knn._spaced(np.arange(10), 10), np.arange(10))


def test_files_that_do_not_serve_are_refused_before_training(files, tmp_path):
    train, _ = files
    other = make_beton(tmp_path / "other.beton", 12, classes=("x", "y", "z", "w"))
    with pytest.raises(ConfigError, match="share no class"):
        pretrain(settings(train, tmp_path / "run", knn_every=1, knn_val=str(other)))
    with pytest.raises(ConfigError, match="no effect"):
        settings(train, tmp_path / "run", knn_val=str(other))
    assert trainer.checkpoint.paths(tmp_path / "run") == []
