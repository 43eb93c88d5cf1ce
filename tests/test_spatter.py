"""The steps of spatter's water against OpenCV and SciPy."""

import cv2
import numpy as np
import torch
from scipy import ndimage

from fastneg.evaluation.corruptions.spatter import FARTHEST, box3, canny, edge_distance, equalized, water_mask


def drops(seed=0):
    """(60, 70) uint8: smoothed noise above a threshold."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((60, 70)), 2)
    return np.uint8(np.clip(field / field.max(), 0, 1) * 255 * (field > field.std()))


def test_edges_are_opencvs():
    for seed in range(3):
        ours = canny(torch.from_numpy(drops(seed)).float()[None, None], 50, 150)[0, 0].numpy()
        assert (ours == (cv2.Canny(drops(seed), 50, 150) > 0)).mean() > 0.998 and ours.sum() > 100


def test_distance_is_the_euclidean_one():
    edges = torch.zeros(1, 1, 60, 70, dtype=torch.bool)
    edges[0, 0, [5, 40, 41], [60, 12, 13]] = True
    truth = np.minimum(ndimage.distance_transform_edt(~edges[0, 0].numpy()), FARTHEST)
    np.testing.assert_allclose(edge_distance(edges)[0, 0].numpy(), truth, atol=1e-5)


def test_histograms_are_evened_as_by_opencv():
    images = np.stack([drops(3), drops(4) // 3])
    ours = equalized(torch.from_numpy(images).float()[:, None])[:, 0].numpy()
    for found, image in zip(ours, images, strict=True):
        np.testing.assert_array_equal(found, cv2.equalizeHist(image))


def test_the_mean_of_nine_is_opencvs():
    image = drops(5).astype(np.float32)
    np.testing.assert_allclose(box3(torch.from_numpy(image)[None, None])[0, 0].numpy(), cv2.blur(image, (3, 3)), atol=1e-3)


def test_no_liquid_is_no_mask():
    assert water_mask(torch.zeros(2, 1, 32, 32), 0.6).abs().max() == 0
