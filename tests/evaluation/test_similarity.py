"""Similarities of a run's features to positives, queue and negatives of every kind, against a plain
computation from the views."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fastneg.config import ConfigError, EvaluateConfig
from fastneg.data.beton.reader import BetonReader
from fastneg.evaluation import similarity as module
from fastneg.evaluation.similarity import evaluate_similarity, settings_for
from fastneg.methods import METHODS
from fastneg.recipes.arguments import build_config
from fastneg.recipes.presets import moco_in100, tiny_cpu
from fastneg.registry import imported
from fastneg.runs import checkpoint
from fastneg.runs.results import misfit, similarity_histograms
from helpers.tinted import make_beton


def make_whole_run(folder, origin=None, **changes):
    """A run folder with a whole untrained method, whose statistics fit random inputs."""
    queue = {} if changes.get("method", "moco") != "moco" else {"queue_size": 300}
    config = tiny_cpu().replace(out=str(folder), **{**queue, **changes})
    torch.manual_seed(0)
    method = METHODS[config.method](config)
    for encoder in (method.query_encoder, getattr(method, "key_encoder", None)):
        if encoder is not None:
            encoder.train()(torch.randn(64, 3, 32, 32))
    checkpoint.save(
        folder,
        1,
        {"config": config.as_dict(), "method": method.state_dict(), **(origin or {})},
        keep=1,
    )
    return method.eval()


@pytest.fixture
def seen(monkeypatch):
    """What the method was given, batch by batch, and the positions of the images."""
    given, index = [], []
    for method in (imported(contract.network) for contract in METHODS.values()):
        real = method.forward
        monkeypatch.setattr(
            method,
            "forward",
            lambda self, *inputs, real=real: (given.append(inputs[:3]), real(self, *inputs))[1],
        )

    class Recorded(module.TrainLoader):
        def epoch(self, epoch):
            for batch in super().epoch(epoch):
                index.append(batch.index)
                yield batch

    monkeypatch.setattr(module, "TrainLoader", Recorded)
    return given, index


def plain(method, name, given):
    """{what is compared: similarities}, an image at a time from its views; (M, N) for the
    negatives."""
    unit = lambda features: F.normalize(features, dim=1)
    query_of = lambda images: unit(method.query_encoder(images))
    key_of = query_of if name == "simclr" else lambda images: unit(method.key_encoder(images))
    if name == "byol":
        query_of = lambda images: unit(method.predictor(method.query_encoder(images)))
    found = {"positive": [], "queue": [], "batch": [], "negative": []}
    with torch.no_grad():
        for query, key, negatives in given:
            queries, keys = query_of(query), key_of(key)
            found["positive"] += [float(q @ k) for q, k in zip(queries, keys, strict=True)]
            found["negative"].append(
                torch.stack([(queries * key_of(images)).sum(1) for images in negatives.unbind(1)])
            )
            if name == "moco":
                # of 300 rows every other one: at most 256
                found["queue"].append((queries @ method.queue[::2].T).flatten())
            else:
                found["batch"] += [float(queries[i] @ keys[i - 1]) for i in range(len(queries))]
    return {
        **found,
        "queue": torch.cat(found["queue"]) if found["queue"] else [],
        "negative": torch.cat(found["negative"], 1),
    }


def counts(values):
    return np.histogram(np.clip(np.asarray(values, np.float64), -1, 1), np.linspace(-1, 1, 41))[
        0
    ].tolist()


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"negatives": "patch,texture", "negatives_per_query": 2}, ("patch", "texture")),
        ({"negatives": "texture", "texture_source": "view"}, ("texture",)),
        (
            {"negatives": "blur,random_image", "alpha": "blur=2,random_image=1"},
            ("blur", "random_image"),
        ),
        ({"negatives": "none"}, ("patch",)),
        ({"method": "simclr", "temperature": 0.1}, ("patch",)),
        ({"method": "byol", "feature_dim": 64, "hidden_dim": 64, "negatives": "none"}, ("patch",)),
    ],
)
def test_distributions_over_a_set_are_the_plain_ones(tmp_path, seen, changes, kinds):
    method, name, each = (
        make_whole_run(tmp_path / "run", **changes),
        changes.get("method", "moco"),
        changes.get("negatives_per_query", 1),
    )
    with BetonReader(make_beton(tmp_path / "set.beton", 129)) as reader:
        row = evaluate_similarity(tmp_path / "run", "val", reader, threads=1)
    given, index = seen
    assert [len(part) for part in index] == [65, 64] and sorted(torch.cat(index).tolist()) == list(
        range(129)
    ), "every image once"
    truth = plain(method, name, given)
    assert (
        row["images"] == 129
        and row["edges"] == pytest.approx(np.linspace(-1, 1, 41).tolist())
        and misfit(row) is None
    )
    assert row["positive"] == counts(truth["positive"]) and row["means"][
        "positive"
    ] == pytest.approx(np.mean(truth["positive"]), abs=1e-6)
    beside, absent = ("queue", "batch") if name == "moco" else ("batch", "queue")
    assert row[beside] == counts(truth[beside]) and row["means"][beside] == pytest.approx(
        np.mean(np.asarray(truth[beside])), abs=1e-6
    )
    assert row.get(absent) is None and sum(row[beside]) == (129 * 150 if name == "moco" else 129)
    assert tuple(row["negative"]) == tuple(row["means"]["negative"]) == kinds
    for number, kind in enumerate(kinds):
        own = truth["negative"][number * each : (number + 1) * each]
        assert (
            row["negative"][kind] == counts(own.flatten())
            and sum(row["negative"][kind]) == 129 * each
        )
        assert row["means"]["negative"][kind] == pytest.approx(own.mean().item(), abs=1e-6)
    assert list(similarity_histograms(row)) == [
        "positive",
        beside,
        *(f"negative: {kind}" for kind in kinds),
    ]
    assert row.get("patch_sizes") == ([4, 12] if "patch" in kinds else None)
    # Patches, and textures quilted from the view, hold pixels of the query alone; those of the
    # other kinds do not.
    query, _, negatives = given[0]
    copied = [
        set(map(tuple, made.flatten(1).T.tolist()))
        <= set(map(tuple, query[0].flatten(1).T.tolist()))
        for made in negatives[0]
    ]
    copies = {"patch", "texture" if changes.get("texture_source") == "view" else None}
    assert copied == [kind in copies for kind in kinds for _ in range(each)]


def test_kinds_by_name_the_same_numbers_again_and_no_more_images_than_are_needed(
    tmp_path, seen, monkeypatch
):
    monkeypatch.setattr(module, "IMAGES", 20)
    monkeypatch.setattr(module, "BATCH", 10)
    make_whole_run(tmp_path / "run", negatives="none")
    with BetonReader(make_beton(tmp_path / "set.beton", 33)) as reader:
        one, again = (
            evaluate_similarity(
                tmp_path / "run", "val", reader, kinds=("texture", "patch"), threads=1, report=None
            )
            for _ in range(2)
        )
    assert (
        one == again
        and list(one["negative"]) == ["texture", "patch"]
        and one["texture_source"] == "image"
    )
    assert one["images"] == sum(one["positive"]) == 20 and [len(part) for part in seen[1][:3]] == [
        10,
        10,
        10,
    ]


def test_settings_of_many_processes_and_of_sizes_that_do_not_fit():
    trained = moco_in100().replace(
        image_size=32,
        eval_resize=32,
        bn="shuffle",
        image_size_schedule="0:16,9:32",
        negatives="texture",
        texture_source="file",
    )
    said = []
    config = settings_for(trained, ("patch",), False, said.append)
    assert (
        config.bn,
        config.image_size_schedule,
        config.patch_min,
        config.patch_max,
        config.negatives,
    ) == ("none", None, 2, 10, "patch")
    assert (
        settings_for(trained, ("texture",), True, said.append).texture_source == "file"
        and said == []
    )
    assert (
        settings_for(trained, ("texture",), False, said.append).texture_source == "image"
        and "this set has none" in said[0]
    )
    batched = tiny_cpu().replace(bn="sync", patch_min=5)
    assert (
        settings_for(
            batched.replace(bn="split", key_pass="batched"), ("patch",), False, said.append
        ).patch_min
        == 5
    )


@pytest.mark.parametrize(
    ("changes", "images", "said"),
    [
        (
            {"origin": {"imported": "w.pth", "head_imported": False}},
            4,
            "w.pth was imported without its projector",
        ),
        ({"method": "simclr", "temperature": 0.1}, 1, "need at least two"),
        ({"negatives": "random_image"}, 1, "need at least two"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, changes, images, said):
    make_whole_run(tmp_path / "run", **changes)
    with (
        BetonReader(make_beton(tmp_path / "set.beton", images)) as reader,
        pytest.raises(ConfigError, match=said),
    ):
        evaluate_similarity(tmp_path / "run", "val", reader, threads=1)


def test_one_image_is_enough_for_a_queue(tmp_path):
    make_whole_run(tmp_path / "run", origin={"imported": "w.pth", "head_imported": True})
    with BetonReader(make_beton(tmp_path / "set.beton", 1)) as reader:
        assert evaluate_similarity(tmp_path / "run", "val", reader, threads=1)["images"] == 1


def test_kinds_on_the_command_line():
    config = build_config(
        "evaluate", ["--run", "r", "--sets", "a=b", "--similarity", "patch,texture"]
    )
    assert config.similarity_kinds() == ("patch", "texture")
    assert EvaluateConfig("r", "a=b", similarity="on").similarity_kinds() is None
    for wrong in ("yes", "patch,patch", "none", "on,patch"):
        with pytest.raises(ConfigError, match="some of patch, texture, blur, random_image"):
            EvaluateConfig("r", "a=b", similarity=wrong)
