"""The environment names what a figure depends on, the memory of the device included; its file and
that of the settings."""

import json

import pytest
import torch

from fastneg.runs import paths
from fastneg.runs.environment import device_memory, environment, write_settings


def test_memory_is_told_where_there_is_a_device():
    assert device_memory(torch.device("cpu")) == {}


@pytest.mark.gpu
def test_the_peak_of_a_device():
    device = torch.device("cuda", 0)
    before = device_memory(device)["peak_mib"]
    kept = torch.empty(int((before + 64) * 2**20), dtype=torch.uint8, device=device)
    assert device_memory(device)["peak_mib"] >= len(kept) / 2**20


def test_the_environment_names_what_a_figure_depends_on():
    found = environment(torch.device("cpu"))
    assert torch.__version__.startswith(found["versions"]["torch"]) and found["cores"] >= 1
    assert found["commit"] is None or len(found["commit"]) >= 12


def test_both_files_and_nothing_else(tmp_path):
    run = tmp_path / "new" / "run"
    write_settings(run, {"lr": 0.1}, {"cores": 2})
    write_settings(run, {"lr": 0.2}, {"cores": 2})  # of a run that goes on
    assert json.loads((run / paths.CONFIG).read_text()) == {"lr": 0.2}
    assert json.loads((run / paths.ENVIRONMENT).read_text()) == {"cores": 2}
    assert {path.name for path in run.iterdir()} == {paths.CONFIG, paths.ENVIRONMENT}
