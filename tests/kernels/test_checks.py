"""Values of the wrong kind are named as their caller named them (fastneg.kernels.checks)."""

import math

import numpy as np
import pytest
import torch

from fastneg.kernels import checks

REFUSED = [
    (checks.check_choice, ("kind", "c", ("a", "b")), "kind is 'c': one of 'a', 'b' was expected"),
    (checks.check_flags, {"relu": "no"}, "relu is 'no': True or False"),
    (checks.check_flags, {"relu": 1}, "relu is 1: True or False"),
    (checks.check_number, ("eps", "1"), r"eps is '1' \(str\): a number"),
    (checks.check_number, ("eps", None), r"eps is None \(NoneType\)"),
    (checks.check_number, ("eps", True), r"eps is True \(bool\)"),
    (checks.check_range, ("eps", math.nan, 0.0, 1.0), "eps is nan: a number from 0.0 to 1.0"),
    (checks.check_range, ("eps", math.inf, 0.0, math.inf), "eps is inf"),
    (checks.check_range, ("eps", [1], 0.0, 1.0), r"eps is \[1\] \(list\)"),
    (checks.check_whole, ("size", 8.0, 1), "size is 8.0: a whole number of at least 1"),
    (checks.check_whole, ("size", True, 1), "size is True"),
    (checks.check_whole, ("size", (8, 8), 1), r"size is \(8, 8\)"),
    (checks.check_whole, ("size", 0, 1), "size is 0"),
    (checks.check_few, ("mean", 0.5, 3), "mean is 0.5: 3 numbers"),
    (checks.check_few, ("mean", (0.5, 0.5), 3), r"mean is \(0.5, 0.5\): 3 numbers"),
    (checks.check_few, ("mean", "abc", 3), "mean is 'abc': 3 numbers"),
    (checks.check_few, ("mean", (0.5, "a", 1), 3), r"mean is 'a' \(str\): a number"),
    (checks.check_are_tensors, {"images": np.ones(2)}, "images is a ndarray: a tensor"),
    (checks.check_are_tensors, {"images": torch.eye(2).to_sparse()}, "layout torch.sparse_coo"),
    (checks.check_dim, ("rows", [1], 2, "(N, D)"), r"rows is a list: a tensor \(N, D\)"),
    (checks.check_dim, ("rows", torch.ones(3), 2, "(N, D)"), r"rows are \(3,\): \(N, D\)"),
]


@pytest.mark.parametrize(("check", "arguments", "said"), REFUSED)
def test_it_is_refused(check, arguments, said):
    with pytest.raises(ValueError, match=said):
        check(**arguments) if isinstance(arguments, dict) else check(*arguments)


def test_numbers_of_numpy_and_tensors_of_numbers_pass():
    checks.check_number("eps", np.float32(1))
    checks.check_whole("size", np.int64(8), 1)
    checks.check_few("mean", torch.zeros(3), 3)
    checks.check_few("mean", np.zeros(3), 3)
    checks.check_are_tensors(images=torch.ones(2))
