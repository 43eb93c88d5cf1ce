"""Networks of a user's own, as his module holds them."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

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


class Vectors(nn.Module):
    """Its batch normalisation is of vectors alone."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Conv2d(3, 4, 4, 4), nn.BatchNorm1d(4)

    def forward(self, images):
        return self.norm(self.layer(images).mean((2, 3)))


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


class Changing(nn.Module):
    """Vectors in eval mode; in training mode what is asked for."""

    def __init__(self, in_training="map"):
        super().__init__()
        self.layer, self.in_training = nn.Conv2d(3, 4, 4, 4), in_training

    def forward(self, images):
        found = self.layer(images)
        features = found.mean((2, 3))
        if not self.training:
            return features
        told = {"map": found, "wider": torch.cat([features, features], 1)}
        return told.get(self.in_training, (features, found))


class ChannelsLast(Changing):
    def forward(self, images):
        return self.layer(images).permute(0, 2, 3, 1)


class Double(Changing):
    def __init__(self):
        super().__init__()
        self.double()


class Whole(Changing):
    def forward(self, images):
        return super().forward(images).long()


class WithoutGradient(Changing):
    @torch.no_grad()
    def forward(self, images):
        return super().forward(images)


class Computed(nn.Module):
    """Lazy layers, and a weight that is computed of two others: to be copied after a call."""

    def __init__(self):
        super().__init__()
        self.layer = nn.utils.weight_norm(nn.Conv2d(3, 4, 4, 4))
        self.norm = nn.LazyBatchNorm2d()

    def forward(self, images):
        return self.norm(self.layer(images))


class Dropping(Wide):
    """An option that no tensor of its state, and nothing in eval mode, tells."""

    def __init__(self, share=0.0):
        super().__init__(4)
        self.dropout = nn.Dropout(share)

    def forward(self, images):
        return self.dropout(super().forward(images))


class Locked(Wide):
    """What cannot be copied."""

    def __init__(self):
        super().__init__(4)
        self.lock = threading.Lock()


class Hooked(Wide):
    """Features that a hook keeps: that of a copy would go on working on the first one."""

    def __init__(self):
        super().__init__(4)
        self.body[0].register_forward_hook(lambda *call: setattr(self, "kept", call[-1]))

    def forward(self, images):
        self.body(images)
        return self.kept


class Keyed(Changing):
    """As Hugging Face's models."""

    def forward(self, images):
        found = self.layer(images)
        return OrderedDict(pooled=found.mean((2, 3)), tokens=found.flatten(2).mT)


class Fields(Changing):
    @dataclass
    class Out:
        features: torch.Tensor

    def forward(self, images):
        return self.Out(self.layer(images))


class Half(Changing):
    def forward(self, images):
        return super().forward(images).bfloat16()


class InPlace(Changing):
    def forward(self, images):
        return super().forward(images.mul_(2))


class Exiting(Changing):
    def __init__(self):
        raise SystemExit(3)  # as argparse does


class Valueless(Changing):
    def __init__(self):
        super().__init__()
        self.to("meta")


class Classifier(Wide):
    def __init__(self):
        super().__init__(4)
        self.fc = nn.Linear(4, 1000)

    def forward(self, images):
        return self.fc(super().forward(images))


class Listed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Conv2d(3, 4, 4)]

    def forward(self, images):
        return self.layers[0](images)


one = Wide(4)


def same():
    return one
