"""The augmentation benchmark: its rows, and that torchvision does the same."""

import torch

from fastneg.recipes.bench import augment as bench_augment


def test_augment_rows_and_that_torchvision_does_the_same():
    rows = {row["contender"]: row for row in bench_augment.bench_augment(((4, 32),), rounds=2)}
    assert set(rows) == {"fastneg", "torchvision", "copy"} and rows["copy"]["share_of_floor"] == 1
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
