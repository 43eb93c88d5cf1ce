"""Implementations of the same loss: each takes (query, positive, queue, temperature) and returns
the mean InfoNCE loss, differentiable by query.

None but eager gives the rank of the positive as well. Where a library offers only the log-sum-exp
over a matrix of keys, the positive is joined afterwards: loss = softplus(lse_queue - l_pos).
Legend: N batch, K shared negatives, D feature dimension, T temperature.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from functools import partial

import torch
from torch.nn.functional import cross_entropy, softplus

from fastneg.kernels.info_nce import info_nce


def fastneg(query, positive, queue, temperature):
    """Ours as MoCo calls it: unit rows, with the accuracies."""
    return _ours(query, positive, queue, temperature, normalised=True, return_stats=True).loss


def fastneg_no_ranks(query, positive, queue, temperature):
    """Ours without the accuracies."""
    return _ours(query, positive, queue, temperature, normalised=True)


def fastneg_any_length(query, positive, queue, temperature):
    """Ours for rows of any length, with the accuracies: the maximum runs along."""
    return _ours(query, positive, queue, temperature, return_stats=True).loss


def fastneg_any_length_no_ranks(query, positive, queue, temperature):
    """Ours for rows of any length, without the accuracies."""
    return _ours(query, positive, queue, temperature)


def _ours(query, positive, queue, temperature, **options):
    return info_nce(query, positive, queue, temperature=temperature, **options)


def eager(query, positive, queue, temperature):
    """The MoCo family's loss with its accuracies: one matrix of all logits, cross entropy and top-5
    over it."""
    logits = _logits(query, positive, queue, temperature)
    logits.detach().topk(min(5, logits.shape[1]), 1)
    return cross_entropy(logits, _zeros(query))


def info_nce_pytorch(query, positive, queue, temperature):
    """The module of info-nce-pytorch, which normalises its inputs once more."""
    return importlib.import_module("info_nce").InfoNCE(temperature=temperature)(
        query, positive, queue
    )


def scaled_dot_product_attention(query, positive, queue, temperature):
    """Attention with the queue as keys and as values: its output is the softmax-weighted mean of
    the queue, which gives the gradient."""
    return _Attention.apply(query, positive, queue, temperature)


def cut_cross_entropy(query, positive, queue, temperature):
    """The queue as a classifier. nll + logit of any one class is the log-sum-exp; without
    filtering, whose default skips tiles."""
    from cut_cross_entropy import linear_cross_entropy

    scaled = query / temperature
    if not query.is_cuda:
        # its Triton kernels need a GPU; its own fall-back computes the same
        exact = {"impl": "torch_compile"}
    elif "accum_e_fp32" in inspect.signature(linear_cross_entropy).parameters:
        exact = {"impl": "cce_exact"}
    else:
        exact = {"impl": "cce", "filter_eps": None}
    nll = linear_cross_entropy(scaled, queue, _zeros(query), reduction="none", **exact)
    lse = nll.float() + (scaled.float() @ queue[0].float())
    return _joined(lse, query, positive, temperature)


def liger_kernel(query, positive, queue, temperature):
    """Its cross entropy over the matrix of all logits; its fused linear one has one classifier for
    all rows, so no private positive."""
    from liger_kernel.transformers import LigerCrossEntropyLoss

    return LigerCrossEntropyLoss()(_logits(query, positive, queue, temperature), _zeros(query))


def inf_cl(query, positive, queue, temperature):
    """Its log-sum-exp over the queue, in float32 as its own loss calls it."""
    from inf_cl.flash import FlashProb

    lse = FlashProb.apply(
        (query.float() / temperature)[:, None].contiguous(), queue.float()[:, None].contiguous()
    )
    return _joined(lse, query, positive, temperature)


CONTENDERS = {
    function.__name__: function
    for function in (
        fastneg,
        fastneg_no_ranks,
        fastneg_any_length,
        fastneg_any_length_no_ranks,
        eager,
        info_nce_pytorch,
        scaled_dot_product_attention,
        cut_cross_entropy,
        liger_kernel,
        inf_cl,
    )
}
MODULES = {
    "info_nce_pytorch": "info_nce",
    **{name: name for name in ("cut_cross_entropy", "liger_kernel", "inf_cl")},
}
"""What a contender imports."""
NEEDS_CUDA = ("cut_cross_entropy", "liger_kernel", "inf_cl")
"""Contenders whose kernels are for a GPU: on a CPU a benchmark of them would measure something
else."""


def contenders(device, tiles=()):
    """({name: function}, {name: why it does not run here}).

    tiles: `Tiles` of the sweep, each of which makes one contender more of each of our variants.
    """
    functions, skipped = dict(CONTENDERS), {}
    for each in tiles:
        for ours in (fastneg, fastneg_no_ranks, fastneg_any_length_no_ranks):
            functions[f"{ours.__name__} {each}"] = partial(_with_tiles, ours, each)
    if device != "cpu":  # where it is not measured, the compiler is not imported either
        functions["torch_compile"] = _compiled_eager()
    for name, module in MODULES.items():
        if importlib.util.find_spec(module) is None:
            skipped[name] = "not installed: pip install 'fastneg[bench]'"
    if device == "cpu":
        skipped.update(dict.fromkeys(NEEDS_CUDA, "needs a CUDA device"))
        skipped["torch_compile"] = "measured on CUDA only: on a CPU it needs a C++ compiler"
    return {name: function for name, function in functions.items() if name not in skipped}, skipped


def _compiled_eager():
    settings = importlib.import_module("torch._functorch.config")
    if hasattr(settings, "donated_buffer"):
        # A backward pass alone is measured many times over the same graph, which its buffers must
        # outlive.
        settings.donated_buffer = False
    return torch.compile(eager)


def _with_tiles(function, tiles, *args):
    from fastneg.kernels.info_nce_tiles import use_tiles

    with use_tiles(tiles):
        return function(*args)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, positive, queue, temperature):
        heads = [tensor[None, None] for tensor in (query, queue, queue)]
        attention = (
            torch.ops.aten._scaled_dot_product_flash_attention
            if query.is_cuda
            else _attention_on_cpu
        )
        mean, lse = attention(*heads, scale=1 / temperature)[:2]
        mean, lse = mean[0, 0].float(), lse[0, 0, : len(query)].float()
        positive_logit = (query.float() * positive.float()).sum(1) / temperature
        margin = lse - positive_logit
        share = torch.sigmoid(margin) / (temperature * len(query))
        ctx.save_for_backward((share[:, None] * (mean - positive.float())).to(query.dtype))
        return softplus(margin).mean()

    @staticmethod
    def backward(ctx, grad):
        return ctx.saved_tensors[0] * grad, None, None, None


def _attention_on_cpu(query, key, value, scale):
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, scale=scale
    )


def _logits(query, positive, queue, temperature):
    positive_logit = torch.einsum("nd,nd->n", query, positive)[:, None]
    return torch.cat([positive_logit, torch.einsum("nd,kd->nk", query, queue)], 1) / temperature


def _joined(lse, query, positive, temperature):
    return softplus(lse - (query.float() * positive.float()).sum(1) / temperature).mean()


def _zeros(query):
    return torch.zeros(len(query), dtype=torch.long, device=query.device)
