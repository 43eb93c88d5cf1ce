"""Whether a contender of the loss benchmark computes the plain definition."""

import torch
from torch.nn.functional import cross_entropy, normalize

from fastneg.recipes.bench.info_nce_contenders import CONTENDERS

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def agrees_with_the_definition(name, dtype=torch.float32, rows=9, count=70, dim=32):
    g = torch.Generator().manual_seed(0)
    query, positive, queue = (
        normalize(torch.randn(n, dim, generator=g), dim=1).to(DEVICE, dtype)
        for n in (rows, rows, count)
    )
    results = []
    # info-nce-pytorch normalises once more: the same loss, and a gradient without its part along
    # the query.
    prepare = (
        (lambda tensor: normalize(tensor, dim=1))
        if name == "info_nce_pytorch"
        else (lambda tensor: tensor)
    )
    exact = lambda q, *others: definition(prepare(q), *others)
    for function, convert in (
        (CONTENDERS[name], lambda tensor: tensor),
        (exact, lambda tensor: tensor.double()),
    ):
        leaf = convert(query.clone()).requires_grad_()
        loss = function(leaf, convert(positive), convert(queue), 0.2)
        results.append((loss.double(), torch.autograd.grad(loss, leaf)[0].double()))
    tolerance = 1e-4 if dtype == torch.float32 else 2e-2
    return all(
        (mine - truth).norm() <= tolerance * truth.norm()
        for mine, truth in zip(*results, strict=True)
    )


def definition(query, positive, queue, temperature):
    logits = (
        torch.cat([(query * positive).sum(1, keepdim=True), query @ queue.t()], 1) / temperature
    )
    return cross_entropy(logits, torch.zeros(len(query), dtype=torch.long, device=query.device))
