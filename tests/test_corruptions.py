"""Corruptions: deterministic ones against ImageNet-C's own definition in numpy, SciPy, Pillow; stochastic ones by their moments."""

import colorsys
import io

import numpy as np
import pytest
import torch
from conftest import photo
from PIL import Image
from scipy import ndimage

from fastneg.data.augmentation import IMAGENET_MEAN, IMAGENET_STD
from fastneg.evaluation.corruptions import ALL_15, CORRUPTIONS, SEVERITIES, STOCHASTIC, _generator, corrupt, normalised, pixels_of

DETERMINISTIC = sorted(set(CORRUPTIONS) - set(STOCHASTIC))


@pytest.fixture(scope="module")
def photos():
    """(2, 3, 60, 53) in 0 … 1 on the 8-bit grid, with black, white and gray pixels among them."""
    rng = np.random.default_rng(0)
    pixels = np.stack([photo(rng, 60, 53) for _ in range(2)])
    pixels[:, :2, :3] = [[0, 0, 0], [255, 255, 255], [90, 90, 90]]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def defocus_blur(pixels, severity):
    radius, alias = [(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)][severity - 1]
    reach, taps = (8, 3) if radius <= 8 else (radius, 5)
    x, y = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1))
    disk = (x**2 + y**2 <= radius**2).astype(float)
    disk /= disk.sum()
    bell = np.exp(-((np.arange(taps) - taps // 2) ** 2) / (2 * alias**2))
    disk = ndimage.correlate(disk, np.outer(bell, bell) / bell.sum() ** 2, mode="mirror")
    return np.stack([ndimage.correlate(pixels[..., c], disk, mode="mirror") for c in range(3)], -1)


def brightness(pixels, severity):
    out = np.empty_like(pixels)
    for place in np.ndindex(pixels.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixels[place])
        out[place] = colorsys.hsv_to_rgb(hue, saturation, min(1.0, value + [0.1, 0.2, 0.3, 0.4, 0.5][severity - 1]))
    return out


def contrast(pixels, severity):
    means = np.mean(pixels, axis=(0, 1), keepdims=True)
    return np.clip((pixels - means) * [0.4, 0.3, 0.2, 0.1, 0.05][severity - 1] + means, 0, 1)


def pixelate(pixels, severity):
    factor = [0.6, 0.5, 0.4, 0.3, 0.25][severity - 1]
    image = Image.fromarray(np.uint8(np.round(pixels * 255)))
    small = image.resize((int(image.width * factor), int(image.height * factor)), Image.Resampling.BOX)
    return np.asarray(small.resize(image.size, Image.Resampling.BOX)) / 255


def jpeg_compression(pixels, severity):
    file = io.BytesIO()
    Image.fromarray(np.uint8(np.round(pixels * 255))).save(file, "JPEG", quality=[25, 18, 15, 10, 7][severity - 1])
    return np.asarray(Image.open(file)) / 255


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_deterministic_corruptions_are_the_definition(photos, name, severity):
    found = corrupt(photos, name, severity, torch.arange(2)).permute(0, 2, 3, 1).double().numpy()
    for image, ours in zip(photos.permute(0, 2, 3, 1).double().numpy(), found, strict=True):
        np.testing.assert_allclose(ours, globals()[name](image, severity), atol=2e-6)


@pytest.mark.parametrize("side", [48, 64, 224])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_pixelate_at_other_sizes_is_pillows(side, severity):
    image = photo(np.random.default_rng(side), side, side) / 255
    ours = corrupt(torch.from_numpy(image).permute(2, 0, 1)[None].float(), "pixelate", severity, [0])
    np.testing.assert_allclose(ours[0].permute(1, 2, 0).numpy(), pixelate(image, severity), atol=2e-6)


GRAY = torch.full((4, 3, 128, 128), 0.5)


@pytest.mark.parametrize(("severity", "deviation"), [(1, 0.08), (2, 0.12)])
def test_gaussian_noise_by_its_moments(severity, deviation):
    noise = corrupt(GRAY, "gaussian_noise", severity, torch.arange(4)) - GRAY
    assert abs(noise.mean()) < 0.001
    assert noise.std().item() == pytest.approx(deviation, rel=0.01)
    fourth = (noise**4).mean() / noise.var() ** 2
    assert fourth.item() == pytest.approx(3, rel=0.03)


@pytest.mark.parametrize(("severity", "deviation"), [*zip(SEVERITIES, (0.08, 0.12, 0.18, 0.26, 0.38), strict=True)])
def test_gaussian_noise_is_as_wide_as_its_severity(severity, deviation):
    noise = corrupt(GRAY, "gaussian_noise", severity, torch.arange(4)) - GRAY
    within = (noise.abs() < 0.1).float().mean().item()  # before anything is clipped: P(|n| < 0.1) = erf(0.1 / (σ√2))
    assert within == pytest.approx(torch.erf(torch.tensor(0.1 / (deviation * 2**0.5))).item(), abs=0.006)


@pytest.mark.parametrize(("severity", "photons"), [*zip(SEVERITIES, (60, 25, 12, 5, 3), strict=True)])
def test_shot_noise_counts_photons(severity, photons):
    images = torch.full((4, 3, 128, 128), 0.2)
    out = corrupt(images, "shot_noise", severity, torch.arange(4))
    counts = out * photons
    torch.testing.assert_close(counts, counts.round(), atol=1e-4, rtol=0)
    rate = 0.2 * photons
    zeros = (counts.round() == 0).float().mean().item()
    assert zeros == pytest.approx(np.exp(-rate), abs=0.006)
    assert out.mean().item() == pytest.approx(0.2, rel=0.02)
    if photons >= 12:  # for fewer the clipping at 1 takes a part of the variance
        assert counts.var().item() == pytest.approx(rate, rel=0.03)


@pytest.mark.parametrize(("severity", "amount"), [*zip(SEVERITIES, (0.03, 0.06, 0.09, 0.17, 0.27), strict=True)])
def test_impulse_noise_is_salt_and_pepper(severity, amount):
    out = corrupt(GRAY, "impulse_noise", severity, torch.arange(4))
    assert set(out.unique().tolist()) == {0.0, 0.5, 1.0}
    for value in (0.0, 1.0):
        assert (out == value).float().mean().item() == pytest.approx(amount / 2, abs=0.003)
    salt = (out == 1.0).float()
    assert (salt[:, 0] * salt[:, 1]).mean().item() == pytest.approx((amount / 2) ** 2, abs=0.002), "channels are independent"


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_is_treated_alike_in_any_batch(photos, name):
    index = torch.tensor([7, 3])
    both = corrupt(photos, name, 3, index)
    alone = corrupt(photos[1:], name, 3, index[1:])
    torch.testing.assert_close(both[1:], alone, atol=1e-6, rtol=0)
    assert both.dtype == torch.float32 and both.shape == photos.shape and both.min() >= 0 and both.max() <= 1


@pytest.mark.parametrize("name", STOCHASTIC)
def test_noise_is_another_for_each_image_and_severity(name):
    def correlation(one, other):
        return torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].abs().item()

    out = corrupt(GRAY[:2], name, 4, [0, 1])
    assert torch.equal(out, corrupt(GRAY[:2], name, 4, [0, 1]))
    assert correlation(out[0], out[1]) < 0.03
    assert correlation(out[0], corrupt(GRAY[:1], name, 5, [0])) < 0.03


def test_every_seed_is_another():
    seeds = [_generator("cpu", name, severity, i).initial_seed() for name in STOCHASTIC for severity in SEVERITIES for i in range(200)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("name", ["gaussian_noise", "contrast", "defocus_blur", "pixelate", "jpeg_compression"])
def test_each_severity_is_further_from_the_image(photos, name):
    distance = [(corrupt(photos, name, severity, [0, 1]) - photos).norm().item() for severity in SEVERITIES]
    assert distance == sorted(distance) and distance[0] > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_pixels_behind_normalised_images(photos, dtype):
    levels = torch.arange(256.0).view(1, 1, 16, 16).expand(1, 3, 16, 16) / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    for pixels in (photos, levels):
        torch.testing.assert_close(pixels_of(((pixels - mean) / std).to(dtype)), pixels, atol=1e-7, rtol=0)
        torch.testing.assert_close(normalised(pixels), (pixels - mean) / std)


def test_the_registry_is_part_of_the_15():
    assert set(CORRUPTIONS) <= set(ALL_15) and len(set(ALL_15)) == 15


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((GRAY, "fog", 1, range(4)), "no corruption 'fog'"),
        ((GRAY, "contrast", 6, range(4)), "1 to 5"),
        ((GRAY, "contrast", 0, range(4)), "1 to 5"),
        ((GRAY * 255, "contrast", 1, range(4)), "undo the normalisation"),
        ((GRAY - 1, "contrast", 1, range(4)), "undo the normalisation"),
        ((GRAY, "contrast", 1, range(3)), "3 positions"),
        ((GRAY[:, :1], "contrast", 1, range(4)), "were expected"),
        ((GRAY[..., :8, :8], "defocus_blur", 1, range(4)), "too small"),
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
    if name in DETERMINISTIC:
        torch.testing.assert_close(ours.cpu(), corrupt(photos, name, 3, [0, 1]), atol=1e-3, rtol=0)
    else:
        assert torch.equal(ours, corrupt(photos.cuda(), name, 3, [0, 1]))
        torch.testing.assert_close(ours.mean().cpu(), corrupt(photos, name, 3, [0, 1]).mean(), atol=0.02, rtol=0)
