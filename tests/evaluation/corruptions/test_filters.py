"""The filters that corruptions share, against SciPy."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from fastneg.evaluation.corruptions import filters
from fastneg.evaluation.corruptions.filters import (
    correlate,
    gaussian,
    motion,
    padded,
    wide_gaussian,
    zoomed,
)

IMAGES = torch.rand(2, 3, 21, 34, generator=torch.Generator().manual_seed(0))
MODES = {"edge": "nearest", "mirror": "mirror", "symmetric": "reflect"}


@pytest.mark.parametrize("border", MODES)
@pytest.mark.parametrize("sigma", [0.05, 0.7, 3.0, 9.0])
@pytest.mark.parametrize(
    ("ours", "truncate"), [(gaussian, 4.0), (wide_gaussian, 4.0), (wide_gaussian, 3.0)]
)
def test_gaussian_is_scipys_for_any_width(ours, truncate, border, sigma):
    truth = ndimage.gaussian_filter(
        IMAGES.double().numpy(), (0, 0, sigma, sigma), mode=MODES[border], truncate=truncate
    )
    np.testing.assert_allclose(ours(IMAGES, sigma, border, truncate).numpy(), truth, atol=1e-6)


def test_correlate_is_scipys():
    kernel = np.random.default_rng(0).random((7, 7))
    truth = np.stack(
        [
            [ndimage.correlate(plane, kernel, mode="mirror") for plane in image]
            for image in IMAGES.double().numpy()
        ]
    )
    np.testing.assert_allclose(
        correlate(IMAGES, torch.from_numpy(kernel)).numpy(), truth, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("factor", [1.0, 1.13, 2.5])
def test_zoomed_is_scipys(factor):
    height, width = (int(np.ceil(side / factor)) for side in (21, 34))
    top, left = (21 - height) // 2, (34 - width) // 2
    truth = ndimage.zoom(
        IMAGES[0, 0, top : top + height, left : left + width].numpy(), factor, order=1
    )
    top, left = (truth.shape[0] - 21) // 2, (truth.shape[1] - 34) // 2
    truth = truth[top : top + 21, left : left + 34]
    np.testing.assert_allclose(zoomed(IMAGES, factor)[0, 0].numpy(), truth, atol=1e-5)


def test_motion_leaves_flat_images_and_repeats_the_edge():
    flat = torch.full((1, 1, 50, 50), 76 / 255)
    torch.testing.assert_close(motion(flat, 10, 3, [30.0]), flat)
    torch.testing.assert_close(motion(flat[..., :12, :12], 10, 15, [0.0]), flat[..., :12, :12])
    point = torch.zeros(1, 1, 50, 50)
    point[..., 25, 25] = 1
    trace = motion(point, 10, 15, [90.0])[0, 0].nonzero()
    assert (
        trace[:, 1].unique().tolist() == [25] and trace[:, 0].max() == 25 and trace[:, 0].min() == 5
    )


def test_padding_goes_on_beyond_the_image():
    assert padded(torch.arange(3.0).view(1, 1, 3), 5, "symmetric", (-1,)).flatten().tolist() == [
        1,
        2,
        2,
        1,
        0,
        0,
        1,
        2,
        2,
        1,
        0,
        0,
        1,
    ]


def test_a_gpus_way_of_smearing_gives_the_same(monkeypatch):
    """All images of a tap at once, in place of slice by slice."""
    expected = motion(IMAGES, 5, 2.0, [30.0, -110.0])
    monkeypatch.setattr(filters, "_smeared", filters._smeared_together)
    assert (motion(IMAGES, 5, 2.0, [30.0, -110.0]) - expected).abs().max() < 1e-6
