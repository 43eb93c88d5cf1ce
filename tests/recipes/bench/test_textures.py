"""The figures about textures mean what they say: fastneg.recipes.bench.texture_quality and
fastneg.recipes.bench.textures."""

import pytest
import torch

from fastneg.recipes.bench import textures as bench
from fastneg.recipes.bench.texture_quality import (
    colour_distance,
)


def noise(*shape, seed=0):
    return torch.randint(
        0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


@pytest.mark.parametrize("name", bench.CONTENDERS)
def test_each_contender_makes_images_of_the_same_size(name):
    images = noise(2, 3, 56, 56)
    made = bench.CONTENDERS[name](images, torch.Generator().manual_seed(0))
    assert made.shape == images.shape and made.dtype == torch.uint8
    assert torch.equal(made, images) == (name == "original")
    if name == "random_phase":
        assert (
            colour_distance(images[0], images[0]) == 0
            and (made.float().mean() - images.float().mean()).abs() < 5
        )
    else:  # all others show pixels of their own image alone
        own = {tuple(colour) for colour in images[0].flatten(1).T.tolist()}
        assert {tuple(colour) for colour in made[0].flatten(1).T.tolist()} <= own


def test_tiling_repeats_the_centre():
    image = noise(1, 3, 56, 56)
    made = bench.tiling(image)
    assert torch.equal(made[:, :, :24, :24], image[:, :, 16:40, 16:40]) and torch.equal(
        made[:, :, 24:48], made[:, :, :24]
    )


def test_the_rows(monkeypatch):
    monkeypatch.setattr(bench, "photographs", lambda: noise(2, 3, 48, 48))
    monkeypatch.setattr(
        bench, "CONTENDERS", {name: bench.CONTENDERS[name] for name in ("original", "quilting")}
    )
    rows = list(
        bench.bench_textures(train=64, test=24, epochs=1, rounds=1, batch_size=2, stencil_count=1)
    )
    assert [(row["set"], row["contender"]) for row in rows] == [
        (name, contender)
        for name in ("photographs", "stencils", "probes")
        for contender in ("original", "quilting")
    ]
    assert (
        rows[1]["cpu_ms_per_image" if rows[1]["device"] == "cpu" else "ms_per_image"] > 0
        and rows[0]["colour_distance"] == 0
    )
    assert all(0 <= row["shape_acc"] <= 100 and 0 <= row["texture_acc"] <= 100 for row in rows[4:])
