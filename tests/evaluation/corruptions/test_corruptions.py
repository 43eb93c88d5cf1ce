"""Corruptions by their moments, their randomness, their sizes and what they refuse; the formulas:
see test_published_corruptions."""

import numpy as np
import pytest
import torch

from fastneg.data.load.augmentation import IMAGENET_MEAN, IMAGENET_STD
from fastneg.evaluation.corruptions import (
    ALL_15,
    CORRUPTIONS,
    EXTRA,
    SEVERITIES,
    STOCHASTIC,
    corrupt,
    normalised,
    pixels_of,
)
from fastneg.evaluation.corruptions.draws import Draws
from fastneg.evaluation.corruptions.registry import nearest_size
from helpers.images import photo

HEIGHT, WIDTH = 60, 53


@pytest.fixture(scope="module")
def photos():
    """(2, 3, 60, 53) in 0 … 1 on the 8-bit grid, with black, white and gray pixels among them."""
    rng = np.random.default_rng(0)
    pixels = np.stack([photo(rng, HEIGHT, WIDTH) for _ in range(2)])
    pixels[:, :2, :3] = [[0, 0, 0], [255, 255, 255], [90, 90, 90]]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


GRAY = torch.full((4, 3, 128, 128), 0.5)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_is_treated_alike_in_any_batch(photos, name):
    index = torch.tensor([7, 3])
    both = corrupt(photos, name, 3, index)
    alone = corrupt(photos[1:], name, 3, index[1:])
    off = ((both[1:] - alone) * 255).abs()  # of two float32 sums one may fall below a whole number
    assert off.max() < 1.01 and (off > 0.5).float().mean() < 2e-3
    assert (
        both.dtype == torch.float32
        and both.shape == photos.shape
        and both.min() >= 0
        and both.max() <= 1
    )


@pytest.mark.parametrize(
    "name", [name for name in STOCHASTIC if name not in ("motion_blur", "frost")]
)
def test_randomness_is_another_for_each_image_and_severity(photos, name):
    same = photos[:1].expand(2, -1, -1, -1)
    out = corrupt(same, name, 4, [0, 1])
    assert torch.equal(out, corrupt(same, name, 4, [0, 1]))
    change = (out - same).flatten(1)
    assert (change[0] - change[1]).abs().mean() > 0.3 * (change[0] - change[0].mean()).abs().mean()
    ours = (
        Draws("cpu", name, 4, [0]).uniform(0, 1, 1000),
        Draws("cpu", name, 5, [0]).uniform(0, 1, 1000),
    )
    assert abs(torch.corrcoef(torch.cat(ours))[0, 1]) < 0.15


def test_what_the_host_draws_is_what_numpy_draws_for_a_cpu():
    """A GPU gets these numbers too."""
    angles = Draws("cpu", "motion_blur", 1, range(3)).host_uniform(-45, 45)
    assert torch.equal(
        torch.from_numpy(angles), Draws("cpu", "motion_blur", 1, range(3)).uniform(-45, 45)
    )
    places = Draws("cpu", "frost", 1, range(3)).host_integers(0, 2560, 3)
    assert places.tolist() == Draws("cpu", "frost", 1, range(3)).integers(0, 2560, 3).tolist()


def test_images_that_are_trusted_are_not_looked_at(photos):
    expected = corrupt(photos, "contrast", 1, range(2))
    assert torch.equal(corrupt(photos, "contrast", 1, range(2), trusted=True), expected)
    with pytest.raises(ValueError, match="0 to 1 was expected"):
        corrupt(3 * photos, "contrast", 1, range(2))


def test_every_seed_is_another():
    first = [
        Draws("cpu", name, severity, range(200)).uniform(0, 1, 4)
        for name in STOCHASTIC
        for severity in SEVERITIES
    ]
    assert len(torch.cat(first).unique(dim=0)) == len(STOCHASTIC) * 5 * 200


@pytest.mark.parametrize("side", [32, 64, 224])
@pytest.mark.parametrize(
    "name",
    ["gaussian_noise", "shot_noise", "contrast", "defocus_blur", "pixelate", "jpeg_compression"],
)
def test_each_severity_is_further_from_the_image(name, side):
    images = (
        torch.from_numpy(np.stack([photo(np.random.default_rng(i), side, side) for i in range(4)]))
        .permute(0, 3, 1, 2)
        .float()
        / 255
    )
    distance = [
        (corrupt(images, name, severity, range(4)) - images).norm().item()
        for severity in SEVERITIES
    ]
    # several small disks, or roundings, are the same
    if name in ("defocus_blur", "pixelate") and side < 224:
        assert distance[0] <= distance[-1] and distance[-1] > 0
    else:
        assert distance == sorted(distance) and distance[0] > 0


@pytest.mark.parametrize("side", [16, 32, 64])
def test_small_images_can_be_corrupted_in_every_way(side):
    images = (
        torch.from_numpy(photo(np.random.default_rng(0), side, side)).permute(2, 0, 1)[None].float()
        / 255
    )
    for name in CORRUPTIONS:
        for severity in (1, 5):
            out = corrupt(images, name, severity, [0])
            assert (
                out.shape == images.shape
                and out.isfinite().all()
                and out.min() >= 0
                and out.max() <= 1
            )


def test_constants_go_by_the_shorter_side():
    assert [nearest_size(side, 300) for side in (224, 120, 119, 64, 46, 45, 32)] == [
        224,
        224,
        64,
        64,
        64,
        32,
        32,
    ]
    assert corrupt(
        torch.full((8, 3, 32, 32), 0.5), "gaussian_noise", 5, range(8)
    ).std().item() == pytest.approx(0.10, rel=0.02)
    assert corrupt(
        torch.full((8, 3, 64, 64), 0.5), "gaussian_noise", 1, range(8)
    ).std().item() == pytest.approx(0.04, rel=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_pixels_behind_normalised_images(photos, dtype):
    levels = torch.arange(256.0).view(1, 1, 16, 16).expand(1, 3, 16, 16) / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    for pixels in (photos, levels):
        torch.testing.assert_close(
            pixels_of(((pixels - mean) / std).to(dtype)), pixels, atol=1e-7, rtol=0
        )
        torch.testing.assert_close(normalised(pixels), (pixels - mean) / std)


def test_the_registry_is_the_15_and_the_4():
    assert len(ALL_15) == 15 and len(CORRUPTIONS) == 19
    assert EXTRA == ("speckle_noise", "gaussian_blur", "spatter", "saturate")
    still = (
        "defocus_blur",
        "zoom_blur",
        "gaussian_blur",
        "brightness",
        "contrast",
        "saturate",
        "pixelate",
        "jpeg_compression",
    )
    assert set(STOCHASTIC) == set(CORRUPTIONS) - set(still)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((GRAY, "rain", 1, range(4)), "no corruption 'rain'"),
        ((GRAY, "contrast", 6, range(4)), "1 to 5"),
        ((GRAY, "contrast", 0, range(4)), "1 to 5"),
        ((GRAY * 255, "contrast", 1, range(4)), "undo the normalisation"),
        ((GRAY - 1, "contrast", 1, range(4)), "undo the normalisation"),
        ((GRAY, "contrast", 1, range(3)), "3 positions"),
        ((GRAY[:, :1], "contrast", 1, range(4)), "were expected"),
        ((GRAY[..., :8, :8], "defocus_blur", 1, range(4)), "at least 16"),
    ],
)
def test_what_cannot_be_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        corrupt(*given)


@pytest.mark.gpu
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_on_a_gpu_it_is_the_same_corruption(photos, name):
    ours = corrupt(photos.cuda(), name, 3, [0, 1])
    assert ours.is_cuda
    if name not in STOCHASTIC:
        off = ((ours.cpu() - corrupt(photos, name, 3, [0, 1])) * 255).abs()
        assert off.max() < 1.01 and off.mean() < 0.01
    else:
        assert torch.equal(ours, corrupt(photos.cuda(), name, 3, [0, 1]))
        torch.testing.assert_close(
            ours.mean().cpu(), corrupt(photos, name, 3, [0, 1]).mean(), atol=0.1, rtol=0
        )
