"""fastneg evaluate: accuracy, answers, shape bias and corruptions of test sets; a set that fails
does not stop the others."""

import json

import numpy as np
import pytest
import torch

from fastneg.config import ConfigError, KnnConfig
from fastneg.data.beton.identity import content_key
from fastneg.data.beton.reader import BetonReader
from fastneg.data.load.labelled_loaders import EvalLoader
from fastneg.evaluation import first_set
from fastneg.evaluation.corruptions import ALL_15, CORRUPTIONS, corrupt, normalised, pixels_of
from fastneg.evaluation.evaluate import evaluate_set
from fastneg.evaluation.features import features_of
from fastneg.evaluation.linear import load_linear
from fastneg.recipes import evaluate as recipe
from fastneg.recipes.knn import run_knn
from fastneg.runs.classifier import classifier_key
from fastneg.runs.load import load_run
from fastneg.runs.predictions import read_predictions, save_predictions
from helpers.encoder_runs import evaluate, make_run, probe
from helpers.tinted import damage, make_beton


def test_accuracy_of_a_set_joined_by_name(probed, tmp_path, lines, capsys):
    path = make_beton(tmp_path / "r.beton", 20, classes=("d", "zebra", "b", "a"), seed=1)
    assert evaluate(probed, f"rendition={path}") == 0
    row, per_class, embedded = lines()
    assert (row["kind"], row["set"], row["images"], row["classes"], row["arg_max"]) == (
        "accuracy",
        "rendition",
        15,
        3,
        "all",
    )
    assert (
        row["top1"] > 90
        and row["top1_interval"][0] <= row["top1"] <= row["top1_interval"][1]
        and 0 <= row["ece"] <= 100
    )
    known = [torch.load(probed / "linear.pt")[name] for name in ("weight", "bias")]
    assert row["classifier"] == per_class["classifier"] == classifier_key(*known)
    with BetonReader(path) as reader:
        assert row["data"] == content_key(reader) and row["classifier_classes"] == 4
    images = {name: own["images"] for name, own in per_class["by_class"].items()}
    assert per_class["kind"] == "per_class" and images == {"a": 5, "b": 5, "d": 5}
    assert np.mean([own["top1"] for own in per_class["by_class"].values()]) == pytest.approx(
        row["top1"]
    )
    assert (
        embedded["kind"] == "embedding"
        and len(embedded["points"]) == 15
        and set(embedded["labels"]) == {"a", "b", "d"}
    )
    found, problems = read_predictions(probed)
    assert not problems and 100 * found["rendition"].right.mean() == pytest.approx(row["top1"])
    assert found["rendition"].index.tolist() == [i for i in range(20) if i % 4 != 1] and found[
        "rendition"
    ].label.tolist()[:3] == [3, 1, 0]
    printed = capsys.readouterr().out
    assert (
        "rendition: 3 of 4 classes and 15 of 20 images remain." in printed
        and f"{row['top1']:.2f}" in printed
    )


def test_a_missing_set_is_told_and_the_others_run(probed, tmp_path, lines, capsys):
    good, empty = (
        make_beton(tmp_path / "good.beton", 8),
        make_beton(tmp_path / "foreign.beton", 8, classes=("x", "y")),
    )
    assert (
        evaluate(
            probed, f"gone={tmp_path}/gone.beton,foreign={empty},good={good}", corruptions="on"
        )
        == 1
    )
    assert {row["set"] for row in lines()} == {"good"}
    streams = capsys.readouterr()
    assert (
        "gone.beton" in streams.err
        and "share no class" in streams.err
        and "2 of 3 sets" in streams.err
    )
    assert "not evaluated" in streams.out


def test_figures_are_over_the_images_that_can_be_used(tmp_path, capsys):
    """Of a set with bad images every figure is that of the set without them, and says how many were
    left out."""
    run, train = (
        make_run(tmp_path / "run", max_bad_share=0.2),
        make_beton(tmp_path / "train.beton", 48),
    )
    whole, damaged = (
        make_beton(tmp_path / f"{name}.beton", 20, seed=1, texture=lambda i: (i + 1) % 4)
        for name in ("whole", "damaged")
    )
    damage(damaged, 4, 5, 10)
    probe(run, train, damaged)
    run_knn(KnnConfig(str(run), str(damaged), str(damaged), device="cpu", threads=1))
    assert evaluate(run, f"damaged={damaged},whole={whole}", corruptions="on") == 0
    found = {
        (row["kind"], row["set"]): row
        for row in map(json.loads, (run / "evaluation.jsonl").read_text().splitlines())
    }
    counted = ("accuracy", "shape_bias", "corruptions")
    for kind in counted:
        assert (found[kind, "damaged"]["images"], found[kind, "damaged"]["skipped"]) == (17, 3), (
            kind
        )
    for kind in ("linear", "knn"):
        assert (found[kind, "val"]["images"], found[kind, "val"]["skipped"]) == (17, 3), kind
    assert (
        found["accuracy", "whole"]["skipped"] == 0
        and "3 of 20 images cannot be used and are LEFT OUT" in capsys.readouterr().out
    )
    kept = [i for i in range(20) if i not in (4, 5, 10)]
    loaded = load_run(run)
    with BetonReader(whole) as reader:
        head, every = load_linear(run, loaded), features_of(run, loaded, reader, threads=1).features
    right = (head.logits(every).argmax(1) == torch.arange(20) % 4)[kept]
    assert found["accuracy", "damaged"]["top1"] == pytest.approx(100 * right.double().mean().item())
    answers, _ = read_predictions(run)
    assert (
        answers["damaged"].index.tolist() == kept
        and answers["damaged"].right.tolist() == right.tolist()
    )


def test_corruptions_of_the_first_set(probed, tmp_path, lines, capsys):
    first = make_beton(tmp_path / "val.beton", 12, classes=("b", "a", "zebra"), seed=1)
    second = make_beton(tmp_path / "other.beton", 8)
    assert evaluate(probed, f"val={first},other={second}", corruptions="on") == 0
    row = next(row for row in lines() if row["kind"] == "corruptions")
    assert (
        row["set"] == "val"
        and list(row["by_corruption"]) == list(ALL_15)
        and row["of_the_15"] == sorted(ALL_15)
    )
    assert row["mce"] is None and "1000 classes" in row["mce_note"]
    assert all(len(values) == 5 for values in row["by_corruption"].values()) and row["images"] == 8
    assert row["mean_top1"] == pytest.approx(np.mean(list(row["by_corruption"].values())))
    assert row["constants"] == "CIFAR-10-C (32 px)" and row["constants"] in row["source"], (
        "which of the published constants"
    )
    assert (
        "computed on the fly" in row["source"]
        and "of ImageNet-C's 15" in (said := capsys.readouterr().out)
        and row["source"] in said
    )

    loaded = load_run(probed)
    head = load_linear(probed, loaded)
    with BetonReader(first) as reader:
        loader = EvalLoader(reader, 12, 32, resize=32, threads=1)
        [batch] = list(loader)
        loader.close()
    for name, severity in (("brightness", 5), ("gaussian_noise", 3), ("jpeg_compression", 1)):
        with torch.no_grad():
            answers = head(
                loaded.backbone(
                    normalised(corrupt(pixels_of(batch.images), name, severity, batch.index))
                )
            ).argmax(1)
        right = [answers[i] == (1, 0)[i % 3] for i in range(12) if i % 3 < 2]
        assert row["by_corruption"][name][severity - 1] == pytest.approx(100 * np.mean(right))


def test_the_extra_corruptions_do_not_count_in_the_mean(probed, tmp_path, lines):
    assert evaluate(probed, f"val={make_beton(tmp_path / 'val.beton', 4)}", corruptions="all") == 0
    row = next(row for row in lines() if row["kind"] == "corruptions")
    assert list(row["by_corruption"]) == list(CORRUPTIONS)
    assert row["mean_top1"] == pytest.approx(
        np.mean([row["by_corruption"][name] for name in ALL_15])
    )


def test_present_classes_only(probed, tmp_path, lines):
    path = make_beton(tmp_path / "two.beton", 12, classes=("a", "b"), seed=2)
    assert evaluate(probed, f"two={path}", arg_max="present", corruptions="on") == 0
    assert evaluate(probed, f"two-all={path}", corruptions="on") == 0
    present, corrupted, _, corrupted_of_all = (
        row for row in lines() if row["kind"] in ("accuracy", "corruptions")
    )
    assert present["arg_max"] == corrupted["arg_max"] == "present" and present["top5"] == 100.0
    assert corrupted["mean_top1"] > corrupted_of_all["mean_top1"], (
        "heavy noise sends images to the two absent classes"
    )


def test_figures_of_one_arg_max_do_not_replace_those_of_the_other(probed, tmp_path, lines, capsys):
    path = make_beton(tmp_path / "modes.beton", 8, classes=("a", "b"), seed=2)
    assert evaluate(probed, f"modes={path}", arg_max="present") == 0
    answers, kept = (probed / "predictions" / "modes.npz").read_bytes(), lines()
    for sets in (f"modes={path}", f"modes-all={path},modes={path}"):
        with pytest.raises(ConfigError, match="holds figures of modes with --arg_max present"):
            evaluate(probed, sets)
        assert lines() == kept and (probed / "predictions" / "modes.npz").read_bytes() == answers
    assert evaluate(probed, f"modes-all={path}") == 0
    assert [row["arg_max"] for row in lines() if row["kind"] == "accuracy"] == ["present", "all"]
    assert evaluate(probed, f"modes={path}", arg_max="present") == 0


def test_without_a_classifier_it_says_what_to_run(tmp_path):
    run = make_run(tmp_path / "run")
    with pytest.raises(ConfigError, match="run fastneg linear"):
        evaluate(run, "val=nothing.beton")


def test_answers_are_stored_whole_or_not_at_all(tmp_path):
    labels, predicted, confidence = (
        torch.tensor([1, -1]),
        torch.tensor([1, 0]),
        torch.tensor([0.5, 0.25]),
    )
    save_predictions(tmp_path, "a/b", torch.arange(2), labels, predicted, confidence)
    with np.load(tmp_path / "predictions" / "a-b.npz") as file:
        assert [
            file[name].dtype.name for name in ("index", "label", "predicted", "confidence")
        ] == ["int64"] * 3 + ["float32"]
        assert file["label"].tolist() == [1, -1] and file["confidence"].tolist() == [0.5, 0.25]
    assert [path.name for path in (tmp_path / "predictions").iterdir()] == ["a-b.npz"]


def test_accuracy_by_class_on_textures(probed, tmp_path, lines):
    (tmp_path / "groups.csv").write_text("class,group\na,fine\nb,fine\nc,coarse\n")
    path = make_beton(tmp_path / "textures.beton", 8)
    assert evaluate(probed, f"t={path}:texture", groups=str(tmp_path / "groups.csv")) == 0
    first, found = lines()
    assert (first["kind"], found["kind"], list(found["by_class"])) == (
        "accuracy",
        "texture_classes",
        ["a", "b", "c", "d"],
    )
    assert (
        found["groups"]["fine"]["classes"] == 2
        and found["groups"]["fine"]["images"] == 4
        and "coarse" in found["groups"]
    )
    predicted = read_predictions(probed)[0]["t"].predicted
    answered = {name: 100 * np.mean(predicted == number) for number, name in enumerate("abcd")}
    assert {name: own["answered"] for name, own in found["by_class"].items()} == pytest.approx(
        answered
    )
    assert (
        found["most_answered"]["answered"] == pytest.approx(max(answered.values()))
        and found["answered_elsewhere"] == 0
    )
    assert found["groups"]["fine"]["top1"] == pytest.approx(
        (found["by_class"]["a"]["top1"] + found["by_class"]["b"]["top1"]) / 2
    )
    with pytest.raises(ConfigError, match="--groups has no effect"):
        evaluate(probed, f"t={path}", groups=str(tmp_path / "groups.csv"))


def test_several_files_by_a_glob_with_a_metric(probed, tmp_path, lines):
    """The classes of the files differ; they are joined by name, and every file's images count."""
    make_beton(tmp_path / "part-0.beton", 8, classes=("a", "b"))
    make_beton(tmp_path / "part-1.beton", 6, classes=("d", "c"), seed=1)
    assert (
        evaluate(probed, f"globbed={tmp_path}/part-*.beton:texture,all={tmp_path}/part-?.beton")
        == 0
    )
    first, found, plain, *_ = lines()
    assert (
        first["images"] == plain["images"] == 14
        and first["top1"] == plain["top1"] > 90
        and first["truth"] == "label"
    )
    assert {name: own["images"] for name, own in found["by_class"].items()} == {
        "a": 4,
        "b": 4,
        "c": 3,
        "d": 3,
    }
    assert evaluate(probed, f"none={tmp_path}/nothing-*.beton:texture") == 1
    assert evaluate(probed, f"c={tmp_path}/part-*.beton:corruptions") == 1


def test_a_metric_alone_and_one_that_the_set_cannot_give(probed, tmp_path, lines, capsys):
    plain = make_beton(tmp_path / "plain.beton", 8)
    conflict = make_beton(tmp_path / "conflict.beton", 8, texture=lambda i: (i + 1) % 4)
    assert evaluate(probed, f"a={conflict}:accuracy,s={conflict}:shape_bias") == 0
    kinds = [(row["kind"], row["set"]) for row in lines()]
    assert kinds == [("accuracy", "a"), ("per_class", "a"), ("embedding", "a"), ("shape_bias", "s")]
    assert evaluate(probed, f"s={plain}:shape_bias,a={conflict}:accuracy") == 1
    assert "is no set of conflicting cues" in capsys.readouterr().err and lines()[-1]["set"] == "a"


WRONG_SETS = {
    "a resize below the network's": ("b={}:resize=8", {}, "b: resize=8 is below the 32 px"),
    "corruptions of textures": ("b={}:texture", {"corruptions": "on"}, "scored by labels"),
    "corruptions of a shape bias": ("b={}:shape_bias", {"corruptions": "on"}, "needs the accuracy"),
    "similarities of corrupted images": ("b={}/cells", {"similarity": "on"}, "for clean ones"),
}


@pytest.mark.parametrize("case", WRONG_SETS)
def test_a_wrong_set_is_refused_before_any_work(case, probed, tmp_path, lines):
    """Before the other sets of the line too: exit code 2, no work was done."""
    part, options, said = WRONG_SETS[case]
    (tmp_path / "cells" / "snow" / "1").mkdir(parents=True)
    path = make_beton(tmp_path / "kept.beton", 8)
    part = part.format(tmp_path if "cells" in part else path)
    sets = f"{part},a={path}" if options else f"a={path},{part}"
    with pytest.raises(ConfigError, match=said) as error:
        evaluate(probed, sets, **options)
    assert error.value.exit_code == 2 and not lines()


def test_a_wrong_set_that_shows_only_when_it_is_open_stops_no_other(
    probed, tmp_path, lines, monkeypatch, capsys
):
    def open_fails(name, asked, context):
        if name == "b":
            raise ConfigError("b is wrong")
        return evaluate_set(name, asked, context)

    monkeypatch.setattr(recipe, "evaluate_set", open_fails)
    path = make_beton(tmp_path / "kept.beton", 8)
    assert evaluate(probed, f"b={path},a={path}") == 2
    assert {row["set"] for row in lines()} == {"a"}
    assert evaluate(probed, f"b={path},gone={tmp_path}/gone.beton") == 2
    assert "b: b is wrong" in capsys.readouterr().err


def test_an_extra_that_fails_leaves_the_accuracy_standing(
    probed, tmp_path, lines, capsys, monkeypatch
):
    def fails(*args, **options):
        raise ConfigError("nothing to compare")

    monkeypatch.setattr(first_set, "evaluate_similarity", fails)
    path = make_beton(tmp_path / "kept.beton", 12)
    assert evaluate(probed, f"kept={path}", similarity="on") == 1
    assert [row["kind"] for row in lines()] == ["accuracy", "per_class", "embedding"]
    assert "kept: similarities: nothing to compare" in capsys.readouterr().err


def test_classes_that_a_grouping_misses_are_named(probed, tmp_path, lines, capsys):
    groups = tmp_path / "groups.json"
    groups.write_text(json.dumps({"fine": ["a", "bee"], "ghost": ["zz"]}))
    assert (
        evaluate(
            probed, f"tex={make_beton(tmp_path / 'tex.beton', 12)}:texture", groups=str(groups)
        )
        == 0
    )
    said = capsys.readouterr().out
    assert (
        "2 classes named in groups have no image here: bee, zz." in said
        and "3 classes here are in no group: b, c, d." in said
    )
    assert list(next(row for row in lines() if row["kind"] == "texture_classes")["groups"]) == [
        "fine"
    ]
