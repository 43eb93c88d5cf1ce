"""PretrainConfig is made of parts, each of which checks itself."""

import subprocess
import sys
from dataclasses import fields

import pytest

from fastneg.config import ConfigError, PretrainConfig, field_docs
from fastneg.config.method import MethodPart
from fastneg.config.negatives import NegativesPart
from fastneg.config.optimisation import OptimisationPart
from fastneg.config.pretrain import PARTS
from fastneg.config.run import DataPart, RunPart
from fastneg.config.views import ViewsPart
from fastneg.methods import METHODS
from fastneg.negatives import NEGATIVES
from fastneg.recipes.presets import tiny_cpu


def test_each_field_stands_in_one_part_in_the_order_of_the_parts():
    assert (DataPart, MethodPart, NegativesPart, ViewsPart, OptimisationPart, RunPart) == PARTS
    names = [field.name for part in PARTS for field in fields(part)]
    assert names == [field.name for field in fields(PretrainConfig)]
    assert len(set(names)) == len(names) > 60
    assert names[:3] == ["data", "out", "order"] and names[-1] == "probe"


def test_each_field_and_each_choice_is_explained():
    docs = field_docs(PretrainConfig)
    assert all(docs.get(field.name) for field in fields(PretrainConfig))
    assert all(f"{name}: {method.about}" in docs["method"] for name, method in METHODS.items())
    assert all(f"{name} ({kind.about})" in docs["negatives"] for name, kind in NEGATIVES.items())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"crop_min": 0.9, "crop_max": 0.5}, "--crop_min is 0.9, above --crop_max 0.5"),
        ({"eval_resize": 100}, "--eval_resize is 100, below --image_size 224"),
        ({"image_size_schedule": "1:64"}, "the first epoch 0 and each later"),
        ({"mean": "1,2"}, "three numbers of 0 to 1"),
        ({"views": "mocov2"}, "--views is 'mocov2': crop_flip, moco_v1"),
        (
            {"augment_with": "torch"},
            "--augment_with is 'torch': it must be one of auto, dali, kernel",
        ),
        ({"epochs": 5, "warmup_epochs": 5}, "it must be less than --epochs 5"),
        ({"cuda_graphs": True, "compile": True}, "--compile makes kernels of its own"),
        ({"cuda_graphs": True, "bn": "sync"}, "a pass waits for other processes"),
        ({"cuda_graphs": True, "method": "simclr"}, "--method simclr has no key encoder"),
        ({"key_pass": "batched", "bn": "sync"}, "statistics are over whole passes: take separate"),
        ({"key_pass": "batched", "negatives": "none"}, "there are no negatives: take separate"),
        ({"method": "byol", "bn": "shuffle"}, r"has no effect with --method byol: .*\(moco only\)"),
        ({"knn_val": "v.beton"}, "no effect without --knn_every"),
        ({"keep_every": 3, "checkpoint_every": 2}, "only every 2nd epoch"),
        ({"patch_min": 80}, "--patch_min is 80, above --patch_max 72"),
        ({"patch_min": 80, "negatives": "none"}, "--patch_min is 80, above --patch_max 72"),
        ({"image_size": 64, "patch_max": 72}, "a patch cannot be larger than --image_size 64"),
        ({"image_size_schedule": "0:64", "patch_max": 72}, "than the 64 of --image_size_schedule"),
    ],
)
def test_each_part_checks_itself(changes, said):
    with pytest.raises(ConfigError, match=said):
        PretrainConfig(**changes)


def test_a_config_is_told_from_another_class_and_is_frozen():
    config = PretrainConfig()
    assert config == PretrainConfig() and hash(config) == hash(PretrainConfig())
    assert "queue_size=16384" in repr(config)
    for name in ("epochs", "queue_size", "texture_source"):
        with pytest.raises(AttributeError):
            setattr(config, name, 3)


def test_the_config_and_the_presets_need_no_torch():
    code = """
import sys
import fastneg.recipes.show_presets
from fastneg.config import PresetsConfig
fastneg.recipes.show_presets.run_presets(PresetsConfig(all=True))
print([name for name in ("torch", "numpy", "PIL", "importlib.metadata") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_run_is_as_long_as_its_epochs_or_its_steps():
    config = tiny_cpu().replace(steps=7)
    assert (config.total_steps(5), config.total_epochs(5), config.span(5)) == (7, 2, 1.4)
    assert PretrainConfig(**config.as_dict()) == config == tiny_cpu().replace(**config.as_dict())
    back = config.replace(epochs=3)
    assert back.steps is None and back.total_steps(5) == 15 and back.total_epochs(5) == 3
    for make in (
        lambda: tiny_cpu().replace(steps=7, epochs=3),
        lambda: back.replace(steps=7).replace(epochs=3, steps=7),
    ):
        with pytest.raises(ConfigError, match="--epochs is 3 and --steps is 7"):
            make()
    with pytest.raises(ConfigError, match="give one of them"):
        PretrainConfig(steps=7, epochs=3)
