"""Settings with names of earlier versions (fastneg.config.pretrain): runs load, resume and show."""

import json

import pytest
import torch

from fastneg.config import PretrainConfig
from fastneg.config.pretrain import RENAMED, todays_names
from fastneg.models.export import export_weights
from fastneg.models.preprocessing import of_file
from fastneg.recipes.cli import main
from fastneg.recipes.presets import tiny_cpu
from fastneg.report.entries import group_runs
from fastneg.report.sections import settings as settings_section
from fastneg.runs import checkpoint
from fastneg.runs.folder import read_run
from fastneg.runs.load import load_run
from fastneg.training.nonfinite import FORMAT, replay
from fastneg.training.trainer import pretrain

OLD = {new: old for old, new in RENAMED.items()}


def old_names(settings):
    return {OLD.get(name, name): value for name, value in settings.items()}


@pytest.fixture
def old_run(beton, tmp_path):
    """(config, a run folder of two steps) whose files have the old names."""
    config = tiny_cpu().replace(
        data=str(beton),
        out=str(tmp_path / "run"),
        views="simclr",
        augment_with="kernel",
        epochs=1,
        batch_size=8,
        bn_splits=2,
        queue_size=20,
        threads=1,
    )
    pretrain(config, stop_after=2)
    _, state = checkpoint.load_newest(tmp_path / "run")
    state["config"] = old_names(state["config"])
    assert {"augmentation", "augment"} <= state["config"].keys()
    checkpoint.save(tmp_path / "run", state["step"], {**state}, keep=3)
    file = tmp_path / "run" / "config.json"
    file.write_text(json.dumps(old_names(json.loads(file.read_text()))))
    return config, tmp_path / "run"


def test_every_old_name_is_none_of_todays():
    now = PretrainConfig().as_dict()
    assert not RENAMED.keys() & now.keys() and set(RENAMED.values()) <= now.keys()
    assert PretrainConfig.read(old_names(now)) == PretrainConfig()
    assert todays_names(old_names(now)) == todays_names(now) == now


def test_a_run_of_before_loads_shows_and_goes_on(old_run):
    config, folder = old_run
    assert load_run(folder).config == config
    run = read_run(folder, "old")
    assert run.config["views"] == "simclr" and "augmentation" not in run.config
    (entry,) = group_runs([run])
    command, _ = settings_section.reproduce(run)
    assert "--views simclr" in command and "--augment_with kernel" in command
    shown = repr(settings_section.section([entry]))
    assert "'views'" in shown and "'augment_with'" in shown and "'augmentation'" not in shown
    assert pretrain(config).finished
    assert "views" in json.loads((folder / "config.json").read_text())


def test_a_dump_and_an_export_of_before_are_read(old_run, tmp_path):
    config, folder = old_run
    _, state = checkpoint.load_newest(folder)
    export_weights(state["method"], config.replace(image_size=48, eval_resize=48), "safetensors",
                   tmp_path / "new.safetensors")  # fmt: skip
    content = (tmp_path / "new.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = header["__metadata__"]
    metadata["config"] = json.dumps(old_names(json.loads(metadata["config"])))
    text = json.dumps(header).encode()
    (tmp_path / "old.safetensors").write_bytes(
        len(text).to_bytes(8, "little") + text + content[8 + length :]
    )
    assert of_file(tmp_path / "old.safetensors").image_size == 48
    views = torch.randn(8, 3, 32, 32)
    dump = {"step": 2, "seed": 0, "lr": 0.1, "autocast": False, "config": state["config"],
            "index": views[:, 0, 0, 0], "inputs": (views, views, views[:, None]),
            "method": state["method"]}  # fmt: skip
    torch.save({"format": FORMAT, **dump}, tmp_path / "dump.pt")
    assert replay(tmp_path / "dump.pt")["step"] == 3


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
@pytest.mark.parametrize("equals", [False, True])
def test_an_old_flag_is_told(old, new, equals, capsys):
    words = [f"--{old}=dali"] if equals else [f"--{old}", "dali"]
    assert main(["pretrain", "--preset", "tiny_cpu", "--data", "x", "--out", "y", *words]) == 2
    assert capsys.readouterr().err.strip() == f"fastneg: --{old} is --{new} now."


def test_an_old_name_is_none_where_the_command_has_no_such_flag(capsys):
    assert main(["presets", "--augment", "x"]) == 2
    assert "presets has no flag --augment" in capsys.readouterr().err
