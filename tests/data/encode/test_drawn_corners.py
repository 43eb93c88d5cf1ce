"""Textures made while encoding try the same places as texture negatives of the same seed."""

import pytest
import torch

from fastneg.data.encode.textures import SynthesisedTextures
from fastneg.kernels.texture import block_grid
from fastneg.negatives.texture_torch import draw_corners


@pytest.mark.parametrize("seed", range(3))
def test_candidates_are_drawn_as_for_negatives(seed):
    maker, block, overlap = SynthesisedTextures(size=40, patch=24, block=10, candidates=7), 10, 2
    grid = block_grid((40, 40), block, overlap)
    ours = maker._draw_corners(grid, 2, torch.Generator().manual_seed(seed))
    theirs = draw_corners(
        (1, 1),
        (40, 40),
        patch=24,
        block=block,
        overlap=overlap,
        candidates=7,
        generator=torch.Generator().manual_seed(seed),
    )
    assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)
