"""The fast linear probe: multinomial logistic regression by L-BFGS on stored features.

Its penalty is chosen on held-out training images.

Legend: N images, F backbone features, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from fastneg.config import UnfitError
from fastneg.counts import counted
from fastneg.evaluation.accuracy import percent
from fastneg.evaluation.label_splits import hold_out
from fastneg.evaluation.linear import LinearClassifier, standardisation

PENALTIES = tuple(10.0**power for power in range(-1, -9, -1))
"""L2 penalties that the sweep tries, from strong to weak.

They are for features whose mean squared length is 1.
"""
HELD_OUT = 0.2
ITERATIONS = 400


@dataclass(frozen=True)
class Fitted:
    head: LinearClassifier
    """On the CPU, for raw features."""
    weight_decay: float
    """The penalty it was trained with."""
    sweep: dict
    """{penalty: top-1 in percent on the held-out part}; empty where the penalty was given."""


def fit_on_features(features, labels, count, *, weight_decay=None, seed=0, device="cpu"):
    """Minimise the mean cross-entropy + weight_decay / 2 · |W|² over all images.

    The bias is not penalised.

    Without a weight_decay the best of PENALTIES is taken by top-1 on a fifth of each class held out
    of the training set (of equal ones the strongest), and the classifier is then trained on all of
    it. Validation data play no part. The features are standardised and scaled as for SGD; that is
    folded into the weights.

    Args:
        features: (N, F) float32.
        labels: (N,) int64 in 0 … count - 1.
        count: C.
    Returns:
        Fitted.
    Raises:
        ConfigError: a sweep, but no class has two images; or features that are NaN or infinite.
    """
    if not features.isfinite().all():
        raise UnfitError("The features are not all finite: the encoder's training diverged.")
    mean, scale = standardisation(features)
    inputs, labels = ((features.double() - mean) * scale).float().to(device), labels.to(device)
    sweep = {}
    if weight_decay is None:
        fit, held = (rows.to(device) for rows in hold_out(labels.cpu(), HELD_OUT, seed))
        if not len(held):
            raise UnfitError(
                f"None of {counted(count, 'class')} has two training images: no part can be held "
                "out. Give --weight_decay."
            )
        head = None
        # each starts from the one before: the stronger penalty's answer is near
        for penalty in PENALTIES:
            head = _minimise(inputs[fit], labels[fit], count, penalty, head)
            sweep[penalty] = percent(head(inputs[held]).argmax(1) == labels[held])
        weight_decay = max(sweep, key=sweep.get)
    head = _minimise(inputs, labels, count, weight_decay).cpu()
    head.fold(mean, scale)
    return Fitted(head, weight_decay, sweep)


def _minimise(inputs, labels, count, penalty, start=None):
    head = LinearClassifier(inputs.shape[1], count).to(inputs.device)
    if start is not None:
        head.load_state_dict(start.state_dict())
    optimizer = torch.optim.LBFGS(
        head.parameters(),
        max_iter=ITERATIONS,
        max_eval=2 * ITERATIONS,
        tolerance_grad=1e-7,
        tolerance_change=1e-9,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(head(inputs), labels) + penalty / 2 * head.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    optimizer.zero_grad()
    return head.requires_grad_(False)
