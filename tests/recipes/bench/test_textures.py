"""The figures about textures mean what they say: fastneg.recipes.bench.texture_quality and
fastneg.recipes.bench.textures."""

import pytest
import torch

from fastneg.recipes.bench import textures as bench
from fastneg.recipes.bench.texture_quality import (
    SPECTRUM_BINS,
    accuracy,
    colour_distance,
    patch_distance,
    radial_spectrum,
    spectrum_distance,
    train_probe,
)


def noise(*shape, seed=0):
    return torch.randint(
        0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def test_colour_distance_is_the_share_of_pixels_that_would_have_to_change():
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    other = image.clone()
    other[:, :2] = 255
    assert colour_distance(image, image) == 0 and colour_distance(image, other) == pytest.approx(
        0.25
    )
    assert colour_distance(noise(3, 32, 32), noise(3, 32, 32).flip(2)) == 0


def test_the_spectrum_of_a_wave_stands_at_its_frequency():
    wave = (
        torch.cos(2 * torch.pi * 16 * torch.arange(64) / 64)
        .mul(100)
        .add(128)
        .byte()
        .expand(3, 64, 64)
    )
    assert int(radial_spectrum(wave).argmax()) == 16 / 64 / 0.5 * SPECTRUM_BINS
    flat = torch.full((3, 64, 64), 9, dtype=torch.uint8)
    assert (
        spectrum_distance(flat, flat) == 0
        and spectrum_distance(flat, wave) > 1
        and radial_spectrum(flat).abs().max() < 60
    )


def test_patch_distance_finds_what_is_there_and_measures_what_is_not():
    image = noise(3, 40, 40)
    assert patch_distance(image[:, 5:25, 8:30], image) < 1e-3
    flat = torch.full((3, 40, 40), 100, dtype=torch.uint8)
    assert patch_distance(flat + 7, flat) == pytest.approx(7)
    assert patch_distance(image, flat) > 50


def test_a_probe_learns_and_is_scored_in_percent():
    labels = torch.arange(128) % 2
    images = (noise(128, 3, 32, 32) // 4) + (labels * 150).byte().view(-1, 1, 1, 1)
    model = train_probe(images, labels, 2, epochs=3, batch_size=32, lr=0.05)
    assert accuracy(model, images, labels) == 100 and accuracy(model, images, 1 - labels) == 0


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
