"""The figures about textures mean what they say."""

import pytest
import torch

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
