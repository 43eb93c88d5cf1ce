"""The filters that corruptions share, against SciPy."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from fastneg.evaluation.corruptions.filters import correlate, gaussian, motion, padded, sampled, zoomed

IMAGES = torch.rand(2, 3, 21, 34, generator=torch.Generator().manual_seed(0))
MODES = {"edge": "nearest", "mirror": "mirror", "symmetric": "reflect"}


@pytest.mark.parametrize("border", MODES)
@pytest.mark.parametrize("sigma", [0.05, 0.7, 3.0, 9.0])
def test_gaussian_is_scipys_for_any_width(border, sigma):
    truth = ndimage.gaussian_filter(IMAGES.double().numpy(), (0, 0, sigma, sigma), mode=MODES[border], truncate=4.0)
    np.testing.assert_allclose(gaussian(IMAGES, sigma, border).numpy(), truth, atol=1e-6)
    truth = ndimage.gaussian_filter(IMAGES.double().numpy(), (0, 0, 1.0, sigma), mode=MODES[border], truncate=3.0)
    np.testing.assert_allclose(gaussian(IMAGES, (1.0, sigma), border, truncate=3.0).numpy(), truth, atol=1e-6)


def test_correlate_is_scipys():
    kernel = np.random.default_rng(0).random((7, 7))
    truth = np.stack([[ndimage.correlate(plane, kernel, mode="mirror") for plane in image] for image in IMAGES.double().numpy()])
    np.testing.assert_allclose(correlate(IMAGES, kernel).numpy(), truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("border", "mode"), [("mirror", "mirror"), ("symmetric", "reflect")])
def test_sampled_is_scipys(border, mode):
    rng = np.random.default_rng(1)
    rows, columns = rng.uniform(-8, 29, (2, 21, 34)), rng.uniform(-8, 42, (2, 21, 34))
    found = sampled(IMAGES, torch.from_numpy(rows).float(), torch.from_numpy(columns).float(), border)
    for image, ours, y, x in zip(IMAGES.numpy(), found.numpy(), rows, columns, strict=True):
        for plane, own in zip(image, ours, strict=True):
            np.testing.assert_allclose(own, ndimage.map_coordinates(plane, [y, x], order=1, mode=mode), atol=1e-4)


@pytest.mark.parametrize("factor", [1.0, 1.13, 2.5])
def test_zoomed_is_scipys(factor):
    height, width = (int(np.ceil(side / factor)) for side in (21, 34))
    top, left = (21 - height) // 2, (34 - width) // 2
    truth = ndimage.zoom(IMAGES[0, 0, top : top + height, left : left + width].numpy(), factor, order=1)
    np.testing.assert_allclose(zoomed(IMAGES, factor)[0, 0].numpy(), truth, atol=1e-5)


def test_motion_leaves_flat_images_and_ends_at_the_frame():
    flat = torch.full((1, 1, 50, 50), 0.3)
    torch.testing.assert_close(motion(flat, 10, 3, [30.0]), flat)
    assert motion(flat[..., :12, :12], 10, 15, [0.0]).max() < 0.3, "taps beyond the frame are left out, as in the package"
    point = torch.zeros(1, 1, 50, 50)
    point[..., 25, 25] = 1
    trace = motion(point, 10, 5, [90.0])[0, 0].nonzero()
    assert trace[:, 1].unique().tolist() == [25] and trace[:, 0].max() == 25 and trace[:, 0].min() == 5


def test_padding_goes_on_beyond_the_image():
    assert padded(torch.arange(3.0).view(1, 1, 3), 5, "symmetric", (-1,)).flatten().tolist() == [1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1]
