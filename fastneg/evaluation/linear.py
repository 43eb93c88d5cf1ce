"""The linear probe: a linear classifier on the frozen encoder, trained with SGD.

It is trained on augmented crops, as published, or on stored features, which is fast.

Legend: N images, F backbone features, C classes.
"""

from __future__ import annotations

import torch
from torch import nn

from fastneg.config import UnfitError
from fastneg.data.load.labelled_loaders import CropLoader
from fastneg.evaluation.sgd import train_sgd
from fastneg.kernels.host_copy import joined_later, to_device
from fastneg.models.encoders import embed
from fastneg.runs.classifier import classifier_path, read_classifier, write_classifier
from fastneg.runs.embed import uses_autocast
from fastneg.runs.load import same_outputs, weights_digest

FORMAT = 1
LEARNING_RATE = 10.0
NOT_FACTS = ("weight", "bias", "classes", "outputs")
EPOCHS = {"crops": 60, "features": 100}


class LinearClassifier(nn.Linear):
    """(N, F) raw backbone features to (N, C) logits.

    Starts from zeros: the problem is convex, so it needs no random start.
    """

    def __init__(self, feature_dim, count, classes=None):
        super().__init__(feature_dim, count)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)
        self.classes = classes
        """Class names, or None where the training file had none."""
        self.facts = {}
        """Of its training, as `save_linear` stored them."""

    @torch.no_grad()
    def logits(self, features, device="cpu"):
        """(N, C) float32 on the CPU, of stored (N, F) features."""
        self.to(device)
        return joined_later(self(to_device(part, device)) for part in features.split(8192))

    @torch.no_grad()
    def fold(self, mean, scale):
        """Turn weights for (features - mean) * scale into weights for raw features.

        mean and scale are (F,) float64.
        """
        weight = self.weight.double() * scale
        self.bias.copy_(self.bias.double() - weight @ mean)
        self.weight.copy_(weight)


def standardisation(features):
    """(mean, scale), both (F,) float64, by which features are standardised.

    Each column of (features - mean) * scale has the deviation 1 / √F, so that the mean squared
    length is 1. A feature that never varies in training tells nothing: it gets the scale 0,
    whatever it does in a test set.
    """
    mean, deviation = features.double().mean(0), features.double().std(0, correction=0)
    varies = deviation > 1e-6 * deviation.max()
    return mean, torch.where(
        varies, 1 / (deviation.clamp_min(1e-300) * features.shape[1] ** 0.5), 0.0
    )


def learning_rate(base, epoch, epochs):
    """The learning rate of an epoch: ×0.1 after 1/2, 2/3 and 5/6 of the epochs.

    Of 60 epochs these are 30, 40 and 50, as published.
    """
    return base * 0.1 ** sum(6 * epoch >= step * epochs for step in (3, 4, 5))


def train_on_features(
    features,
    labels,
    count,
    *,
    epochs=None,
    lr=None,
    batch_size=128,
    weight_decay=0.0,
    seed=0,
    device="cpu",
):
    """SGD with momentum 0.9 on stored features.

    The features are standardised with the mean and deviation of the training set and divided by √F,
    so that their mean squared length is 1 and one learning rate suits every width. This is folded
    into the returned weights, which apply to raw features; weight decay acts on the weights before
    folding.

    Args:
        features: (N, F) float32.
        labels: (N,) int64 in 0 … count - 1.
        count: C.
    Returns:
        LinearClassifier after the last epoch, on the CPU.
    Raises:
        ConfigError: the loss became NaN or infinite.
    """
    epochs, lr, device = epochs or EPOCHS["features"], lr or LEARNING_RATE, torch.device(device)
    mean, scale = standardisation(features)
    inputs, labels = ((features.double() - mean) * scale).float().to(device), labels.to(device)
    head = LinearClassifier(features.shape[1], count).to(device)
    order = torch.Generator().manual_seed(seed)

    def batches(epoch):
        drawn = to_device(torch.randperm(len(inputs), generator=order), device)
        for rows in drawn.split(batch_size):
            yield inputs[rows], labels[rows]

    _train(head, batches, epochs, lr, weight_decay)
    head.cpu().fold(mean, scale)
    return head


def train_on_crops(
    loaded,
    reader,
    labels,
    count,
    *,
    samples=None,
    epochs=None,
    lr=None,
    batch_size=128,
    weight_decay=0.0,
    seed=0,
    device="cpu",
    threads=0,
    report=print,
):
    """Train by the published protocol: SGD with momentum 0.9, the encoder frozen.

    It sees random crops (0.08 … 1 of the area) and flips.

    Args:
        loaded: `LoadedRun` on `device`.
        reader: `BetonReader` of the training set.
        labels: (images of the file,) int64.
        count: C.
        samples: (n,) positions in the file to train on; None: all.
        report: called with a line for each epoch.
    Returns:
        LinearClassifier after the last epoch, on the CPU.
    Raises:
        ConfigError: the loss became NaN or infinite.
    Source: Ge et al. 2021, arXiv:2110.14189, after He et al. 2020, arXiv:1911.05722.
    """
    epochs, lr, device = epochs or EPOCHS["crops"], lr or LEARNING_RATE, torch.device(device)
    autocast = uses_autocast(loaded.config, device)
    head = LinearClassifier(loaded.feature_dim, count).to(device)
    options = {"device": device, "seed": seed, "threads": threads}
    options |= loaded.config.evaluation_options()
    loader = CropLoader(reader, batch_size, loaded.config.image_size, samples=samples, **options)

    def batches(epoch):
        for batch in loader.epoch(epoch):
            yield (
                embed(loaded.backbone, to_device(batch.images, device), autocast),
                to_device(labels[batch.index], device),
            )

    try:
        _train(head, batches, epochs, lr, weight_decay, report)
    finally:
        loader.close()
    if weights_digest(loaded.backbone) != loaded.digest:
        raise AssertionError("The frozen encoder changed while the linear classifier was trained.")
    return head.cpu()


def _train(head, batches, epochs, lr, weight_decay, report=None):
    train_sgd(
        head,
        [{"params": head.parameters(), "lr": lr}],
        batches,
        epochs,
        schedule=lambda epoch, _: learning_rate(1.0, epoch, epochs),
        what="linear probe",
        weight_decay=weight_decay,
        report=report,
    )


def save_linear(run, head, loaded, **facts):
    """Write RUN/linear.pt through a temporary name: weights, classes, what they were trained on."""
    content = {
        "format": FORMAT,
        "weight": head.weight.detach().cpu(),
        "bias": head.bias.detach().cpu(),
        "classes": head.classes,
        "checkpoint": loaded.checkpoint,
        "digest": loaded.digest,
        "outputs": loaded.outputs(),
        **facts,
    }
    write_classifier(run, content)


def load_linear(run, loaded):
    """The classifier of RUN/linear.pt.

    Raises:
        ConfigError: there is none, or it was trained on other weights than the loaded encoder's, or
            on the same of a network that computes something else now.
        CheckpointError: it cannot be read.
    """
    content = read_classifier(run)
    if content["digest"] != loaded.digest:
        raise UnfitError(
            f"{classifier_path(run)} was trained on {content['checkpoint']}, the newest checkpoint "
            f"is {loaded.checkpoint} with other weights: run fastneg linear again."
        )
    if not same_outputs(content.get("outputs"), loaded.outputs()):
        raise UnfitError(
            f"{classifier_path(run)} was trained on {content['checkpoint']}, but "
            f"{loaded.config.backbone} computes something else with its weights now: run fastneg "
            "linear again."
        )
    count, width = content["weight"].shape
    head = LinearClassifier(width, count, content["classes"])
    head.load_state_dict({"weight": content["weight"], "bias": content["bias"]})
    head.facts = {name: value for name, value in content.items() if name not in NOT_FACTS}
    return head
