"""The random numbers of the views: torchvision's distributions, drawn from (seed, epoch, iteration)
alone."""

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from fastneg.config.augmentation import augmentation_of
from fastneg.data.load.augmentation import (
    augment_params,
    batch_generator,
    dali_inputs,
    draw_crops,
    draw_jitter_order,
    draw_view,
    eval_window,
)


def quantiles(values):
    return np.quantile(values, np.linspace(0.05, 0.95, 10))


@pytest.mark.parametrize("size", [(64, 64), (200, 331), (20, 400)])
def test_crops_are_distributed_as_torchvisions(size):
    start, end = draw_crops(
        np.tile(size, (20000, 1)), (0.2, 1.0), (3 / 4, 4 / 3), np.random.default_rng(0)
    )
    torch.manual_seed(0)
    image = torch.empty(1, *size)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, (0.2, 1.0), (3 / 4, 4 / 3)) for _ in range(4000)]
    )
    shape = end - start
    assert (start >= 0).all() and (end <= size).all() and (shape >= 1).all()
    for side in (0, 1):
        for ours, expected in (
            (start[:, side], theirs[:, side]),
            (shape[:, side], theirs[:, 2 + side]),
        ):
            np.testing.assert_allclose(
                quantiles(ours), quantiles(expected), atol=0.02 * size[side] + 1
            )


@pytest.mark.parametrize("size", [(1, 1), (1, 20000), (20000, 1), (2, 3)])
def test_crops_of_odd_sizes_stay_inside(size):
    start, end = draw_crops(
        np.tile(size, (500, 1)), (0.08, 1.0), (3 / 4, 4 / 3), np.random.default_rng(0)
    )
    assert (start >= 0).all() and (end <= size).all() and (end - start >= 1).all()


def test_the_numbers_follow_the_recipe():
    recipe, count = augmentation_of("moco_v2"), 50000
    view = draw_view(recipe, np.full((count, 2), 64), (0.2, 1.0), np.random.default_rng(1))
    jittered = view["hue"] != 0
    gray = view["gray"]
    assert abs(jittered.mean() - 0.8) < 0.01
    assert abs(gray.mean() - 0.2) < 0.01
    assert abs(view["blur"].mean() - 0.5) < 0.01
    assert abs(view["mirror"].mean() - 0.5) < 0.01
    fed = dali_inputs(view)
    assert (
        np.array_equal(fed["twist"], jittered | gray)
        and np.array_equal(fed["saturation"] == 0, gray)
        and (view["saturation"] > 0).all()
    )
    params = augment_params(view, draw_jitter_order(count, np.random.default_rng(2)))
    assert (
        params.order.sort(1).values.equal(torch.arange(4, dtype=torch.int32).expand(count, 4))
        and len(params.order.unique(dim=0)) == 24
    )
    assert (
        params.factors.abs().amax(0).max() < 1.4001
        and params.factors[:, 3].abs().max() <= 0.1
        and params.factors.dtype == torch.float32
    )
    assert np.array_equal(params.sigma > 0, view["blur"]) and np.array_equal(
        params.flip, view["mirror"] == 1
    )
    for name, low, high in (("brightness", 0.6, 1.4), ("contrast", 0.6, 1.4), ("hue", -36, 36)):
        values = view[name][jittered]
        assert (
            low <= values.min() < low + 0.01 * (high - low)
            and high - 0.01 * (high - low) < values.max() <= high
        )
        np.testing.assert_allclose(
            quantiles(values),
            low + (high - low) * np.linspace(0.05, 0.95, 10),
            atol=0.02 * (high - low),
        )
    assert view["sigma"].min() >= 0.1 and view["sigma"].max() <= 2.0
    assert abs(np.corrcoef(view["brightness"][jittered], view["contrast"][jittered])[0, 1]) < 0.03


def test_crop_flip_changes_no_colour():
    view = draw_view(
        augmentation_of("crop_flip"), np.full((1000, 2), 64), (0.08, 1.0), np.random.default_rng(1)
    )
    assert not dali_inputs(view)["twist"].any() and not view["blur"].any()
    assert 400 < view["mirror"].sum() < 600


def test_streams_differ_by_seed_epoch_and_iteration_and_repeat():
    draws = {
        key: batch_generator(*key).random()
        for key in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1))
    }
    assert len(set(draws.values())) == len(draws)
    assert draws[(0, 1, 1)] == batch_generator(0, 1, 1).random()


@pytest.mark.parametrize("size", [(64, 64), (240, 333), (301, 250)])
def test_the_eval_window_is_resize_and_center_crop(size):
    start, end = eval_window(np.array([size]), 224, 256)
    assert np.allclose((end - start)[0], 224 / 256 * min(size))
    scale = 256 / min(size)
    # torchvision places the crop on whole pixels of the resized image, so up to a pixel there
    # separates the two
    expected = np.array([(round(n * scale) - 224) / 2 / scale for n in size])
    np.testing.assert_allclose(start[0], expected, atol=1 / scale)


def test_moco_v1_jitters_always_and_never_blurs():
    view = draw_view(
        augmentation_of("moco_v1"), np.full((20000, 2), 64), (0.2, 1.0), np.random.default_rng(1)
    )
    assert (view["brightness"] != 1).all() and not view["blur"].any()
    assert abs(view["gray"].mean() - 0.2) < 0.01 and 143 < np.abs(view["hue"]).max() <= 144
