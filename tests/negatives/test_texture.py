"""Where textures come from: what is drawn, the source patches, bad input.

Serves fastneg.negatives.texture.
"""

import pytest
import torch

from fastneg.negatives.texture_torch import draw_corners, texture_negatives, view_sources


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_candidates_reach_every_place_of_every_patch_equally():
    corners = draw_corners(
        (4, 2),
        (20, 20),
        sources=3,
        patch=7,
        block=4,
        overlap=1,
        candidates=200,
        generator=generator(),
    )
    assert corners.dtype == torch.int32 and corners.shape == (4, 2, 49, 200)
    places, counts = corners.flatten().unique(return_counts=True)
    assert places.tolist() == [
        s * 49 + y * 7 + x for s in range(3) for y in range(4) for x in range(4)
    ]
    mean = corners.numel() / 48
    assert (counts - mean).abs().max() < 5 * mean**0.5


def test_one_place_is_enough():
    corners = draw_corners(
        (1, 1), (4, 4), sources=1, patch=4, block=4, overlap=1, candidates=3, generator=generator()
    )
    assert not corners.any()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_view_gives_its_centre_and_a_uniform_window(dtype):
    views = (
        torch.arange(2 * 3 * 9 * 12)
        .view(2, 3, 9, 12)
        .remainder(251)
        .to(dtype)
        .contiguous(memory_format=torch.channels_last)
    )
    seen, g = set(), generator()
    for _ in range(300):
        sources = view_sources(views, 4, g)
        assert torch.equal(sources[:, 0], views[:, :, 2:6, 4:8])
        windows = views.unfold(2, 4, 1).unfold(3, 4, 1)  # (N, C, 6, 9, 4, 4)
        for n in range(2):
            places = (windows[n] == sources[n, 1][:, None, None]).all(-1).all(-1).all(0).nonzero()
            assert len(places) == 1
            seen.add((n, *places[0].tolist()))
    assert len(seen) == 2 * 6 * 9


def test_textures_hold_pixels_of_their_own_image_alone_and_differ():
    images = torch.arange(3 * 2 * 20 * 20).view(3, 2, 1, 20, 20).float()
    textures = texture_negatives(
        images, 2, (30, 24), block=8, overlap=2, candidates=4, generator=generator()
    )
    assert textures.shape == (3, 2, 1, 30, 24)
    for n in range(3):
        assert torch.isin(textures[n], images[n]).all()
    assert not torch.equal(textures[:, 0], textures[:, 1])


def test_the_same_generator_state_gives_the_same_textures():
    images = torch.randint(0, 256, (2, 2, 3, 20, 20), dtype=torch.uint8, generator=generator())
    make = lambda seed: texture_negatives(
        images, 1, (30, 24), block=8, overlap=2, candidates=4, generator=generator(seed)
    )
    assert torch.equal(make(1), make(1)) and not torch.equal(make(1), make(2))


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_constant_image_is_its_own_texture(value):
    textures = texture_negatives(
        torch.full((1, 2, 3, 20, 20), value, dtype=torch.uint8),
        1,
        (30, 24),
        block=8,
        overlap=2,
        candidates=4,
    )
    assert (textures == value).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda images: texture_negatives(images[0]), "sources has shape"),
        (lambda images: texture_negatives(images, 0), "count is 0"),
        (lambda images: texture_negatives(images, block=21), "block is 21: at most 20"),
        (
            lambda images: texture_negatives(images, block=8, overlap=2, candidates=0),
            "candidates is 0",
        ),
        (lambda images: view_sources(images[:, 0], 21), "patch is 21 for views of 20×20: 1 to 20"),
        (lambda images: view_sources(images[:, 0], 0), "patch is 0"),
    ],
)
def test_a_callers_mistake_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(1, 2, 3, 20, 20))
