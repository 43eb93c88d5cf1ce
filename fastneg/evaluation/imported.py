"""A classifier imported with its network, instead of one that `fastneg linear` trains.

Legend: F backbone features, C classes.
"""

from __future__ import annotations

import torch

from fastneg.config.method import TIMM
from fastneg.counts import counted
from fastneg.data.known_classes import IMAGENET
from fastneg.errors import WeightsOptionError
from fastneg.evaluation.linear import LinearClassifier, save_linear
from fastneg.models.backbones import timm_settings, whole_network
from fastneg.models.own_outputs import images_of
from fastneg.runs.load import load_run

MODE = "imported"
"""What linear.pt says of how its classifier was trained."""
CLOSE = 1e-3


def classifier_of(taken, backbone, config):
    """(LinearClassifier, a line for a person) of the linear layer beside a backbone in a file.

    Args:
        taken: `Taken` of `load_into`.
        backbone: the network that was loaded.
        config: `PretrainConfig` that names it.
    Raises:
        WeightsError: there is none, several fit, or the network does more than to apply it to its
            features.
    """
    backbone.eval()
    with torch.no_grad():
        width = backbone(images_of(config.image_size)).shape[1]
    name, weight, bias = _layer(taken, width, config)
    head = LinearClassifier(width, len(weight), _classes(len(weight)))
    head.load_state_dict({"weight": weight, "bias": bias})
    _compare(backbone, head, config)
    known = "ImageNet's 1000" if head.classes else counted(len(weight), "class")
    unnamed = "" if head.classes else ", of which the names are not known: sets join by number"
    return head, f"  classifier: taken from {name} ({known}{unnamed})"


def keep_classifier(run, head, weights):
    """Write RUN/linear.pt of a classifier that came with the run's network in a file."""
    save_linear(run, head, load_run(run), mode=MODE, train=None, imported=str(weights))


def _layer(taken, width, config):
    """(name, (C, F), (C,)) of the linear layer beside the backbone."""
    prefix, found = taken.backbone.prefix, {}
    for name in taken.backbone.left:
        weight = taken.tensors[prefix + name]
        layer, _, kind = name.rpartition(".")
        fits = weight.ndim in (2, 4) and weight.shape[1] == width and weight[0].numel() == width
        if kind == "weight" and fits:
            bias = taken.tensors.get(f"{prefix}{layer}.bias")
            found[layer] = weight.flatten(1), torch.zeros(len(weight)) if bias is None else bias
    named = getattr(timm_settings(config.backbone), "classifier", None)
    found = {named: found[named]} if named in found else found
    if len(found) != 1:
        several = f"several fit: {', '.join(found)}" if found else "no weight (C, F) is beside it"
        raise WeightsOptionError(
            f"--classifier is on, but the file holds no linear classifier of {config.backbone}'s "
            f"{width} features ({several}): leave it out, and train one with fastneg linear."
        )
    ((layer, (weight, bias)),) = found.items()
    return prefix + layer, weight.float(), bias.float()


def _classes(count):
    return list(IMAGENET) if count == len(IMAGENET) else None


@torch.no_grad()
def _compare(backbone, head, config):
    """WeightsError unless the whole network gives what the classifier makes of the features."""
    whole = whole_network(config, head.out_features)
    if whole is None:
        return
    network, layer = whole
    network.load_state_dict(backbone.state_dict(), strict=False)
    layer.weight.copy_(head.weight.view_as(layer.weight))
    if layer.bias is not None:
        layer.bias.copy_(head.bias)
    images = images_of(config.image_size, 2)
    expected, found = network.eval()(images), head(backbone(images))
    if not torch.allclose(found, expected, atol=CLOSE * expected.abs().max().item(), rtol=0):
        raise WeightsOptionError(
            f"--classifier is on, but {config.backbone.removeprefix(TIMM)} does more than to apply "
            "a linear layer to its features: leave it out, and train one with fastneg linear."
        )
