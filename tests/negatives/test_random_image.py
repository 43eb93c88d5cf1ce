"""Random images of the batch as negatives."""

import torch

from fastneg.negatives.random_image_torch import random_image_negatives


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_random_image_is_never_the_own_one_and_every_other_occurs():
    images = torch.arange(4.0).view(4, 1, 1, 1)
    seen = {
        (i, int(other))
        for seed in range(40)
        for i, other in enumerate(random_image_negatives(images, 1, generator(seed)).flatten())
    }
    assert seen == {(i, j) for i in range(4) for j in range(4) if i != j}
    made = random_image_negatives(images, 3, generator()).squeeze()
    assert made.sort(0).values.T.tolist() == [[0, 1, 2, 3]] * 3
