"""What export writes, import takes back as a run."""

import torch

from fastneg.config import ExportConfig, ImportConfig
from fastneg.recipes.export import run_export
from fastneg.recipes.import_weights import run_import
from fastneg.runs.load import load_run
from helpers.encoder_runs import make_run


def test_an_exported_backbone_comes_back_as_a_run(tmp_path):
    run = make_run(tmp_path / "run")
    out = tmp_path / "backbone.safetensors"
    assert run_export(ExportConfig(str(out), str(run), "safetensors")) == 0
    imported = tmp_path / "imported"
    assert run_import(ImportConfig(str(out), str(imported), backbone="resnet_tiny")) == 0
    before, after = (load_run(folder).backbone.state_dict() for folder in (run, imported))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
