"""Glass blur follows long chains of exchanges."""

import torch

from fastneg.evaluation.corruptions.blur import shuffle_sources


def test_glass_blur_follows_long_chains():
    """All pixels take from their right neighbour: the last one's value runs through the whole
    row."""
    down, right = (
        torch.zeros(1, 12, 40, dtype=torch.int64),
        torch.ones(1, 12, 40, dtype=torch.int64),
    )
    source = shuffle_sources(down, right, 2).view(12, 40)
    assert source[5, 3:39].unique().tolist() == [5 * 40 + 39] and source[5, :3].tolist() == [
        200,
        201,
        202,
    ]
    assert torch.equal(source[:3], torch.arange(120).view(3, 40)), "the border stays"
