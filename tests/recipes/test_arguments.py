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


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("encode", "~/in ~/out.beton --subset ~/c --class_names ~/n --textures ~/t"),
        ("textures", "~/in ~/out"),
        ("stencils", "~/out"),
        ("verify", "~/a.beton"),
        ("import", "~/w.pth ~/run"),
        ("export", "~/w.pth --run ~/run"),
        ("embed", "~/w.npz --run ~/run --data ~/a*.beton,~/b.beton"),
        ("linear", "--run ~/run --train ~/a --val [~/b,~/c]"),
        ("finetune", "--run ~/run --train ~/a --val ~/b"),
        ("knn", "--run=~/run --train=~/a --val=~/b"),
        ("evaluate", "--run ~/run --sets a=~/x,b=~/y:texture --categories ~/c --groups ~/g"),
        ("show", "~/a.beton ~/b.png"),
        ("report", "~/a ~/b --out ~/r.html"),
        ("bench", "info_nce --json ~/a --csv ~/b"),
        ("study", "--out ~/a --data ~/b"),
        ("demo", "--out ~/a"),
        ("pretrain", "--preset tiny_cpu --data ~/a --out ~/b --knn_every 1 --knn_train ~/c"),
        ("pretrain", "--preset tiny_cpu --data ~/a --out ~/b --backbone ~/n.py:make"),
    ],
)
def test_the_home_folder_is_expanded_in_every_path(command, words):
    texts = list(texts_of(build_config(command, words.split())))
    home = os.path.expanduser("~")
    assert not any("~" in text for text in texts)
    assert "".join(texts).count(home) >= words.count("~")


def texts_of(config):
    for value in vars(config).values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            yield from filter(lambda each: isinstance(each, str), value)


def test_the_home_folder_is_expanded_in_files_too(tmp_path):
    home, path = os.path.expanduser("~"), tmp_path / "a.json"
    path.write_text('{"run": "~/r", "sets": {"a": "~/x", "b": "~/y"}}')
    config = build_config("evaluate", ["--config", str(path)])
    assert (config.run, config.sets) == (f"{home}/r", f"a={home}/x,b={home}/y")
    path.write_text('{"runs": ["~/a", "b"], "out": "~/r.html"}')
    config = build_config("report", ["--config", str(path)])
    assert (config.runs, config.out) == ((f"{home}/a", "b"), f"{home}/r.html")


@pytest.mark.parametrize("wrapped", ["{}", "[{}]"])
def test_lists_with_and_without_brackets(wrapped):
    build = lambda name, *words: build_config(name, list(words))
    listed = lambda text: wrapped.format(text)
    run = ["--run", "r"]
    assert build("stencils", "o", "--sets", listed("train,swapped")).sets == "train,swapped"
    assert build("study", "--arms", listed("patch,none")).arms == "patch,none"
    assert build("study", "--seeds", listed("0-2,5")).seed_numbers() == (0, 1, 2, 5)
    assert build("evaluate", *run, "--sets", listed("a=x,b=y")).sets == "a=x,b=y"
    kinds = build("evaluate", *run, "--sets", "a=x", "--similarity", listed("patch,texture"))
    assert kinds.similarity_kinds() == ("patch", "texture")
    assert build("linear", *run, "--train", listed("a,b"), "--val", listed("c,d")).train == "a,b"
    assert build("knn", *run, "--train", "a", "--val", listed("c,d")).val == "c,d"
    assert build("embed", "o.npz", *run, "--data", listed("a,b")).data == "a,b"
    assert build("verify", listed("a,b")).file == "a,b"
    assert build("encode", listed("a.tar,b.tar"), "o").src == "a.tar,b.tar"
    config = build(
        *("pretrain", "--preset", "tiny_cpu", "--out", "o", "--data", listed("a,b")),
        *("--negatives", listed("patch,blur"), "--alpha", listed("patch=2,blur=1")),
        *("--image_size_schedule", listed("0:32,5:64"), "--mean", listed("0.5,0.5,0.5")),
    )
    assert (config.data, config.negatives, config.alphas()) == ("a,b", "patch,blur", (2.0, 1.0))
    assert config.view_sizes() == [(0, 32), (5, 64)] and config.mean == (0.5, 0.5, 0.5)


def test_brackets_of_a_pattern_stay():
    for typed in ("[ab]", "[a,b][c,d]", "x[0-9].beton"):
        assert build_config("verify", [typed]).file == typed
