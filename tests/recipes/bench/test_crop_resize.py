"""The benchmark of crops: its rows, and that the peers cut the same views."""

import importlib.util

import pytest
import torch

from fastneg.kernels.crop_resize import crop_resize
from fastneg.recipes.bench.crop_resize import (
    bench_crop_resize,
    drawn,
    kornia_views,
    torchvision_views,
)


def test_each_contender_has_a_row():
    rows = {row["contender"]: row for row in bench_crop_resize(((4, 32, 16),), rounds=2)}
    peers = {"kornia"} if importlib.util.find_spec("kornia") else set()
    assert set(rows) == {"fastneg", "torch", "torchvision", "copy"} | peers
    assert rows["copy"]["share_of_floor"] == 1 and rows["fastneg"]["images_per_s"] > 0
    assert {row["contender"] for row in bench_crop_resize(((4, 32, 16),), 1, ())} == {"copy"}


def smooth(count, height):
    """Images in which a pixel's shift of a window changes little."""
    ramp = torch.arange(height)
    down, across = torch.meshgrid(ramp, ramp, indexing="ij")
    image = torch.stack([down, across, down + across]).to(torch.uint8)
    return image.repeat(count, 1, 1, 1).contiguous(memory_format=torch.channels_last)


def test_torchvision_cuts_the_same():
    images, windows = smooth(6, 64), drawn(6, 64, "cpu")[1].floor()
    ours = crop_resize(images, torch.arange(6), windows, 24)
    theirs = torchvision_views(images, windows.tolist(), 24)
    # of the pixels at the edge torchvision sees those of the crop alone, we the image's
    inner = (..., slice(2, -2), slice(2, -2))
    assert (ours.int() - theirs.int())[inner].abs().max() <= 1


def test_kornia_cuts_the_same():
    pytest.importorskip("kornia")
    images, windows = smooth(6, 64), drawn(6, 64, "cpu")[1].floor()
    ours = crop_resize(images, torch.arange(6), windows, 24)
    # its views reach from the first pixel's centre to the last one's, ours from edge to edge
    assert (ours.int() - kornia_views(images, windows, 24).int()).abs().max() <= 3
