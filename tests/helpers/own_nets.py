"""Networks of a user's own, as his module holds them."""

import torch
from torch import nn


class Small(nn.Module):
    """(N, 3, H, W) → a map (N, 12, H/4, W/4), with a part that the features do not depend on."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.LazyConv2d(12, 3, 2, 1)
        )
        self.unused = nn.Linear(3, 2)

    def forward(self, images):
        return self.body(images)


class Wide(nn.Module):
    """(N, 3, H, W) → (N, width)."""

    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 4, 4), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, images):
        return self.body(images).amax((2, 3))


class Scaled(nn.Module):
    """A number that no tensor of its state tells."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.layer, self.factor = nn.Conv2d(3, 4, 3), factor

    def forward(self, images):
        return self.factor * self.layer(images)


def for_size(image_size):
    return Wide(image_size // 2)


def broken():
    raise RuntimeError("no such weights")


def no_module():
    return 3


class Tokens(nn.Module):
    def forward(self, images):
        return images.flatten(2)


class Several(nn.Module):
    def forward(self, images):
        return images, images


class Picky(nn.Module):
    def forward(self, images):
        raise TypeError("two inputs, please")


class Tied(nn.Module):
    """Two names of one tensor."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 3, 3, padding=1)
        self.second.weight = self.first.weight

    def forward(self, images):
        return self.second(torch.relu(self.first(images)))
