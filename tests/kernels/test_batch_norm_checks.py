"""What batch_norm refuses."""

import math

import pytest
import torch

from fastneg.kernels.batch_norm import batch_norm
from fastneg.kernels.batch_norm_checks import MOST_GROUPS

IMAGES, ROW = torch.zeros(4, 3, 2, 2), torch.ones(3)


class Two:
    size = 2


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((torch.zeros(4),), {}, r"images are \(4,\)"),
        ((torch.zeros(4, 3, 2, 2, dtype=torch.int32),), {}, "torch.int32: .* was expected"),
        ((IMAGES, torch.ones(4)), {}, r"weight is \(4,\) .* \(3,\) there was expected"),
        ((IMAGES, ROW, ROW.to("meta")), {}, "bias is .* on meta"),
        ((IMAGES, ROW, ROW.long()), {}, "bias is torch.int64: a float"),
        ((IMAGES, ROW, ROW, ROW), {}, "One of running_mean and running_var is None"),
        ((IMAGES,), {"training": False}, "training is False but running_mean is None"),
        ((IMAGES,), {"residual": IMAGES[:2]}, r"residual is \(2, 3, 2, 2\)"),
        ((IMAGES,), {"residual": IMAGES.double()}, "residual is .* torch.float64"),
        ((IMAGES,), {"groups": 3}, "A batch of 4 does not divide into 3 groups"),
        ((IMAGES,), {"groups": 0}, "groups is 0"),
        ((IMAGES,), {"groups": MOST_GROUPS + 1}, "groups is 65536"),
        ((IMAGES,), {"groups": 2, "processes": Two()}, "joined over processes"),
        ((IMAGES[:, :, :1, :1],), {"groups": 4}, "one value of each channel"),
        ((IMAGES[:0],), {}, "no statistics of nothing"),
        ((IMAGES.numpy(),), {}, "images is a ndarray"),
        ((IMAGES, [1.0, 1.0, 1.0]), {}, "weight is a list"),
        ((IMAGES,), {"residual": 1.0}, "residual is a float"),
        ((IMAGES,), {"groups": 2.0}, "groups is 2.0: a whole number"),
        ((IMAGES,), {"groups": None}, "groups is None"),
        ((IMAGES,), {"eps": -1.0}, "eps is -1.0: a number from 0.0"),
        ((IMAGES,), {"eps": math.nan}, "eps is nan"),
        ((IMAGES,), {"momentum": None}, "momentum is None"),
        ((IMAGES,), {"momentum": 1.5}, "momentum is 1.5: a number from 0.0 to 1.0"),
        ((IMAGES,), {"relu": "no"}, "relu is 'no'"),
        ((IMAGES,), {"tracked": 0}, "tracked is a int"),
        ((IMAGES,), {"tracked": torch.zeros(())}, r"tracked is \(\) torch.float32 on cpu"),
        ((IMAGES,), {"tracked": torch.zeros(1).long()}, r"tracked is \(1,\)"),
        ((IMAGES,), {"backend": "cudnn"}, "backend is 'cudnn'"),
        ((IMAGES.double(),), {"backend": "numba"}, "only the torch backend takes float64"),
        ((IMAGES,), {"backend": "numba"}, "takes float32 in channels_last"),
    ],
)
def test_it_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        batch_norm(*arguments, **options)


def test_no_images_are_normalised_by_given_statistics():
    out = batch_norm(IMAGES[:0], ROW, ROW, ROW, ROW, training=False, relu=True)
    assert out.shape == (0, 3, 2, 2)


def test_given_statistics_get_no_gradient():
    asking = [row.clone().requires_grad_() for row in (ROW, ROW)]
    assert not batch_norm(IMAGES, None, None, *asking, training=False).requires_grad
