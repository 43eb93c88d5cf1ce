"""Orders of the key images within one process; over several: test_batch_norm of the models."""

import torch

from fastneg.methods.key_order import Permuted, Same


def test_features_come_back_to_their_images():
    images = torch.arange(6.0).view(6, 1, 1, 1)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    permuted = Permuted(order, images.device)
    moved = permuted.there(images)
    assert moved.flatten().tolist() == order.tolist()
    assert permuted.back(moved.flatten(1)).flatten().tolist() == list(range(6))
    assert Same().there(images) is images and Same().back(images) is images
