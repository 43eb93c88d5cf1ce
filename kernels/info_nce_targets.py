"""Soft targets of info_nce: label smoothing and soft labels.

Shapes: N batch, K shared negatives, M extra negatives per query, D feature dimension.

With y the target of each logit, the loss is lse - y·l. What it has beyond the loss of the positive
alone, lse - l_pos, is l_pos - y·l, which is linear in the logits. So it takes sums of keys, and no
logits:

soft labels s      sum_j s_j (l_pos - l_j)             = (sum_j s_j) l_pos - q·(sum_j s_j n_j) / T
smoothing e        e / C sum_c (l_pos - l_c), c over all C logits, so a sum of the row's keys
"""

import torch

from .info_nce_call import stored_dtype


def soften(outputs, call, left_out, label_smoothing, soft_labels):
    """The operator's outputs with the loss of soft targets for the rows' losses.

    Args:
        outputs: of `fastneg::info_nce`.
        call: its tensors (query, positive, negatives (K, D), extra or None), temperature,
            extra_scale and operand.
        left_out: `LeftOut`.
    """
    rows, lse, rank, positive_logit, *others = outputs
    dtype = stored_dtype(call.operand)
    query, _, keys, extra = (rounded_forward(tensor, dtype, rows.dtype) for tensor in call.tensors)
    query = query / call.temperature
    with torch.autocast(query.device.type, enabled=False):
        if soft_labels is not None:
            soft = soft_labels.to(rows.dtype)
            rest = soft.sum(1) * positive_logit - (query * (soft @ keys)).sum(1)
            rows = rows + (1 - label_smoothing) * rest
        if label_smoothing:
            sums, count = _sum_of_keys(keys, len(query), left_out)
            logits = (query * sums).sum(1)
            if extra is not None:
                logits = logits + (query * extra.sum(1)).sum(1) * call.extra_scale
                count = count + extra.shape[1]
            rest = (count * positive_logit - logits) / (count + 1)
            rows = rows + label_smoothing * rest
    return rows, lse, rank, positive_logit, *others


def rounded_forward(tensor, dtype, wide):
    """The values as a product takes them, while the gradient is not rounded: float16 could not hold
    one that a gradient scaler made large."""
    if tensor is None or tensor.dtype == wide == dtype:
        return tensor
    exact = tensor.to(wide)
    return exact + (tensor.detach().to(dtype).to(wide) - exact.detach())


def _sum_of_keys(keys, rows, left_out):
    """((N, D) or (D,) sum of the keys that each row is compared with, how many they are)."""
    if left_out.mask is None and left_out.query_labels is None:
        sums, count = keys.sum(0), len(keys)
        if left_out.diagonal:
            own = torch.zeros(rows, keys.shape[1], dtype=keys.dtype, device=keys.device)
            there = min(rows, len(keys))
            own = torch.cat([keys[:there], own[there:]])
            has = torch.arange(rows, device=keys.device) < there
            sums, count = sums - own, count - has.to(keys.dtype)
        return sums, count
    compared = torch.ones(rows, len(keys), dtype=torch.bool, device=keys.device)
    if left_out.diagonal:
        compared.fill_diagonal_(False)
    if left_out.mask is not None:
        compared &= ~left_out.mask
    if left_out.query_labels is not None:
        compared &= left_out.query_labels[:, None] != left_out.negative_labels
    compared = compared.to(keys.dtype)
    return compared @ keys, compared.sum(1)
