"""`fastneg.load_run(…).embed(…)`: the features of a file by its path."""

import numpy as np
import pytest
import torch

import fastneg
from fastneg.config import ConfigError
from fastneg.data import BetonReader
from fastneg.evaluation.features import features_of
from fastneg.runs import embed
from helpers.encoder_runs import make_run, silent
from helpers.tinted import damage, make_beton


def test_a_run_embeds_a_file(tmp_path):
    run, data = make_run(tmp_path / "run"), make_beton(tmp_path / "data.beton")
    loaded = fastneg.load_run(run)
    out = loaded.embed(str(data), batch_size=10, threads=1)
    assert out.features.shape == (24, loaded.feature_dim) and out.features.dtype == torch.float32
    assert out.labels.tolist() == [i % 4 for i in range(24)]
    assert out.index.tolist() == list(range(24)) and out.skipped == {}
    with BetonReader(data) as reader:
        kept = features_of(run, loaded, reader, threads=1, report=silent)
        again = loaded.embed(reader, threads=1)
        assert len(reader.encoded(0))  # it stays open
    assert torch.equal(again.features, kept.features)
    torch.testing.assert_close(out.features, kept.features)
    larger = loaded.embed(data, resize=48, threads=1)
    assert not torch.allclose(larger.features, out.features, atol=1e-3)


def test_what_cannot_be_used_is_told(tmp_path):
    data = make_beton(tmp_path / "data.beton")
    damage(data, 3)
    loaded = fastneg.load_run(make_run(tmp_path / "run"))
    config = loaded.config.replace(max_bad_share=0.5)
    with embed.central_crops(data, config, threads=1) as crops:
        out = embed.extract_features(loaded.backbone, crops, "cpu")
    assert 3 not in out.index.tolist() and list(out.skipped) == [3] and len(out.features) == 23
    with torch.no_grad():
        next(loaded.backbone.parameters()).fill_(np.nan)
    with pytest.raises(ConfigError, match="NaN or infinite features"):
        loaded.embed(make_beton(tmp_path / "whole.beton"), threads=1)
    loaded.backbone.train()
    with pytest.raises(ValueError, match="in training mode"):
        loaded.embed(tmp_path / "whole.beton", threads=1)
