"""Frost is as bright and rough as the photographs of it."""

import pytest
import torch

from fastneg.evaluation.corruptions.frost import KINDS, frost_textures
from fastneg.evaluation.corruptions.registry import SIZES


@pytest.mark.parametrize("size", SIZES)
def test_frost_textures_are_as_bright_and_rough_as_the_photographs(size):
    textures = frost_textures(size, torch.device("cpu"))
    assert textures.shape[:2] == (5, 3) and textures.min() >= 0 and textures.max() <= 1
    for texture, (colour, deviation, _) in zip(textures, KINDS, strict=True):
        torch.testing.assert_close(texture.mean((1, 2)), torch.tensor(colour), atol=0.02, rtol=0)
        # shrinking takes the finest structure away
        spread = texture.std((1, 2)).mean().item() / deviation
        assert 0.95 < spread < 1.05 if size == 224 else 0.6 < spread < 1
        inner = (texture[:, 1:] - texture[:, :-1]).abs().mean()
        seam = (texture[:, 0] - texture[:, -1]).abs().mean()
        assert seam < 2 * inner, "it tiles without a seam"
