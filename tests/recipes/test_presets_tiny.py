"""The presets for two CPU cores: what those that train share, and what a pair differs in."""

import pytest

from fastneg.recipes import presets_tiny
from fastneg.recipes.presets import PRESETS

TRAINED = ("simclr", "moco", "byol")


def differing(one, other):
    ours, theirs = one.as_dict(), other.as_dict()
    return {name for name, value in ours.items() if value != theirs[name]}


@pytest.mark.parametrize("method", TRAINED)
def test_an_arm_with_negatives_has_the_settings_of_the_plain_one(method):
    plain, patch = PRESETS[f"tiny_{method}"](), PRESETS[f"tiny_{method}_patch"]()
    assert differing(patch, plain) <= {"negatives", "alpha", "dose"}
    assert (plain.method, plain.negatives, patch.negatives) == (method, "none", "patch")


@pytest.mark.parametrize("method", ["simclr", "moco"])
def test_the_dose_is_given_where_there_is_a_softmax(method):
    patch = PRESETS[f"tiny_{method}_patch"]()
    assert 12.5 <= patch.dose <= 15 and patch.alpha == patch.dose * patch.temperature


def test_methods_share_the_network_and_the_views():
    shared = ("backbone", "image_size", "eval_resize", "crop_min", "views", "cache")
    found = {
        tuple(getattr(PRESETS[f"tiny_{method}"](), name) for name in shared) for method in TRAINED
    }
    assert len(found) == 1


def test_what_the_study_and_the_benchmarks_train_stays():
    """Figures of studies were made with these settings: with others they are another study."""
    simclr = presets_tiny.tiny_cpu_simclr()
    wanted = {
        "backbone": "resnet_tiny",
        "image_size": 32,
        "crop_min": 0.4,
        "views": "colour_invariant",
        "temperature": 0.1,
        "lr": 0.12,
        "lr_schedule": "cosine_step",
        "patch_min": 4,
        "patch_max": 12,
        "bn": "none",
        "optimizer": "sgd",
        "weight_decay": 1e-4,
    }
    assert {name: getattr(simclr, name) for name in wanted} == wanted
