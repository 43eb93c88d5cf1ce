"""Digital corruptions of images for which the result is plain."""

import torch

from fastneg.evaluation.corruptions.digital import brightness, contrast, saturate

GRAY = torch.full((1, 3, 8, 8), 0.4)


def test_brightness_adds_to_the_value_and_keeps_the_hue():
    torch.testing.assert_close(brightness.function(GRAY, 0.3), torch.full_like(GRAY, 0.7))
    red = GRAY * torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(brightness.function(red, 0.4), 2 * red)
    torch.testing.assert_close(
        brightness.function(torch.zeros_like(GRAY), 0.2), torch.full_like(GRAY, 0.2)
    )


def test_contrast_shrinks_differences_to_the_mean():
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found, mean = contrast.function(images, 0.3), images.mean((2, 3), keepdim=True)
    torch.testing.assert_close(found - mean, 0.3 * (images - mean), rtol=1e-4, atol=1e-6)


def test_gray_has_no_saturation_to_multiply():
    torch.testing.assert_close(saturate.function(GRAY, (20, 0.0)), GRAY)
