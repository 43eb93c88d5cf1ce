"""Implementations of SigLIP's and CLIP's losses: each takes (first, second, scale, bias) and
returns the mean loss, differentiable by all of them; CLIP's has no bias.

Legend: N pairs, D feature dimension.
"""

from __future__ import annotations

import importlib.util

import torch
from torch.nn.functional import cross_entropy, logsigmoid

from fastneg.losses import clip_loss, info_nce, siglip_loss


def siglip_fastneg(first, second, scale, bias):
    """Ours: logits, loss and weights of a tile at once, then both gradients."""
    return siglip_loss(first, second, scale=scale, bias=bias)


def siglip_eager(first, second, scale, bias):
    """As big_vision and open_clip write it: one matrix of all logits."""
    logits = _logits(first, second, scale) + bias
    signs = 2 * torch.eye(len(logits), dtype=logits.dtype, device=logits.device) - 1
    return -logsigmoid(signs * logits).sum() / len(logits)


def siglip_kernel(first, second, scale, bias):
    """The package of that name, by the road that it chooses itself."""
    from siglip_kernel import fused_siglip_loss

    return fused_siglip_loss(first, second, scale.log(), bias)


def clip_fastneg(first, second, scale, bias):
    """Ours: both directions in one sweep."""
    return clip_loss(first, second, temperature=scale.reciprocal())


def clip_fastneg_two_calls(first, second, scale, bias):
    """Ours with a call of `info_nce` for each direction: twice the products."""
    options = {"temperature": scale.reciprocal(), "exclude_diagonal": True}
    return (
        info_nce(first, second, second, **options) + info_nce(second, first, first, **options)
    ) / 2


def clip_eager(first, second, scale, bias):
    """As CLIP and open_clip write it: one matrix of all logits, cross entropy of it and of its
    transpose."""
    logits = _logits(first, second, scale)
    classes = torch.arange(len(logits), device=logits.device)
    return (cross_entropy(logits, classes) + cross_entropy(logits.t(), classes)) / 2


def clip_inf_cl(first, second, scale, bias):
    """inf-cl's loss, a call for each direction, in float32 as it asks for."""
    from inf_cl import cal_flash_loss

    first, second = first.float(), second.float()
    rows, columns = (
        cal_flash_loss(*pair, scale=scale) for pair in ((first, second), (second, first))
    )
    return (rows.mean() + columns.mean()) / 2


def _logits(first, second, scale):
    return scale * (first @ second.t())


CONTENDERS = {
    "siglip": {"fastneg": siglip_fastneg, "eager": siglip_eager, "siglip_kernel": siglip_kernel},
    "clip": {
        "fastneg": clip_fastneg,
        "fastneg_two_calls": clip_fastneg_two_calls,
        "eager": clip_eager,
        "inf_cl": clip_inf_cl,
    },
}
"""{loss: {name: function}}"""
PEERS = ("siglip_kernel", "inf_cl")
"""Modules of others, whose kernels need a GPU."""


def contenders(loss, device):
    """({name: function}, {name: why it does not run here})."""
    functions, skipped = dict(CONTENDERS[loss]), {}
    if device == "cpu":  # where it is not measured, the compiler is not imported either
        skipped["torch_compile"] = "measured on CUDA only: on a CPU it needs a C++ compiler"
    else:
        functions["torch_compile"] = torch.compile(functions["eager"], dynamic=False)
    for name in PEERS:
        if name not in functions:
            continue
        if importlib.util.find_spec(name) is None:
            skipped[name] = "not installed: pip install 'fastneg[bench]'"
        elif device == "cpu":
            skipped[name] = "needs a CUDA device"
    return {name: function for name, function in functions.items() if name not in skipped}, skipped
