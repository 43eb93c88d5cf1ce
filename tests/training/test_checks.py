"""Batches of one, views too small, and processes that are not there: refused before data is opened
(fastneg.training.checks)."""

import shutil

import numpy as np
import pytest
import torch

from fastneg.config import ConfigError
from fastneg.distributed import World
from fastneg.errors import TrainingError
from fastneg.models.backbones import build_backbone, refuses
from fastneg.recipes.presets import tiny_cpu, tiny_cpu_supcon
from fastneg.training.checks import check_batch, check_data, check_length, check_place, check_room
from fastneg.training.trainer import pretrain

NONE = {"bn": "none", "bn_splits": None}
SMALL = {"backbone": "alexnet", "patch_min": 4, "patch_max": 16, **NONE}


def world(size=1):
    return World(0, size, torch.device("cpu"))


@pytest.mark.parametrize(
    ("changes", "processes", "said"),
    [
        ({"batch_size": 1, **NONE}, 1, "the batch is one image"),
        ({"batch_size": 1, "method": "byol", **NONE}, 1, "the batch is one image"),
        ({"batch_size": 1, "method": "simclr", **NONE}, 1, "the batch is one image"),
        (
            {"batch_size": 4, "method": "simclr", **NONE},
            4,
            "the batch of each process is one image.*a --batch_size of 8",
        ),
        (
            {"batch_size": 4, "bn": "sync", "bn_splits": None},
            4,
            "the batch of each process is one image",
        ),
        (
            {"batch_size": 4, "method": "byol", "accumulate": 4, **NONE},
            1,
            "each of the 4 parts.*is one image.*a --batch_size of 8",
        ),
        (
            {"batch_size": 8, "accumulate": 2, "bn_splits": 2},
            2,
            "each group would hold one image, because each of the 2 parts of a batch "
            ".--accumulate. is 2",
        ),
        ({"batch_size": 4, "bn_splits": 4}, 1, "each group would hold one image"),
        ({"batch_size": 1, "bn_splits": 1}, 1, "the batch is one image"),
        (
            {"batch_size": 6, "accumulate": 4, **NONE},
            1,
            "--accumulate is 4: it must divide the batch, 6",
        ),
        ({"batch_size": 9, **NONE}, 2, "a multiple of the number of processes, 2"),
    ],
)
def test_a_batch_of_one_is_refused_wherever_it_is(changes, processes, said):
    with pytest.raises(TrainingError, match=said):
        check_batch(tiny_cpu().replace(**changes), world(processes))


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 2, **NONE},
        {"batch_size": 4, "bn_splits": 2},
        {"batch_size": 4, "accumulate": 2, **NONE},
    ],
)
def test_two_images_are_enough(changes):
    check_batch(tiny_cpu().replace(**changes), world())


@pytest.mark.parametrize(("bn", "instead"), [("shuffle", "split"), ("sync", "none")])
def test_what_one_process_is_advised_is_what_it_may_take(bn, instead):
    """tests/training/test_resume_settings.py takes the advice."""
    config = tiny_cpu().replace(bn=bn, bn_splits=None)
    with pytest.raises(
        TrainingError, match=f"take --bn {instead}. A run that began with --bn {bn} can be resumed"
    ):
        check_place(config, world())
    check_place(config, world(2))
    check_place(config.replace(bn=instead), world())


@pytest.mark.parametrize(
    ("name", "side", "said"),
    [
        ("alexnet", 32, "alexnet does not take images of 32 px.*take 63 px or more"),
        ("googlenet", 14, "take 15 px or more"),
        ("squeezenet1_1", 16, "take 17 px or more"),
        ("timm:convnext_atto", 31, "take 32 px or more"),
    ],
)
def test_a_size_that_a_backbone_does_not_take_is_refused_with_the_least_one(name, side, said):
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    with pytest.raises(ConfigError, match=said):
        build_backbone(name, side)


def test_a_backbone_that_leaves_nothing_of_its_views_is_refused():
    """A mean over no pixels is a NaN, and no error."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), Halved())
    assert refuses(network, 32) is None
    assert refuses(network, 1) == "their feature maps are empty after its Halved:"
    assert network.training and network[0].training
    torch.nn.init.constant_(network[0].bias, float("inf"))
    assert refuses(network, 32) == "their features are not finite:"


class Halved(torch.nn.Module):
    def forward(self, images):
        return images[:, :, : images.shape[2] // 2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 1, **NONE}, "is one image"),
        ({**SMALL, "image_size": 32, "eval_resize": 32}, "alexnet does not take"),
        (
            {**SMALL, "image_size": 64, "eval_resize": 64, "image_size_schedule": "0:32,1:64"},
            "--image_size_schedule has views of 32 px",
        ),
    ],
)
def test_it_is_told_before_the_data_is_opened(tmp_path, changes, said):
    config = tiny_cpu().replace(
        data=str(tmp_path / "absent.beton"), out=str(tmp_path / "run"), device="cpu", **changes
    )
    with pytest.raises((TrainingError, ConfigError), match=said):
        pretrain(config)
    assert not (tmp_path / "run").exists()


def test_a_warm_up_ends_before_the_steps():
    config = tiny_cpu().replace(steps=10, warmup_epochs=2)
    check_length(config, 4)
    with pytest.raises(TrainingError, match="10 steps with this data: it must be less than"):
        check_length(config, 5)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (None, "and photos has none"),
        ([2, 2, 2, 2], "those of photos are 2: two or more classes"),
        ([0, -1, 0, -1], "are -1, 0: two or more classes"),
        ([0, 1, -3, 2], "are -3, 0, 1: .*from 0 on.*-1 for an image without"),
    ],
)
def test_labels_must_tell_classes_apart(labels, said):
    config = tiny_cpu_supcon().replace(data="photos", batch_size=2)
    with pytest.raises(TrainingError, match=said):
        check_data(Labelled(labels), config)
    assert check_data(Labelled(labels), tiny_cpu().replace(data="photos", batch_size=4)) == []


def test_images_without_a_label_are_told():
    config = tiny_cpu_supcon().replace(data="photos", batch_size=2)
    assert check_data(Labelled([0, 1, 0, 1]), config) == []
    (told,) = check_data(Labelled([0, 1, -1, 0]), config)
    assert told.startswith("1 of 4 images have no label (-1)")


class Labelled:
    """What `check_data` asks of a reader."""

    def __init__(self, labels):
        self.labels = None if labels is None else np.array(labels)

    def __len__(self):
        return 4


def test_a_checkpoint_must_fit_the_disk(tmp_path, monkeypatch):
    method = torch.nn.Linear(100, 100)  # 40,400 bytes, and as many of momenta
    for free in (80_800, 80_799):
        usage = shutil._ntuple_diskusage(10**6, 0, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        if free == 80_800:
            check_room(tmp_path, method)
    with pytest.raises(TrainingError, match="A checkpoint takes 0 MiB"):
        check_room(tmp_path, method)
