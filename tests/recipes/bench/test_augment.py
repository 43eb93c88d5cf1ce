"""The augmentation benchmark: its rows, and that torchvision does the same."""

import importlib.util

import pytest
import torch

from fastneg.recipes.bench import augment as bench_augment


def test_augment_rows_and_that_torchvision_does_the_same():
    rows = {row["contender"]: row for row in bench_augment.bench_augment(((4, 32),), rounds=2)}
    peers = {"kornia"} if importlib.util.find_spec("kornia") else set()
    assert set(rows) == {"fastneg", "torchvision", "copy"} | peers
    assert rows["copy"]["share_of_floor"] == 1
    g = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (6, 3, 32, 32), generator=g, dtype=torch.uint8)
    params = bench_augment.draw_augment_params(6, generator=g, **bench_augment.MOCO_V2)
    theirs = bench_augment._torchvision(
        images, [tensor.tolist() for tensor in params], torch.float32
    )
    ours = bench_augment.augment(
        images, params, mean=bench_augment.IMAGENET_MEAN, std=bench_augment.IMAGENET_STD
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)


def test_kornia_changes_each_image_by_itself():
    pytest.importorskip("kornia")
    image = torch.randint(0, 256, (1, 3, 32, 32), generator=torch.manual_seed(0)).byte()
    views = bench_augment.kornia_views(torch.float32)(image.expand(16, -1, -1, -1))
    assert views.shape == (16, 3, 32, 32) and len(views.flatten(1).unique(dim=0)) > 8
    plain = [bench_augment.IMAGENET_MEAN, bench_augment.IMAGENET_STD]
    mean, std = (torch.tensor(each)[:, None, None] for each in plain)
    assert (views * std + mean).min() >= -0.01 and (views * std + mean).max() <= 1.01
