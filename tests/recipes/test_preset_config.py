"""What a preset says in pixels follows the size of the views (fastneg.recipes.preset_config)."""

import numpy as np
import pytest

from fastneg.config import ConfigError
from fastneg.recipes.preset_config import preset_config
from fastneg.recipes.presets import PRESETS


@pytest.mark.parametrize(
    ("preset", "changes", "expected"),
    [
        ("tiny_cpu", {"image_size": 64}, (8, 24, 64)),
        ("tiny_cpu", {"image_size": np.int64(64), "lr": np.float32(0.5)}, (8, 24, 64)),
        ("tiny_cpu", {"image_size": 64, "patch_min": 3}, (3, 24, 64)),
        ("tiny_cpu", {"image_size": 64, "eval_resize": 70}, (8, 24, 70)),
        ("moco_patch_in100", {"image_size": 32}, (2, 10, None)),
        ("cifar_patch_resnet18", {}, (2, 10, 32)),
        ("small_patch_resnet18", {"image_size": 96}, (8, 32, 96)),
    ],
)
def test_lengths_follow_the_size_of_the_views_unless_they_are_given(preset, changes, expected):
    config = preset_config(preset, data="x", out="y", **changes)
    assert (config.patch_min, config.patch_max, config.eval_resize) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "0:16,6:24"),
        ({"image_size": 64}, "0:32,6:48"),
        ({"image_size": 20}, "0:16,6:16"),
        ({"image_size": 64, "image_size_schedule": None}, None),
        ({"image_size": 64, "image_size_schedule": "0:40"}, "0:40"),
    ],
)
def test_a_schedule_of_sizes_follows_too(changes, expected):
    config = preset_config("cifar_cpu", data="x", out="y", **changes)
    assert config.image_size_schedule == expected


def test_every_preset_takes_small_views():
    for name in PRESETS:
        config = preset_config(name, data="x", out="y", image_size=32)
        assert config.image_size == 32 and (config.eval_resize or 32) >= 32


def test_the_presets_small_stem_is_of_backbones_that_have_one():
    own = {"data": "x", "out": "y"}
    assert preset_config("small_resnet18", **own).stem == "small"
    for backbone in ("resnet50", "timm:resnet26", "resnet18_w16", "densenet121"):
        assert preset_config("small_resnet18", **own, backbone=backbone).stem == "small"
    for backbone in ("vgg_tiny", "vit_b_16", "nets.py:Net"):
        assert preset_config("small_resnet18", **own, backbone=backbone).stem == "auto"
    changes = {**own, "backbone": "vgg_tiny", "stem": "small"}
    assert preset_config("small_resnet18", **changes).stem == "small"


def test_a_network_given_in_python_has_not_the_presets_stem_either(monkeypatch):
    import fastneg
    from fastneg.recipes import pretrain
    from helpers.own_nets import Small

    monkeypatch.setattr(pretrain.trainer, "pretrain", lambda config: config)
    stems = {}
    for backbone in ("resnet18", "vgg_tiny", Small):
        config = fastneg.pretrain(["x", "y"], "z", backbone=backbone, preset="small_resnet18")
        stems[config.backbone] = config.stem
    assert config.data == "x,y"
    assert stems == {"resnet18": "small", "vgg_tiny": "auto", "helpers.own_nets:Small": "auto"}


def test_an_unknown_setting_gets_a_guess():
    with pytest.raises(ConfigError, match=r"no setting 'epoch'; did you mean epochs\?"):
        preset_config("tiny_cpu", data="x", out="y", epoch=3)
