"""The steps of spatter's water against OpenCV."""

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from fastneg.evaluation.corruptions.spatter import (
    FARTHEST,
    box3,
    canny,
    edge_distance,
    equalized,
    joined,
    water_mask,
)


def drops(seed=0):
    """(60, 70) uint8: smoothed noise above a threshold."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((60, 70)), 2)
    return np.uint8(np.clip(field / field.max(), 0, 1) * 255 * (field > field.std()))


def test_edges_are_opencvs():
    for seed in range(3):
        ours = canny(torch.from_numpy(drops(seed)).float()[None, None], 50, 150)[0, 0].numpy()
        assert (ours == (cv2.Canny(drops(seed), 50, 150) > 0)).mean() > 0.998 and ours.sum() > 100


@pytest.mark.parametrize("rounds", [1, 32])
def test_edges_grow_along_the_longest_path(rounds):
    """A snake of weak places that begins with an edge, and another one that does not."""
    weak = torch.zeros(1, 1, 21, 21, dtype=torch.bool)
    weak[..., ::4, :], weak[..., 2::8, -1], weak[..., 6::8, 0] = True, True, True
    weak[..., 1::8, -1], weak[..., 3::8, -1], weak[..., 5::8, 0], weak[..., 7::8, 0] = (True,) * 4
    apart = weak.clone()
    apart[..., 8:, :] = False
    apart[..., 12:, :] = weak[..., 12:, :]
    edges = torch.zeros_like(weak)
    edges[..., 0, 0] = True
    assert torch.equal(joined(edges, weak, rounds), weak)
    assert torch.equal(joined(edges, apart, rounds)[..., :8, :], apart[..., :8, :])
    assert not joined(edges, apart, rounds)[..., 12:, :].any()


@pytest.mark.parametrize(("height", "width"), [(60, 70), (16, 17)])
def test_distance_is_opencvs(height, width):
    """Its versions take 1.4 and 2.1969 for a corner's and a knight's move, or the nearest multiple
    of 1 / 65536."""
    edges = torch.zeros(2, 1, height, width, dtype=torch.bool)
    edges[0, 0, [5, 14, 15], [width - 3, 12, 13]] = True
    edges[1, 0, 0, 0] = True
    for found, edge in zip(edge_distance(edges).numpy()[:, 0], edges.numpy()[:, 0], strict=True):
        truth = np.minimum(
            cv2.distanceTransform(255 - 255 * np.uint8(edge), cv2.DIST_L2, 5), FARTHEST
        )
        np.testing.assert_allclose(found, truth, atol=2e-4)
    assert edge_distance(torch.zeros(1, 1, 20, 20, dtype=torch.bool)).eq(FARTHEST).all()


def test_histograms_are_evened_as_by_opencv():
    images = np.stack([drops(3), drops(4) // 3])
    ours = equalized(torch.from_numpy(images).float()[:, None])[:, 0].numpy()
    for found, image in zip(ours, images, strict=True):
        np.testing.assert_array_equal(found, cv2.equalizeHist(image))


def test_the_mean_of_nine_is_opencvs():
    image = drops(5).astype(np.float32)
    np.testing.assert_allclose(
        box3(torch.from_numpy(image)[None, None])[0, 0].numpy(), cv2.blur(image, (3, 3)), atol=1e-3
    )


def test_no_liquid_is_no_mask():
    assert water_mask(torch.zeros(2, 1, 32, 32), 0.6).abs().max() == 0
