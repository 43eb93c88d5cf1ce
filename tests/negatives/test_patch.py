"""Patch negatives: every pixel comes from the image, from a patch at the drawn place."""

import pytest
import torch

from fastneg import patch_negatives
from fastneg.negatives.patch_torch import draw_patches


def test_shape_format_and_dtype():
    for dtype in (torch.float32, torch.float16, torch.uint8):
        images = torch.randint(0, 255, (3, 3, 40, 40)).to(dtype)
        out = patch_negatives(images, 2, (8, 20))
        assert out.shape == (3, 2, 3, 40, 40) and out.dtype == dtype
    images = torch.randn(3, 3, 40, 40).to(memory_format=torch.channels_last)
    assert (
        patch_negatives(images, 2, (8, 20))
        .flatten(0, 1)
        .is_contiguous(memory_format=torch.channels_last)
    )


def test_every_tile_is_a_patch_of_its_own_image():
    # each pixel names its place
    images = torch.arange(2 * 48 * 48, dtype=torch.float32).view(2, 1, 48, 48)
    generator = torch.Generator().manual_seed(0)
    out = patch_negatives(images, 3, (8, 20), generator)
    _, sizes = draw_patches(images.shape, 3, (8, 20), "cpu", torch.Generator().manual_seed(0))
    for n in range(2):
        for m in range(3):
            p = int(sizes[n, m])
            for row in range(0, 48, p):
                for column in range(0, 48, p):
                    tile = out[n, m, 0, row : row + p, column : column + p]
                    corner = int(tile[0, 0]) - n * 48 * 48
                    y, x = divmod(corner, 48)
                    h, w = tile.shape
                    assert y + p <= 48 and x + p <= 48
                    assert torch.equal(tile, images[n, 0, y : y + h, x : x + w])


def test_corners_and_sizes_are_uniform_and_reach_both_ends():
    offsets, sizes = draw_patches(
        (64, 3, 24, 24), 8, (4, 10), "cpu", torch.Generator().manual_seed(1)
    )
    assert set(sizes.unique().tolist()) == set(range(4, 11))
    counts = torch.bincount(sizes.flatten(), minlength=11)[4:].float()
    assert (counts / counts.mean() - 1).abs().max() < 0.5
    for p in (4, 10):
        chosen = offsets[sizes == p]
        assert chosen.min() == 0 and chosen.max() == 24 - p  # the last corner is drawn too
        share = torch.bincount(chosen.flatten(), minlength=25 - p).float()
        assert (share / share.mean() - 1).abs().max() < 0.25


def test_a_patch_as_large_as_the_image_is_the_image():
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(patch_negatives(images, 1, (16, 16))[:, 0], images)


def test_the_generator_decides():
    images = torch.randn(4, 3, 32, 32)
    one, same, other = (
        patch_negatives(images, 1, (4, 8), torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)


@pytest.mark.parametrize(("count", "sizes"), [(0, (4, 8)), (1, (0, 8)), (1, (8, 4)), (1, (4, 33))])
def test_errors(count, sizes):
    with pytest.raises(ValueError, match=r"count is|sizes is"):
        patch_negatives(torch.randn(2, 3, 32, 40), count, sizes)
    with pytest.raises(ValueError, match="shape"):
        patch_negatives(torch.randn(3, 32, 40))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([1.0],), "images is a list"),
        ((torch.randn(2, 3, 32, 40), 1.5), "count is 1.5: a whole number"),
        ((torch.randn(2, 3, 32, 40), 1, 16), "sizes is 16: 2 numbers"),
    ],
)
def test_values_of_the_wrong_kind_are_named(arguments, said):
    with pytest.raises(ValueError, match=said):
        patch_negatives(*arguments)
