"""What is wrong with the words of a command line, told before a config is built
(fastneg.recipes.words)."""

import pytest

from fastneg.config import ConfigError
from fastneg.recipes.arguments import build_config

PRETRAIN = ["--preset", "tiny_cpu", "--data", "x.beton", "--out", "run"]


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "run"], r"no flag -o; did you mean --out\?"),
        (["-epochs", "3"], r"no flag -epochs; did you mean --epochs\?"),
        (["---epochs", "3"], r"no flag ---epochs; did you mean --epochs\?"),
        (["--temp", "1"], r"no flag --temp; did you mean --temperature\?"),
        (["--arch", "resnet18"], r"no flag --arch; did you mean --backbone\?"),
        (["--learning-rate", "1"], r"no flag --learning-rate; did you mean --lr\?"),
        (["--moco-k", "1"], r"no flag --moco-k; did you mean --queue_size\?"),
        (["--epochs", "3", "--epochs=4"], "--epochs is given twice"),
        (["--batch-size", "3", "--batch_size", "4"], "--batch_size is given twice"),
        (["tiny_cpu"], r"takes no argument 'tiny_cpu'; did you mean --preset tiny_cpu\?"),
        (["--negatives", "patch", "texture"], "several values of --negatives take commas"),
        (["--mean", "0.5", "0.5", "0.5"], "several values of --mean take commas"),
        (["epochs", "3"], r"takes no argument 'epochs'; did you mean --epochs\?"),
        (["--negatives", "patch,textur"], r"did you mean texture\?"),
        (["--device", "gpu"], r"did you mean cuda\?"),
        (["--precision", "bfloat16"], r"did you mean bf16\?"),
        (["--method", "MoCo"], r"did you mean moco\?"),
        (["--optimizer", "adam"], r"did you mean adamw\?"),
        (["--views", "mocov2"], r"did you mean moco_v2\?"),
    ],
)
def test_a_wrong_word_is_named_and_guessed(words, said):
    with pytest.raises(ConfigError, match=said):
        build_config("pretrain", [*PRETRAIN, *words])


@pytest.mark.parametrize(
    ("command", "words", "flag"),
    [
        ("pretrain", ["--data", "a.beton", "b.beton", "--preset", "tiny_cpu"], "--data"),
        ("pretrain", ["--data=a.beton", "b.beton", "--preset", "tiny_cpu"], "--data"),
        ("verify", ["a.beton", "b.beton"], "FILE"),
    ],
)
def test_several_values_without_commas_are_told(command, words, flag):
    """As where the shell puts names in the place of a pattern."""
    said = rf"no argument 'b\.beton': several values of {flag} take commas .* takes quotes"
    with pytest.raises(ConfigError, match=said):
        build_config(command, words)


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        ("pretrain", PRETRAIN[2:], "--preset is missing"),
        ("encode", [], "SRC is missing"),
        ("encode", ["--src", "a"], "OUT is missing"),
        ("encode", ["a", "b", "--src", "c"], "takes no argument 'b'"),
        ("encode", ["a", "b", "c"], "'c': SRC is 'a', OUT is 'b'. Several values of SRC are one"),
        ("encode", ["a", "b", "split"], "SRC is 'a', OUT is 'b'; did you mean --split"),
        ("textures", ["a", "b", "c"], "'c': SRC is 'a', OUT is 'b'."),
        ("embed", ["a", "b"], "'b': OUT is 'a'."),
        ("bench", ["--json", "x"], "NAME is missing"),
        ("evaluate", ["--run", "r"], "--sets is missing"),
        ("show", ["a.beton"], "OUT is missing"),
        ("show", ["a.beton", "b.png", "tiny_cpu"], "did you mean --preset tiny_cpu"),
        ("presets", ["tiny_cpu"], "takes no argument"),
    ],
)
def test_what_is_missing_or_too_much_is_named(command, words, said):
    with pytest.raises(ConfigError, match=rf"{said}.*Usage: fastneg {command}"):
        build_config(command, words)


def test_a_place_may_be_given_by_its_name():
    config = build_config("encode", ["x.beton", "--src", "photos"])
    assert (config.src, config.out) == ("photos", "x.beton")


def test_a_word_behind_a_switch_is_no_value_of_it():
    config = build_config("encode", ["--lossless", "photos", "x.beton"])
    assert (config.src, config.out, config.lossless) == ("photos", "x.beton", True)
    assert build_config("encode", ["a", "b", "--lossless", "False"]).lossless is False
    with pytest.raises(ConfigError, match="write --lossless True"):
        build_config("encode", ["a", "b", "--lossless", "yes"])
