"""What a resumed run may change, and what it says of that (fastneg.training.resume)."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fastneg.data import BetonReader, BetonWriter
from fastneg.data.beton.shards import open_data
from fastneg.distributed import World
from fastneg.errors import TrainingError
from fastneg.runs import checkpoint
from fastneg.runs.folder import read_run
from fastneg.runs.load import load_run
from fastneg.training.resume import data_fingerprint, plain, refuse_another_run, with_augmenter
from fastneg.training.trainer import pretrain
from helpers.images import jpeg, photo
from helpers.pretraining import rows, settings

STEPS = 5  # an epoch of the 40 photos


@pytest.fixture
def data(beton):
    with BetonReader(beton) as reader:
        yield reader


def goes_on(before, after, reader, step=STEPS, fingerprint=None):
    """The lines of going on with `after` from a checkpoint that `before` wrote."""
    state = {
        "step": step,
        "config": plain(before),
        "samples": len(reader),
        "world_size": 1,
        "method": {},
        "optimizer": {},
    }
    state |= {"fingerprint": fingerprint or data_fingerprint(reader, before)}
    return refuse_another_run("step.pt", state, after, reader, 1, STEPS)


@pytest.mark.parametrize(
    "changes",
    [
        {"compile": True},
        {"cuda_graphs": True},
        {"fused_bn": "on"},
        {"key_pass": "batched"},
        {
            "threads": 3,
            "prefetch_queue_depth": 1,
            "log_every": 7,
            "checkpoint_every": 2,
            "keep_checkpoints": 1,
            "wandb": "p",
            "knn_every": 1,
            "check_crc": True,
        },
    ],
)
def test_how_it_is_computed_and_watched_may_change_silently(data, changes):
    config = settings("x.beton", "run")
    assert goes_on(config, config.replace(**changes), data) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"lr": 0.5},
        {"warmup_epochs": 1},
        {"lr_schedule": "cosine_epoch"},
        {"momentum_schedule": "cosine"},
        {"seed": 4},
        {"bn_splits": 4},
        {"bn": "none", "bn_splits": None},
        {"precision": "bf16"},
        {"accumulate": 2},
        {"epochs": 6, "lr": 0.5},
    ],
)
def test_what_is_learned_and_how_may_not(data, changes):
    config = settings("x.beton", "run")
    with pytest.raises(TrainingError, match=rf"other settings \(.*{list(changes)[-1]} .* → "):
        goes_on(
            config.replace(lr_schedule="cosine_step"),
            config.replace(**{"lr_schedule": "cosine_step", **changes}),
            data,
        )


def test_another_number_of_epochs_says_what_becomes_of_the_rate(data):
    config = settings(
        "x.beton",
        "run",
        lr=1.0,
        lr_schedule="cosine_step",
        momentum_schedule="cosine",
        key_momentum=0.5,
    )
    # at half of the cosine, and at a quarter
    (more,) = goes_on(config.replace(epochs=2), config.replace(epochs=4), data)
    assert "--epochs is 4, it was 2" in more and "is 0.854 from here on, not 0.5" in more
    assert "the momentum of the key encoder is 0.573223 instead of 0.75" in more
    (fewer,) = goes_on(config.replace(epochs=4), config.replace(epochs=2), data)
    assert "is 0.5 from here on, not 0.854" in fewer
    (finished,) = goes_on(config.replace(epochs=1), config.replace(epochs=2), data)
    assert "is 0.5 from here on, not 0;" in finished
    (done,) = goes_on(config.replace(epochs=3), config.replace(epochs=1), data)
    assert "the run is complete" in done
    with pytest.raises(TrainingError, match="is from epoch 2, beyond --epochs 1"):
        goes_on(config, config.replace(epochs=1), data, step=STEPS + 1)


def test_another_number_of_steps_says_so_too(data):
    config = settings("x.beton", "run", lr=1.0, lr_schedule="cosine_step")
    whole = config.replace(epochs=2)
    assert goes_on(whole, config.replace(steps=2 * STEPS), data) == []  # the same length
    within = config.replace(steps=2 * STEPS + 2, warmup_epochs=2)  # ends in the epoch after it
    assert goes_on(within, within, data) == []
    (more,) = goes_on(whole, config.replace(steps=4 * STEPS), data)
    assert f"--steps is {4 * STEPS}, it was --epochs 2" in more
    assert "is 0.854 from here on, not 0.5" in more
    (fewer,) = goes_on(config.replace(steps=4 * STEPS), config.replace(steps=2 * STEPS), data)
    assert f"--steps is {2 * STEPS}, it was {4 * STEPS}" in fewer
    (back,) = goes_on(config.replace(steps=4 * STEPS), whole, data)
    assert f"--epochs is 2, it was --steps {4 * STEPS}" in back
    with pytest.raises(TrainingError, match=rf"is from step {STEPS}, beyond --steps 2"):
        goes_on(whole, config.replace(steps=2), data)


def test_another_rate_is_told_by_the_run_itself(beton, tmp_path, capsys):
    pretrain(settings(beton, tmp_path / "run", epochs=1))
    capsys.readouterr()
    pretrain(settings(beton, tmp_path / "run", epochs=2, compile=False), stop_after=1)
    said = capsys.readouterr().out
    told = float(said.split("and is ")[1].split(" from here on")[0])
    assert "--epochs is 2, it was 1" in said and rows(tmp_path / "run")[-1]["lr"] == pytest.approx(
        told, rel=1e-2
    )


@pytest.mark.parametrize(
    ("was", "now"), [("shuffle", "split"), ("split", "shuffle"), ("sync", "none"), ("none", "sync")]
)
def test_normalisation_of_several_processes_goes_on_in_one_and_back(data, was, now):
    config = settings("x.beton", "run")
    before, after = (config.replace(bn=bn) for bn in (was, now))
    (said,) = goes_on(before, after, data)
    assert f"--bn is {now} from here on, it was {was}" in said


def test_the_advice_of_a_run_that_lost_its_processes_works(beton, tmp_path, capsys):
    """A run with --bn shuffle, one process left: it is told to take split, and split goes on."""
    config = settings(beton, tmp_path / "run", epochs=2)
    assert not pretrain(config, stop_after=STEPS).finished
    path, state = checkpoint.load_newest(tmp_path / "run")
    torch.save(
        {
            **state,
            "config": {**state["config"], "bn": "shuffle", "bn_splits": None},
            "world_size": 2,
        },
        path,
    )
    with pytest.raises(TrainingError, match="take --bn split"):
        pretrain(config.replace(bn="shuffle"))
    assert pretrain(config).finished
    assert "--bn is split from here on, it was shuffle" in capsys.readouterr().out


def write(path, images, **options):
    with BetonWriter(path, **options) as writer:
        for label, (data, height, width) in enumerate(images):
            writer.add(data, height, width, label=label % 2)


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(5)
    return [(jpeg(photo(rng, 48, 48)), 48, 48) for _ in range(12)]


def test_who_changes_colours_stays_what_it_was(beton, tmp_path):
    """On a CPU the kernel by default; a run of an earlier version keeps DALI's operators."""
    config = settings(beton, tmp_path / "run", epochs=1)
    assert config.augment_with == "auto"
    pretrain(config, stop_after=2)
    assert load_run(tmp_path / "run").config.augment_with == "kernel"
    assert pretrain(config).finished  # the same command goes on

    pretrain(config.replace(out=str(tmp_path / "old"), augment_with="dali"), stop_after=2)
    _, state = checkpoint.load_newest(tmp_path / "old")
    for stored in ("dali", None):  # None: from before there was a choice
        state["config"].pop("augment_with") if stored is None else None
        checkpoint.save(tmp_path / "old", state["step"], state, keep=1)
        found = checkpoint.load_newest(tmp_path / "old")
        assert load_run(tmp_path / "old").config.augment_with == "dali"
        for device in ("cpu", "cuda"):
            world = World(0, 1, torch.device(device))
            assert with_augmenter(config, found, world).augment_with == "dali"
    old = config.replace(out=str(tmp_path / "old"))
    assert pretrain(old).finished
    assert read_run(tmp_path / "old", "old").config["augment_with"] == "dali"
    with pytest.raises(TrainingError, match="augment_with 'dali' → 'kernel'"):
        pretrain(old.replace(augment_with="kernel"))


def test_auto_is_dali_on_a_gpu_but_for_cached_images(data):
    config = settings("x.beton", "run")
    for device, cache, chosen in (
        ("cpu", "none", "kernel"),
        ("cuda", "none", "dali"),
        ("cuda", "device", "kernel"),
    ):
        world = World(0, 1, torch.device(device))
        made = with_augmenter(config.replace(cache=cache), None, world)
        assert made.augment_with == chosen and made.replace(augment_with="auto", cache="none") == (
            config
        )
        given = config.replace(augment_with="kernel")
        assert with_augmenter(given, None, world) == given


def test_the_same_images_are_the_same_data_however_they_are_stored(photos, tmp_path):
    config = settings("x.beton", "run")
    write(tmp_path / "one.beton", photos, classes=["a", "b"])
    write(tmp_path / "again.beton", photos, classes=["c", "d"])
    write(tmp_path / "part-0.beton", photos[:5])
    write(tmp_path / "part-1.beton", photos[5:])
    shutil.copy(tmp_path / "one.beton", tmp_path / "moved.beton")
    for spec in ("again.beton", "moved.beton", "part-*.beton"):
        with open_data(tmp_path / "one.beton") as one, open_data(str(tmp_path / spec)) as other:
            assert (
                goes_on(config, config, other, fingerprint=data_fingerprint(one, config)) == []
            ), spec


def test_other_images_of_the_same_number_and_size_are_refused(photos, tmp_path):
    config = settings("x.beton", "run")
    write(tmp_path / "one.beton", photos)
    write(tmp_path / "order.beton", photos[::-1])
    with open_data(tmp_path / "one.beton") as one:
        kept = data_fingerprint(one, config)
    said = pytest.raises(
        TrainingError, match=r"trained on other images than those of x\.beton, though on as many"
    )
    with open_data(tmp_path / "order.beton") as other, said:
        goes_on(config, config, other, fingerprint=kept)


def test_files_without_checksums_are_told_apart_by_their_records():
    def file(fingerprint):
        sizes = np.full((3, 2), 32)
        columns = {"sizes_of": lambda _: sizes, "checksums_of": lambda _: None}
        return SimpleNamespace(image_fields=["image"], fingerprint=fingerprint, **columns)

    config = settings("x.beton", "run")
    prints = [data_fingerprint(file(text), config) for text in ("a", "b")]
    assert (
        prints[0]["sizes"] == prints[1]["sizes"]
        and prints[0]["records"] != prints[1]["records"]
        and not prints[0]["checksums"]
    )


def test_a_checkpoint_from_before_fingerprints_goes_on_and_says_so(data):
    config = settings("x.beton", "run")
    state = {
        "step": STEPS,
        "config": plain(config),
        "samples": 40,
        "world_size": 1,
        "method": {},
        "optimizer": {},
    }
    (said,) = refuse_another_run("step.pt", state, config, data, 1, STEPS)
    assert "kept no fingerprint" in said and "x.beton is not checked" in said
