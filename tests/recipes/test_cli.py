"""The command line: a config is built whole or the program stops with exit code 2 before any work
starts.

The thin recipes are tested through it: fastneg.recipes.failures, fastneg.recipes.pretrain,
fastneg.recipes.show_presets.
"""

import dataclasses
import subprocess
import sys

import pytest

from fastneg.config import ConfigError, PretrainConfig
from fastneg.recipes.arguments import build_config
from fastneg.recipes.cli import main
from fastneg.recipes.commands import COMMANDS
from fastneg.recipes.help import help_text
from fastneg.recipes.presets import PRESETS


def test_flags_reach_the_config():
    config = build_config(
        "pretrain",
        [
            "--preset",
            "tiny_cpu",
            "--data",
            "a.beton",
            "--out=runs/1",
            "--lr",
            "1e-3",
            "--batch-size",
            "64",
            "--check_crc",
        ],
    )
    assert config == PRESETS["tiny_cpu"]().replace(
        data="a.beton", out="runs/1", lr=1e-3, batch_size=64, check_crc=True
    )


def test_several_kinds_of_negatives_with_an_alpha_each():
    flags = [
        "--preset",
        "tiny_cpu",
        "--data",
        "a.beton",
        "--out",
        "r",
        "--negatives",
        "patch,texture",
        "--texture_source",
        "view",
    ]
    for alpha in ("texture=1,patch=2.5", "patch=2.5,texture=1"):
        assert build_config("pretrain", [*flags, "--alpha", alpha]).alphas() == (2.5, 1.0)
    assert build_config("pretrain", [*flags, "--alpha=3"]).alphas() == (3.0, 3.0)


def test_positional_arguments():
    config = build_config("encode", ["photos", "x.beton", "--max_side", "500"])
    assert (config.src, config.out, config.max_side) == ("photos", "x.beton", 500)
    assert build_config("report", ["a", "b", "--out", "r.html"]).runs == ("a", "b")
    assert (
        build_config("evaluate", ["--run", "r", "--sets", "a=/x/a.beton,b=/x/b.beton"]).sets
        == "a=/x/a.beton,b=/x/b.beton"
    )


TYPED = ["2012", "1e3", "007", "01", "1_000", "0x1F", "True", "None", "[a]", "{x}", "(1,2)", "a,b",
         "'q'", '"q"', "a#b", "-5", "", "\udcff", "a b", "1.0", "é", "\\n"]  # fmt: skip


@pytest.mark.parametrize("typed", TYPED)
def test_texts_reach_the_config_as_they_were_typed(typed):
    """Every field that takes a text, of every command, as --flag VALUE, as --flag=VALUE and as a
    positional argument."""
    import typing

    from fastneg.recipes.arguments import _fire, _quoted

    for name, command in COMMANDS.items():
        for field, hint in typing.get_type_hints(command.config).items():
            kinds = (hint, *typing.get_args(hint))
            if str not in kinds or float in kinds or field == "runs":
                continue
            got = {}
            probe = dataclasses.replace(
                command, builder=lambda *values, got=got, **flags: got.update(flags)
            )
            for words in ([f"--{field}", typed], [f"--{field}={typed}"]):
                got.clear()
                _fire(name, probe, _quoted(command, words))
                assert got == {field: typed}, (name, words)
    if not typed:
        return  # an empty text is no value
    assert build_config("report", [typed, "x"]).runs == (typed, "x")
    encode = build_config("encode", [typed, "--seed", "3", typed, "--split", typed])
    assert (encode.src, encode.out, encode.split, encode.seed) == (typed, typed, typed, 3)


def test_numbers_stay_numbers_where_a_number_is_due():
    flags = ["--preset", "tiny_cpu", "--data", "1", "--out", "2", "--lr", "1e-3", "--alpha", "3"]
    config = build_config("pretrain", flags)
    assert (config.data, config.out, config.lr, config.alpha) == ("1", "2", 1e-3, 3.0)
    assert build_config("encode", ["a", "b", "--max_side", "500"]).max_side == 500


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pretrian"], "did you mean pretrain?"),
        (
            ["pretrain", "--preset", "tiny_cpu", "--data", "x", "--out", "y", "--tempurature", "1"],
            "did you mean --temperature?",
        ),
        (
            ["pretrain", "--preset", "tiny_cpi", "--data", "x", "--out", "y"],
            "did you mean tiny_cpu?",
        ),
        (["pretrain", "--preset", "tiny_cpu", "--out", "y"], "--data is missing"),
        (["pretrain", "--data", "x", "--out", "y"], "preset"),
        (
            [
                "pretrain",
                "--preset",
                "tiny_cpu",
                "--data",
                "x",
                "--out",
                "y",
                "--check_crc",
                "false",
            ],
            "write --check_crc True or --check_crc False",
        ),
        (
            ["pretrain", "--preset", "tiny_cpu", "--data", "x", "--out", "y", "--lr", "fast"],
            "a number was expected",
        ),
        (
            ["pretrain", "--preset", "tiny_cpu", "--data", "x", "--out", "y", "--epochs", "1.5"],
            "a whole number was expected",
        ),
        (
            ["pretrain", "--preset", "tiny_cpu", "--data", "x", "--out", "y", "--epochs", "0"],
            "at least 1",
        ),
        (
            [
                "pretrain",
                "--preset",
                "tiny_cpu",
                "--data",
                "x",
                "--out",
                "y",
                "--negatives",
                "patches",
            ],
            "one of none, patch",
        ),
        (
            [
                "pretrain",
                "--preset",
                "tiny_cpu",
                "--data",
                "x",
                "--out",
                "y",
                "--lars_trust",
                "0.01",
            ],
            "has no effect with --optimizer sgd",
        ),
        (
            [
                "pretrain",
                "--preset",
                "tiny_cpu",
                "--data",
                "x",
                "--out",
                "y",
                "--warmup_epochs",
                "18",
            ],
            "less than --epochs 18",
        ),
        (
            [
                "pretrain",
                "--preset",
                "tiny_cpu",
                "--data",
                "x",
                "--out",
                "y",
                "--method",
                "byol",
                "--queue_size",
                "8",
            ],
            "no effect with --method byol (only with moco)",
        ),
        (
            [
                "pretrain",
                "--preset",
                "tiny_cpu",
                "--data",
                "x",
                "--out",
                "y",
                "--method",
                "simclr",
                "--bn",
                "split",
            ],
            "has no effect with --method",
        ),
        (
            ["pretrain", "--preset", "tiny_cpu_moco", "--data", "x", "--out", "y", "--alpha", "3"],
            "no effect with --negatives none",
        ),
        (
            [
                "pretrain",
                "--preset",
                "tiny_cpu",
                "--data",
                "x",
                "--out",
                "y",
                "--negatives",
                "none",
                "--patch_min",
                "4",
            ],
            "--patch_min is 4",
        ),
        (
            ["pretrain", "--preset", "tiny_cpu", "--data", "x", "--out", "y", "--patch_max", "400"],
            "cannot be larger than --image_size",
        ),
        (
            [
                "pretrain",
                "--preset",
                "tiny_cpu",
                "--data",
                "x",
                "--out",
                "y",
                "--image_size_schedule",
                "5:64",
            ],
            "the first epoch 0",
        ),
        (
            [
                "pretrain",
                "--preset",
                "tiny_cpu",
                "--data",
                "x",
                "--out",
                "y",
                "--image_size_schedule",
                "0:64,9:x",
            ],
            "EPOCH:SIZE",
        ),
        (
            [
                "pretrain",
                "--preset",
                "tiny_cpu",
                "--data",
                "x",
                "--out",
                "y",
                "--image_size_schedule",
                "0:8",
            ],
            "at least 16",
        ),
        (
            [
                "pretrain",
                "--preset",
                "moco_patch_in100",
                "--data",
                "x",
                "--out",
                "y",
                "--image_size_schedule",
                "0:64,9:224",
            ],
            "than the 64",
        ),
        (["encode", "photos"], "OUT is missing"),
        (["encode", "photos", ""], "--out is empty"),
        (["encode", "", "x"], "--src is empty"),
        (["encode", "photos", "x", "--max_side="], "--max_side is empty"),
        (["demo", "--out="], "--out is empty"),
        (["report", "", "--out", "r.html"], "--runs is empty"),
        (["completion", "--shell="], "--shell is empty"),
        (["study", "--dose", "3", "--seeds", "1-99999999999"], "at most 1,000"),
        (["encode", "photos", "x", "--seed", "9" * 20], "at most 9223372036854775807"),
        (["stencils", "x", "--rho", "1e400"], "--rho is inf: a finite number was expected"),
        (["pretrain", "tiny_cpu", "--data", "x", "--out", "y"], "did you mean --preset tiny_cpu?"),
        (["help", "pretrian"], "did you mean pretrain?"),
        (["--hlep"], "did you mean --help?"),
        (["-V"], "did you mean --version?"),
        (["bench", "infonce"], "did you mean info_nce?"),
        (["encode", "photos", "x.beton", "train"], "train"),
        (["verify", "x.beton", "as_dict"], "as_dict"),
        (["report"], "at least one run"),
        (["linear", "--run", "r", "--train", "a", "--val", "b", "--", "--trace"], "no meaning"),
    ],
)
def test_a_wrong_command_line_exits_2_and_says_what_is_wrong(arguments, said, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out


def test_a_failed_job_exits_1(capsys, tmp_path):
    assert main(["verify", str(tmp_path / "absent.beton")]) == 1
    assert "absent.beton" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_every_field(name, capsys):
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.strip() == help_text(name)
    for field in dataclasses.fields(COMMANDS[name].config):
        assert field.name in text or field.name.upper() in text


def test_overview_and_version(capsys):
    assert main([]) == 0
    assert "pretrain" in capsys.readouterr().out
    assert main(["--version"]) == 0


@pytest.mark.parametrize("words", [["help", "knn"], ["--help", "knn"], ["knn", "x", "-h"]])
def test_help_is_asked_for_in_any_order(words, capsys):
    assert main(words) == 0
    assert capsys.readouterr().out.strip() == help_text("knn")


def test_presets_are_listed(capsys):
    assert main(["presets"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in PRESETS)


def test_a_training_that_cannot_start_exits_1_with_one_line(beton, tmp_path, capsys):
    flags = [
        "--preset",
        "tiny_cpu",
        "--data",
        str(beton),
        "--out",
        str(tmp_path / "run"),
        "--device",
        "cpu",
    ]
    assert main(["pretrain", *flags]) == 1  # 40 images, a batch of 100
    said = capsys.readouterr().err
    assert "at least one batch of 100" in said and said.count("\n") == 1


def test_a_training_that_a_signal_stopped_exits_with_its_number(monkeypatch, tmp_path):
    from fastneg.recipes import pretrain
    from fastneg.training.trainer import Result

    stopped = Result(tmp_path, 3, finished=False, signal=15)
    monkeypatch.setattr(pretrain.trainer, "pretrain", lambda config: stopped)
    assert main(["pretrain", "--preset", "tiny_cpu", "--data", "x.beton", "--out", "run"]) == 143


@pytest.mark.parametrize("missing", ["fire", "nvidia.dali"])
def test_a_missing_extra_is_named(monkeypatch, capsys, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    packages = ("fastneg.data.load", "fastneg.training", "fastneg.recipes.pretrain")
    for module in [name for name in sys.modules if name.startswith(packages)]:
        monkeypatch.delitem(sys.modules, module)
    assert main(["pretrain", "--preset", "tiny_cpu", "--data", "x.beton", "--out", "run"]) in (1, 2)
    said = capsys.readouterr().err
    assert missing in said and "fastneg[train]" in said and said.count("\n") == 1


def test_the_module_runs_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "fastneg", "pretrain", "--wrong"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "--wrong" in done.stderr


def test_the_methods_are_those_that_a_config_may_name():
    from fastneg.methods import METHODS

    (field,) = [field for field in dataclasses.fields(PretrainConfig) if field.name == "method"]
    assert list(field.metadata["choices"]) == list(METHODS)


def test_replace_checks_again():
    with pytest.raises(ConfigError, match=r"less than 1"):
        PretrainConfig().replace(key_momentum=1.0)
    with pytest.raises(ConfigError, match="finite"):
        PretrainConfig().replace(alpha=float("nan"))


def test_the_size_of_the_views_follows_the_schedule():
    config = PretrainConfig(image_size=224, image_size_schedule="0:128,60:160,120:224")
    assert [config.view_size(epoch) for epoch in (0, 59, 60, 119, 120, 500)] == [
        128,
        128,
        160,
        160,
        224,
        224,
    ]
    assert PretrainConfig(image_size=64, patch_max=64).view_size(9) == 64
