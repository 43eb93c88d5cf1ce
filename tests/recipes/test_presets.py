"""Presets hold the published settings; one and its baseline differ in the negatives alone."""

import pytest

from fastneg.config.method import stem_of
from fastneg.recipes.presets import PRESETS


def test_the_published_settings():
    patch, ifm = PRESETS["moco_patch_in100"](), PRESETS["moco_patch_ifm_in100"]()
    assert (patch.lr, patch.batch_size, patch.queue_size, patch.key_momentum, patch.alpha) == (
        0.03,
        128,
        16384,
        0.999,
        2.0,
    )
    assert (ifm.lr, ifm.batch_size, ifm.queue_size, ifm.key_momentum, ifm.alpha) == (
        0.8,
        512,
        16384,
        0.99,
        2.0,
    )
    for config in (patch, ifm):
        assert (config.epochs, config.weight_decay, config.temperature, config.feature_dim) == (
            200,
            1e-4,
            0.2,
            128,
        )
        assert (config.patch_min, config.patch_max, config.image_size, config.lr_schedule) == (
            16,
            72,
            224,
            "cosine_epoch",
        )


@pytest.mark.parametrize(
    ("with_negatives", "baseline"),
    [
        ("moco_patch_in100", "moco_in100"),
        ("moco_patch_alpha3_in100", "moco_in100"),
        ("moco_texture_in100", "moco_in100"),
        ("moco_patch_8k_in100", "moco_8k_in100"),
        ("moco_patch_ifm_64k_in100", "moco_ifm_in100"),
        ("tiny_cpu", "tiny_cpu_moco"),
        *[
            (f"{method}_patch_{data}", f"{method}_{data}")
            for method in ("simclr", "byol")
            for data in ("in100", "in1k")
        ],
        ("moco_patch_in1k", "moco_in1k"),
        ("moco_v3_patch_vit_in1k", "moco_v3_vit_in1k"),
        ("cifar_patch_resnet18", "cifar_resnet18"),
        ("small_patch_resnet18", "small_resnet18"),
    ],
)
def test_a_preset_and_its_baseline_differ_in_the_negatives_alone(with_negatives, baseline):
    ours, plain = PRESETS[with_negatives](), PRESETS[baseline]()
    differing = {name for name, value in ours.as_dict().items() if value != plain.as_dict()[name]}
    assert "negatives" in differing and differing <= {"negatives", "alpha", "texture_source"}


def test_the_settings_of_simclr_and_byol():
    simclr, byol = PRESETS["simclr_in1k"](), PRESETS["byol_in1k"]()
    for config in (simclr, byol):
        assert (
            config.optimizer,
            config.batch_size,
            config.lr,
            config.weight_decay,
            config.warmup_epochs,
        ) == ("lars", 4096, 4.8, 1e-6, 10)
    assert (simclr.temperature, simclr.epochs, simclr.feature_dim) == (0.1, 100, 128)
    assert (byol.key_momentum, byol.epochs, byol.feature_dim, byol.hidden_dim) == (
        0.99,
        300,
        256,
        4096,
    )
    assert byol.temperature is byol.queue_size is simclr.queue_size is None


def test_the_settings_for_cifar_are_solo_learns():
    config = PRESETS["cifar_resnet18"]()
    found = config.batch_size, config.lr, config.weight_decay, config.queue_size, config.epochs
    assert found == (256, 0.3, 1e-4, 32768, 1000)
    assert (config.crop_min, config.temperature, config.feature_dim) == (0.08, 0.2, 256)
    assert stem_of(config.backbone, config.image_size, config.stem) == "small"
    assert stem_of("resnet50", 64) == stem_of("vit_b_32", 32) == "standard"
    assert stem_of("timm:resnext50_32x4d", 63) == "small"
