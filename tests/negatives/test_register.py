"""A kind of negatives of a user's own, registered by a file, is as good as a built-in one."""

import sys
from unittest import mock

import pytest
import torch

from fastneg import plugins
from fastneg.config import ConfigError, EvaluateConfig, PretrainConfig, field_docs
from fastneg.errors import SettingsError
from fastneg.negatives.batch import make_negatives
from fastneg.negatives.contract import NEGATIVES, Negative, register
from fastneg.recipes.cli import build_config, main
from fastneg.recipes.presets import tiny_cpu
from fastneg.runs import checkpoint
from fastneg.training.trainer import pretrain
from helpers.plugins import name_plugin

OWN = '''
from fastneg.negatives import Negative, register
from fastneg.options import ConfigError, option


def generate(batch, config, generator):
    """The query views, some pixels to the side."""
    moved = batch.query.roll(config.shift_pixels, -1)[:, None]
    return moved.expand(-1, config.negatives_per_query, -1, -1, -1)


@register
class Shift(Negative):
    name = "shift"
    about = "the query view, moved"
    generate = staticmethod(generate)

    shift_pixels: int = option(3, at_least=1)
    """Pixels to the right."""
    shift_rows: str | None = option(None, choices=("all", "odd"))
    """Which rows move; default all."""

    def check(self, config):
        if config.shift_pixels >= config.image_size:
            raise ConfigError(f"--shift_pixels is {config.shift_pixels}: nothing would move.")

    def settle(self, config):
        return {"shift_rows": config.shift_rows or "all"}

    def facts(self, config):
        return {"shift_pixels": config.shift_pixels}
'''


@pytest.fixture
def shift(tmp_path, monkeypatch):
    """FASTNEG_PLUGINS names the user's file; what it brings is gone after the test."""
    name_plugin(monkeypatch, tmp_path, {"shift_negative": OWN})
    yield
    NEGATIVES.unregister("shift")
    sys.modules.pop("shift_negative", None)


def test_its_options_are_fields_with_default_bounds_and_check(shift):
    config = PretrainConfig(negatives="patch,shift", alpha="patch=1,shift=2")
    assert (config.shift_pixels, config.shift_rows, config.alphas()) == (3, "all", (1.0, 2.0))
    assert field_docs(PretrainConfig)["shift_pixels"] == "Pixels to the right."
    assert "shift (the query view, moved)" in field_docs(PretrainConfig)["negatives"]
    plain = config.replace(negatives="patch", alpha=1.0)
    assert plain.shift_rows is None and plain.without_effect() == {"shift_pixels"}
    assert config.without_effect() == set()
    for changes, said in (
        ({"shift_pixels": 0}, "--shift_pixels is 0: it must be at least 1"),
        ({"shift_pixels": 300}, "nothing would move"),
        ({"shift_rows": "even"}, "one of all, odd"),
        (
            {"negatives": "patch", "shift_rows": "odd"},
            "with shift among --negatives only",
        ),
        (
            {"negatives": "move"},
            "one of none, patch, texture, blur, random_image, queue_entry, shift",
        ),
    ):
        with pytest.raises(ConfigError, match=said):
            PretrainConfig(**{"negatives": "shift", **changes})
    assert EvaluateConfig(run="r", sets="a=b", similarity="shift").similarity_kinds() == ("shift",)


def test_the_command_line_knows_it(shift, capsys):
    assert main(["pretrain", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--shift_pixels = 3  (at least 1)\n      Pixels to the right." in text
    line = ["--preset", "tiny_cpu", "--data", "x.beton", "--out", "run"]
    assert build_config("pretrain", [*line, "--negatives", "shift"]).shift_pixels == 3
    with pytest.raises(ConfigError, match="--shift_pixels is 2, which has no effect"):
        build_config("pretrain", [*line, "--shift_pixels", "2"])


def test_it_trains_and_its_run_loads_again(shift, beton, tmp_path):
    plugins.load_named()
    small = {"epochs": 1, "batch_size": 8, "bn_splits": 2, "queue_size": 20, "feature_dim": 8}
    config = tiny_cpu().replace(
        data=str(beton), out=str(tmp_path / "run"), negatives="shift", shift_pixels=5, threads=1,
        log_every=1, augment_with="kernel", **small,
    )  # fmt: skip
    assert pretrain(config, stop_after=2).step == 2
    _, state = checkpoint.load_newest(tmp_path / "run")
    assert PretrainConfig(**state["config"]) == config and config.shift_pixels == 5


def test_what_cannot_be_registered_leaves_no_trace():
    for members, said in (
        ({"name": "none"}, "a word such as my_negative"),
        ({"name": "own", "__annotations__": {"alpha": int}, "alpha": 1}, "option alpha has a name"),
        (
            {"name": "own", "__annotations__": {"patch_min": int}, "patch_min": 3},
            "kinds that share an option need the same one",
        ),
    ):
        with pytest.raises(ValueError, match=said):
            register(type("Own", (Negative,), {"__module__": __name__, **members}))
    assert list(NEGATIVES) == ["patch", "texture", "blur", "random_image", "queue_entry"]
    assert PretrainConfig().patch_min == 16


def test_kinds_may_share_an_option():
    members = {"name": "own", "__annotations__": {"patch_min": int}, "patch_min": 0}
    register(type("Own", (Negative,), {"__module__": __name__, **members}))
    try:
        assert PretrainConfig(negatives="own").without_effect() == {"patch_max"}
    finally:
        NEGATIVES.unregister("own")


def test_a_generator_is_called_with_the_batch_the_config_and_a_generator(shift):
    plugins.load_named()
    config, batch = tiny_cpu().replace(negatives="shift"), type("Batch", (), {})()
    batch.query = torch.randn(2, 3, 32, 32)
    made = NEGATIVES["shift"](batch, config, torch.Generator())
    assert torch.equal(made[:, 0, :, :, 3:], batch.query[..., :-3])


@pytest.mark.parametrize("given", [lambda views: views, lambda views: views[:, None], len])
def test_what_it_gives_must_be_as_many_negatives_as_a_query_has(shift, monkeypatch, given):
    plugins.load_named()
    config, batch = tiny_cpu().replace(negatives="shift", negatives_per_query=2), mock.Mock()
    batch.query = torch.randn(4, 3, 32, 32)
    assert make_negatives(batch, config, None).shape == (4, 2, 3, 32, 32)
    wrong = staticmethod(lambda batch, *others: given(batch.query))
    monkeypatch.setattr(type(NEGATIVES["shift"]), "generate", wrong)
    with pytest.raises(SettingsError, match=r"--negatives shift gives .*: \(4, 2, 3, 32, 32\), "):
        make_negatives(batch, config, None)
