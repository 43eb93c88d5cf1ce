"""--config FILE (fastneg.recipes.settings_files): files of three kinds, a run's own, and flags,
which win."""

import json

import pytest

from fastneg.config import ConfigError, PretrainConfig
from fastneg.recipes.arguments import build_config
from fastneg.recipes.presets import tiny_cpu

TEXTS = {
    "a.yaml": "preset: tiny_cpu\ndata: x.beton\nout: run\nlr: 0.5\nqueue_size: 64\n"
    "check-crc: true\n",
    "a.toml": 'preset = "tiny_cpu"\ndata = "x.beton"\nout = "run"\nlr = 0.5\nqueue_size = 64\n'
    "check_crc = true\n",
    "a.json": '{"preset": "tiny_cpu", "data": "x.beton", "out": "run", "lr": 0.5, "queue_size": 64,'
    ' "check_crc": true}',
}


@pytest.fixture(params=TEXTS)
def file(tmp_path, request):
    if request.param == "a.toml":
        pytest.importorskip("tomllib")
    path = tmp_path / request.param
    path.write_text(TEXTS[request.param])
    return str(path)


def test_a_file_of_each_kind(file):
    expected = tiny_cpu().replace(data="x.beton", out="run", lr=0.5, queue_size=64, check_crc=True)
    assert build_config("pretrain", ["--config", file]) == expected
    assert build_config("pretrain", [f"--config={file}"]) == expected


def test_flags_win(file):
    config = build_config("pretrain", ["--lr", "0.25", "--config", file, "--out=other"])
    assert (config.lr, config.out, config.queue_size) == (0.25, "other", 64)


def test_a_value_that_is_called_like_a_field_hides_nothing(file):
    """--out lr gives the folder lr; the file's lr stays."""
    config = build_config("pretrain", ["--config", file, "--out", "lr"])
    assert (config.out, config.lr) == ("lr", 0.5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"negatives": "none"},
        {"method": "simclr"},
        {"negatives": "patch,texture", "alpha": "patch=2,texture=1"},
    ],
)
def test_a_runs_own_config_gives_the_run_again(tmp_path, changes):
    run = tiny_cpu().replace(data="x.beton", out="run", **changes)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(run.as_dict()))
    again = build_config("pretrain", ["--config", str(path)])
    idle = run.without_effect()
    assert {name for name, value in run.as_dict().items() if again.as_dict()[name] != value} <= idle
    assert build_config("pretrain", ["--config", str(path), "--seed", "7"]).seed == 7


def test_names_of_earlier_versions_are_understood(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"data": "x", "out": "y", "augmentation": "simclr"}))
    config = build_config("pretrain", ["--config", str(path)])
    assert config == PretrainConfig(data="x", out="y", views="simclr")


def test_positional_fields_may_stand_in_the_file(tmp_path):
    path = tmp_path / "encode.yaml"
    path.write_text("src: '2012'\nout: x.beton\nmax_side: 500\n")
    config = build_config("encode", ["--config", str(path)])
    assert (config.src, config.out, config.max_side) == ("2012", "x.beton", 500)
    config = build_config("encode", ["photos", "--seed", "3", "--config", str(path)])
    assert (config.src, config.out, config.seed) == ("photos", "x.beton", 3)
    path.write_text("runs: [a, b]\nout: r.html\n")
    assert build_config("report", ["--config", str(path)]).runs == ("a", "b")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.ini", "", r"\.json, NAME\.toml"),
        ("a.yaml", "lr: [", "cannot be read"),
        ("a.json", "[1]", "holds no settings"),
        ("a.yaml", "", "holds no settings"),
        ("a.yaml", "tempurature: 1", "did you mean temperature"),
        ("a.yaml", "epochs: many", "epochs"),
        ("missing/a.yaml", None, "cannot be read: No such file or directory"),
        ("a.yaml", "lr: 1\nepochs: 2\nlr: 3", "has lr twice"),
        ("a.json", '{"lr": 1, "lr": 3}', "has lr twice"),
        ("a.json", '{"batch_size": 1, "batch-size": 3}', "has batch_size twice"),
        ("a.json", '{"views": "simclr", "augmentation": "moco_v1"}', "has views twice"),
        ("a.json", '{"lr": Infinity}', "--lr is 'inf'"),
        ("a.yaml", "optim:\n  lr: 1", "has optim, .*did you mean optimizer"),
    ],
)
def test_what_is_no_settings_file_is_told(tmp_path, name, text, said):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        build_config("pretrain", ["--config", str(path), "--data", "x", "--out", "y"])


def test_values_of_yaml_are_what_the_command_line_takes_them_for(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(
        "\ufeffpreset: tiny_cpu\ndata: 2024-01-01\nout: 1:30\nlr: 1e-3\nqueue_size: 1e3\n"
        "check_crc: True\nimage_size_schedule: 0:16\ninit: ~\nweight_decay: .5\n"
        "alpha: 0.5\ncache_dir: 007\n"
    )
    with pytest.raises(ConfigError, match="--init is None"):
        build_config("pretrain", ["--config", str(path)])
    path.write_text(path.read_text().replace("~", "on"))
    config = build_config("pretrain", ["--config", str(path)])
    assert (config.data, config.out, config.init) == ("2024-01-01", "1:30", "on")
    assert config.cache_dir == "007"
    assert (config.lr, config.queue_size, config.check_crc) == (0.001, 1000, True)
    assert (config.image_size_schedule, config.weight_decay) == ("0:16", 0.5)


def test_a_date_of_toml_is_a_text(tmp_path):
    pytest.importorskip("tomllib")
    path = tmp_path / "a.toml"
    path.write_text("out = 2024-01-01\ndata = 10:30:00\n")
    config = build_config("pretrain", ["--config", str(path)])
    assert (config.data, config.out) == ("10:30:00", "2024-01-01")


@pytest.mark.parametrize("words", [["--config"], ["--config", "--lr"]])
def test_config_needs_a_file(words):
    with pytest.raises(ConfigError, match="needs a value"):
        build_config("pretrain", words)


def test_a_preset_in_a_file_is_as_one_on_the_command_line(tmp_path):
    path = tmp_path / "a.json"
    own = {"preset": "moco_texture_in100", "data": "x.beton", "out": "run", "texture_patch": 48}
    path.write_text(json.dumps(own))
    flags = [f"--{name}={value}" for name, value in own.items()]
    assert build_config("pretrain", ["--config", str(path)]) == build_config("pretrain", flags)


def test_show_takes_settings_beside_a_run(tmp_path):
    run = tiny_cpu().replace(data="x.beton", out="run")
    (tmp_path / "config.json").write_text(json.dumps(run.as_dict()))
    (tmp_path / "a.json").write_text('{"seed": 7}')
    shown = build_config("show", [str(tmp_path), "x.png", "--config", str(tmp_path / "a.json")])
    assert (shown.seed, shown.image_size) == (7, run.image_size)
