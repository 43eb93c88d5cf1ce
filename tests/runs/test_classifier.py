"""RUN/linear.pt is read as it was written, or says what is wrong."""

import pytest
import torch

from fastneg.config import ConfigError
from fastneg.errors import CheckpointError
from fastneg.runs.classifier import classifier_path, read_classifier, write_classifier


def test_the_classifier(tmp_path):
    with pytest.raises(ConfigError, match="run fastneg linear"):
        read_classifier(tmp_path)
    content = {"format": 1, "digest": "ab", "checkpoint": "step-000000001.pt", "classes": None}
    write_classifier(tmp_path, content)
    with pytest.raises(CheckpointError, match="holds no weight and no bias"):
        read_classifier(tmp_path)
    whole = {**content, "weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    write_classifier(tmp_path, whole)
    read = read_classifier(tmp_path)
    assert read.keys() == whole.keys() and torch.equal(read["weight"], whole["weight"])
    classifier_path(tmp_path).write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_classifier(tmp_path)
