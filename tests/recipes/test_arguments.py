"""What a command line may look like, and what it is told where it cannot be
(fastneg.recipes.arguments)."""

import os

import pytest

from fastneg.config import ConfigError, PretrainConfig
from fastneg.recipes.arguments import build_config

PRETRAIN = ["--preset", "tiny_cpu", "--data", "x.beton", "--out", "run"]


@pytest.mark.parametrize("typed", ["patch,texture", "[patch,texture]", "[patch, texture]"])
def test_several_kinds_with_and_without_brackets(typed):
    assert build_config("pretrain", [*PRETRAIN, "--negatives", typed]).negatives == "patch,texture"


def test_several_kinds_as_a_list_of_a_program():
    assert PretrainConfig(negatives=["patch", "blur"]).negatives == "patch,blur"
    assert PretrainConfig().replace(negatives=("patch", "blur")).negatives == "patch,blur"


def test_a_whole_number_in_any_spelling():
    config = build_config("pretrain", [*PRETRAIN, "--queue_size", "1e4", "--epochs", "3.0"])
    assert (config.queue_size, config.epochs) == (10000, 3)
    assert isinstance(config.queue_size, int) and isinstance(config.epochs, int)
    with pytest.raises(ConfigError, match="whole number"):
        build_config("pretrain", [*PRETRAIN, "--epochs", "2.5"])


@pytest.mark.parametrize("words", [["--epochs"], ["--epochs", "--lr", "0.1"], ["--out"]])
def test_a_flag_without_its_value_is_told(words):
    with pytest.raises(ConfigError, match=rf"^{words[0]} needs a value"):
        build_config("pretrain", [*PRETRAIN, *words])


def test_a_switch_needs_no_value():
    assert build_config("pretrain", [*PRETRAIN, "--check_crc"]).check_crc is True
    assert build_config("pretrain", [*PRETRAIN, "--check_crc", "False"]).check_crc is False


def test_a_short_flag_is_guessed():
    with pytest.raises(ConfigError, match=r"no flag -e; did you mean --e\w+\?"):
        build_config("pretrain", [*PRETRAIN, "-e", "3"])


def test_negative_numbers_are_values():
    with pytest.raises(ConfigError, match="--seed is -1"):
        build_config("pretrain", [*PRETRAIN, "--seed", "-1"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--out=~/run"], "HOME/run"),
        (["--out", "~"], "HOME"),
        (["--out", "a~/b"], "a~/b"),
        (["--out", "~x"], "~x"),
    ],
)
def test_the_home_folder_is_expanded(words, expected):
    config = build_config("pretrain", [*PRETRAIN[:4], *words])
    assert config.out == expected.replace("HOME", os.path.expanduser("~"))


def test_the_home_folder_is_expanded_within_lists_of_sets():
    home = os.path.expanduser("~")
    config = build_config("evaluate", ["--run", "r", "--sets", "a=~/x,b=~/y"])
    assert config.sets == f"a={home}/x,b={home}/y"
