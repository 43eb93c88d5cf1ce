"""Tables are made once for each device, type and set of arguments."""

import numpy as np
import torch

from fastneg.evaluation.corruptions.tables import numbers, table

CPU = torch.device("cpu")


def test_a_table_is_made_once_and_by_its_arguments():
    made = []

    def make(size, value):
        made.append(size)
        return np.full(size, value), torch.zeros(size)

    first, zeros = table(make, CPU, 3, 2.0)
    assert first.tolist() == [2.0] * 3 and zeros.tolist() == [0.0] * 3
    assert table(make, CPU, 3, 2.0)[0] is first
    assert len(table(make, CPU, 4, 2.0)[0]) == 4 and made == [3, 4]


def test_numbers_have_the_type_asked_for():
    assert numbers(((1, 2), (3, 4)), CPU).dtype is torch.float32
    assert numbers(((1, 2), (3, 4)), CPU, torch.float64).tolist() == [[1, 2], [3, 4]]
