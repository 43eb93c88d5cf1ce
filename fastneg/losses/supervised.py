"""The supervised contrastive loss: the positives of a row have its label or its image.

Legend: N images, V views of each, R = N V rows, D feature dimension, P positives of a row.
"""

from __future__ import annotations

import torch

from fastneg.kernels.info_nce import info_nce
from fastneg.kernels.info_nce_call import operand_of, stored_dtype
from fastneg.kernels.info_nce_checks import check_temperature
from fastneg.kernels.info_nce_targets import rounded_forward
from fastneg.losses.views import check_extra, check_features


def supervised_contrastive(
    features: torch.Tensor,
    labels: torch.Tensor | None = None,
    everyone: tuple[torch.Tensor, torch.Tensor | None] | None = None,
    *,
    temperature: float | torch.Tensor = 0.1,
    extra_negatives: torch.Tensor | None = None,
    extra_scale: float = 1.0,
) -> torch.Tensor:
    """Supervised contrastive loss: the positives of a row are all rows with its label, or the other
    views of its image.

    loss_r = lse over all rows a ≠ r of (z_r·z_a / T) − the mean over positives p of z_r·z_p / T

    The mean over positives is outside the logarithm. The loss is the mean over the rows that have a
    positive. A row without one (a class with a single view in the batch) is only a negative of
    others. No (R, R) matrix is stored. Gradients reach `features`, those of `everyone`, the extra
    negatives and a tensor `temperature`.

    Args:
        features: (N, V, D) L2-normalised, V ≥ 1; dtypes as in `info_nce`.
        labels: (N,) integers; None: each image is its own class, which needs V ≥ 2.
        everyone: (features, labels) of all processes, (N', V, D) and (N',) or None, with this
            process's images first; None with one process. The mean is over the rows of this
            process.
        temperature: T, a float above 0 or a 0-d tensor on the same device.
        extra_negatives: (N, M, D), the negatives of each image only; all of its views are compared
            with them.
        extra_scale: factor on the similarity to the extra negatives, inside the exponent.
    Returns:
        (), float32 (float64 for float64 features); 0 if no row has a positive.
    Raises:
        ValueError: shapes or dtypes disagree, there is one row, or one view without labels.
    Source: Khosla et al. 2020, arXiv:2004.11362, equation 2; with V = 2 and no labels NT-Xent.
    """
    extra = extra_negatives, extra_scale
    return contrastive_with_lse(features, labels, everyone, temperature, *extra)[0]


def contrastive_with_lse(
    features, labels, everyone, temperature, extra_negatives=None, extra_scale=1.0
):
    """(the loss of `supervised_contrastive`, the log-sum-exp of all logits of each row (R,),
    detached): the rows of the first views stand before those of the second."""
    check_temperature(temperature, getattr(features, "device", None))
    check_features(features, labels, everyone)
    check_extra(extra_negatives)
    images, views, _ = features.shape
    rows = _rows(features)
    everything, numbers = rows, labels
    if everyone is not None:
        others = everyone[0][images:]
        everything, numbers = torch.cat([rows, _rows(others)]), everyone[1]
    operand = operand_of((everything,))
    if everything.dtype == torch.float32 and operand != "float32":
        # By autocast. All terms are of the same rounded rows, as those of half precision are.
        everything = rounded_forward(everything, stored_dtype(operand), torch.float32)
        rows = everything[: len(rows)]
    if numbers is None:
        numbers = torch.arange(len(everything) // views, device=rows.device)
    label = _numbered(numbers)
    label = torch.cat([label[:images].repeat(views), label[images:].repeat(views)])
    wide = everything.to(torch.promote_types(rows.dtype, torch.float32))
    sums = wide.new_zeros(len(numbers), wide.shape[1]).index_add(0, label, wide)
    own, mine = wide[: len(rows)], label[: len(rows)]
    count = label.new_zeros(len(numbers)).index_add(0, label, torch.ones_like(label))[mine] - 1
    positives = (own * (sums[mine] - own)).sum(1) / count.clamp_min(1) / temperature
    has = count > 0
    repeated = None if extra_negatives is None else extra_negatives.repeat(views, 1, 1)
    extra = {"extra_negatives": repeated, "extra_scale": extra_scale}
    lse = _lse_of_others(rows, everything, temperature, extra)
    losses = torch.where(has, lse - positives, 0.0)
    return losses.sum() / has.sum().clamp_min(1), lse.detach()


def _numbered(labels):
    """(N,) any whole numbers → (N,) numbers below N, equal where those are equal.

    `unique` would do, but how many it finds the host must ask the device.
    """
    order = labels.argsort()
    ranked = labels[order]
    number = torch.cat([labels.new_zeros(1), (ranked[1:] != ranked[:-1]).long().cumsum(0)])
    return torch.empty_like(number).scatter_(0, order, number)


def _rows(features):
    """(N, V, D) → (N V, D): the views of an image stand N apart."""
    return features.transpose(0, 1).flatten(0, 1)


def _lse_of_others(rows, everything, temperature, extra):
    """(R,) the log-sum-exp over all other rows, and over its extra negatives, of z_r·z_a / T,
    differentiable.

    `info_nce` with a row's neighbour as its positive gives log(1 + S / e^p), where S is the sum
    over all others, the neighbour among them once more, and p is the neighbour's logit. So S / e^p
    is at least 1 and expm1 of the loss keeps its digits.
    """
    neighbour = everything.roll(-1, 0)[: len(rows)]
    options = {"temperature": temperature, "reduction": "none", "exclude_diagonal": True, **extra}
    loss = info_nce(rows, neighbour, everything, **options)
    wide = torch.promote_types(rows.dtype, torch.float32)
    logit = (rows.to(wide) * neighbour.to(wide)).sum(1) / temperature
    # log(e^loss - 1), without overflow where the loss is large.
    return loss + torch.log(-torch.expm1(-loss)) + logit
