"""The registry of negatives, and what all kinds have in common."""

import pytest
import torch

from fastneg.config import ConfigError, PretrainConfig
from fastneg.data.load.batch import ViewBatch
from fastneg.negatives import NEGATIVES
from fastneg.negatives.batch import make_negatives
from fastneg.negatives.blur_torch import blur_negatives
from fastneg.negatives.random_image_torch import random_image_negatives
from fastneg.negatives.texture import texture_sizes
from fastneg.recipes.presets import tiny_cpu


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def views(n=5, size=32, seed=0):
    return torch.randn(n, 3, size, size, generator=generator(seed)).contiguous(
        memory_format=torch.channels_last
    )


def batch(n=5, size=32):
    return ViewBatch(views(n, size), views(n, size, 1), torch.arange(n), None)


def test_the_config_knows_every_kind():
    assert list(NEGATIVES) == ["patch", "texture", "blur", "random_image", "queue_entry"]
    assert PretrainConfig(negatives="none").negative_kinds() == ()


@pytest.mark.parametrize("kind", [name for name, one in NEGATIVES.items() if not one.from_queue])
def test_each_kind_gives_m_views_a_query_and_repeats_itself(kind):
    config = tiny_cpu().replace(
        negatives=kind,
        negatives_per_query=2,
        **({"texture_source": "view"} if kind == "texture" else {}),
    )
    one, again, other = (make_negatives(batch(), config, generator(seed)) for seed in (1, 1, 2))
    assert one.shape == (5, 2, 3, 32, 32) and one.dtype == torch.float32
    assert (
        torch.equal(one, again)
        and not torch.equal(one, other)
        and not torch.equal(one[:, 0], one[:, 1])
    )
    assert one.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_several_kinds_stand_in_the_order_in_which_they_are_named():
    together = make_negatives(
        batch(), tiny_cpu().replace(negatives="blur,patch", negatives_per_query=2), generator()
    )
    g = generator()
    alone = [
        make_negatives(batch(), tiny_cpu().replace(negatives=kind, negatives_per_query=2), g)
        for kind in ("blur", "patch")
    ]
    assert torch.equal(together, torch.cat(alone, 1))
    assert together.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    assert together.flatten(0, 1).data_ptr() == together.data_ptr()


def test_no_kind_gives_none():
    assert make_negatives(batch(), tiny_cpu().replace(negatives="none"), generator()) is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: random_image_negatives(views(1)), "images has 1 image"),
        (lambda: random_image_negatives(views(), 0), "count is 0"),
        (lambda: blur_negatives(views(), 0), "count is 0"),
        (lambda: blur_negatives(views().byte()), "dtype torch.uint8"),
        (lambda: blur_negatives(views(), 1, (0.2, 0.1)), "widths is"),
    ],
)
def test_a_callers_mistake_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"negatives": "patches"}, "one of none, patch, texture, blur, random_image"),
        ({"negatives": "patch,patch"}, "each once"),
        ({"negatives": "none,patch"}, "without none"),
        ({"negatives": ""}, "--negatives is empty"),
        ({"alpha": "patch=2,texture=1"}, "each named once"),
        ({"alpha": "patch=2", "negatives": "patch,texture"}, "each named once"),
        ({"alpha": "patch=2,patch=1"}, "each named once"),
        ({"alpha": "patch:2"}, "such as patch=2,texture=1"),
        ({"alpha": "patch=-1"}, "alpha of patch is -1.0: it must be at least 0"),
        ({"alpha": float("inf")}, "--alpha is inf"),
        ({"texture_patch": 40}, "it has an effect with texture among --negatives only"),
        ({"texture_source": "view"}, "it has an effect with texture among --negatives only"),
        (
            {"negatives": "texture", "texture_patch": 300, "texture_source": "view"},
            "a patch the view",
        ),
        (
            {"negatives": "texture", "texture_patch": 20, "texture_block": 21},
            "a block must fit a patch",
        ),
        (
            {"negatives": "texture", "texture_source": "file", "negatives_per_query": 2},
            "a file holds one texture",
        ),
        (
            {"negatives": "texture", "texture_source": "file", "texture_block": 20},
            "no effect with --texture_source file",
        ),
        (
            {"negatives": "random_image", "batch_size": 1, "bn": "none"},
            "another image in the batch",
        ),
    ],
)
def test_a_wrong_setting_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        PretrainConfig(**changes)


def test_one_alpha_or_one_for_each_kind():
    assert PretrainConfig(negatives="patch,texture", alpha=3).alphas() == (3.0, 3.0)
    config = PretrainConfig(
        negatives="patch,texture", alpha="texture=1,patch=2.5", negatives_per_query=2
    )
    assert config.alphas() == (2.5, 2.5, 1.0, 1.0)
    assert PretrainConfig(**config.as_dict()) == config


def test_a_dose_is_alpha_over_the_temperature():
    """It follows the temperature, gives way to an alpha, and is written down beside it."""
    config = tiny_cpu().replace(dose=12.5, temperature=0.2)
    assert config.alphas() == (2.5,) and config.replace(temperature=0.1).alphas() == (1.25,)
    assert config.replace(alpha=3.0).dose is None and config.replace(seed=1).alpha == 2.5
    each = config.replace(negatives="patch,texture", dose="texture=5,patch=10")
    assert each.alphas() == (2.0, 1.0)
    for one in (config, each):
        assert PretrainConfig(**one.as_dict()) == one == tiny_cpu().replace(**one.as_dict())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tiny_cpu().replace(dose=5, alpha=2.0), "--alpha is 2.0 and --dose is 5.0"),
        (lambda: PretrainConfig(dose=5, alpha=3), "give one of them"),
        (lambda: PretrainConfig(method="byol", dose=5), "--method byol has no temperature"),
        (lambda: PretrainConfig(dose=-1), "--dose is -1.0: it must be at least 0"),
        (lambda: PretrainConfig(dose="patch=x"), "--dose is 'patch=x'"),
        (lambda: PretrainConfig(dose="blur=1"), "each named once"),
    ],
)
def test_a_wrong_dose_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_the_defaults_of_textures_scale_with_the_view():
    config = PretrainConfig(negatives="texture")
    assert texture_sizes(config, 224) == {"patch": 96, "block": 32, "overlap": 8, "candidates": 128}
    assert texture_sizes(config, 32) == {"patch": 14, "block": 5, "overlap": 1, "candidates": 128}
    assert texture_sizes(config.replace(texture_patch=50, texture_block=20), 64) == {
        "patch": 50,
        "block": 20,
        "overlap": 5,
        "candidates": 128,
    }
