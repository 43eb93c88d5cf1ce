"""Features in blobs, one for each class."""

import torch


def blobs(images, width, classes, distance, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, width, generator=generator)
    labels = torch.arange(images) % classes
    return (
        distance * centres[labels] + torch.randn(images, width, generator=generator)
    ) * scale + 3 * scale, labels
