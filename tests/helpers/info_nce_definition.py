"""InfoNCE by its plain definition, and the comparison of a backend with it in float64."""

import math

import torch
from torch.nn.functional import cross_entropy, normalize

from fastneg.kernels.info_nce import info_nce

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BACKENDS = ["torch", "triton"]
HALVES = [torch.bfloat16, torch.float16]


def definition(query, positive, negatives, extras, temperature, extra_scale):
    """(loss rows, logits with the positive first): one matrix of all logits, cross entropy on
    it."""
    shared = (query @ (positive if negatives is None else negatives).t()) / temperature
    if negatives is None:
        shared = shared.masked_fill(
            torch.eye(len(query), dtype=torch.bool, device=query.device), -math.inf
        )
    parts = [(query * positive).sum(1, keepdim=True) / temperature, shared]
    if extras is not None:
        parts.append(extra_scale * torch.einsum("nd,nmd->nm", query, extras) / temperature)
    logits = torch.cat(parts, 1)
    return cross_entropy(
        logits, torch.zeros(len(query), dtype=torch.long, device=query.device), reduction="none"
    ), logits


def draw(rows, count, dim, private=0, dtype=torch.float32, seed=0):
    """query, positive, negatives (None for count None: in-batch), extras (None for private 0):
    L2-normalised, on DEVICE."""
    g = torch.Generator().manual_seed(seed)
    unit = lambda *shape: normalize(torch.randn(*shape, generator=g), dim=-1).to(dtype).to(DEVICE)
    query = unit(rows, dim)
    positive = normalize(query.float() + 3 * unit(rows, dim).float(), dim=-1).to(dtype)
    return (
        query,
        positive,
        None if count is None else unit(count, dim),
        unit(rows, private, dim) if private else None,
    )


def loss_and_grads(function, tensors, temperature):
    """[loss, d/dquery, d/dpositive, d/dnegatives, d/dextras, d/dtemperature] of the mean loss,
    those that exist."""
    leaves = [
        None if tensor is None else tensor.detach().clone().requires_grad_()
        for tensor in (*tensors, temperature)
    ]
    loss = function(*leaves)
    loss.backward()
    return [loss.detach()] + [leaf.grad for leaf in leaves if leaf is not None]


def compare(tensors, temperature, backend, tolerance=1e-6, **options):
    """|truth - ours| ≤ |truth - eager in the same dtype| + tolerance · |truth|, for the loss and
    each gradient.

    The gradient of the temperature, a difference of large sums, may err by rounding of the sums on
    top.
    """
    scale = options.get("extra_scale", 1.0)
    eager = lambda *args: definition(*args, scale)[0].mean()
    ours = lambda q, k, n, e, t: info_nce(
        q, k, n, temperature=t, extra_negatives=e, backend=backend, **options
    )
    heat = torch.tensor(temperature, device=DEVICE)
    double = [None if tensor is None else tensor.double() for tensor in tensors]
    truth = loss_and_grads(eager, double, heat.double())
    reference = loss_and_grads(eager, tensors, heat)
    mine = loss_and_grads(ours, tensors, heat)
    for tensor, wanted in zip(
        [*tensors, heat],
        mine[1:] if tensors[2] is not None and tensors[3] is not None else [],
        strict=False,
    ):
        assert wanted.dtype == tensor.dtype and wanted.shape == tensor.shape
    for number, (exact, usual, got) in enumerate(zip(truth, reference, mine, strict=True), 1):
        rounding = torch.finfo(torch.float32).eps / temperature if number == len(truth) else 1e-9
        allowed = (exact - usual.double()).norm() + tolerance * exact.norm() + rounding
        assert (exact - got.double()).norm() <= allowed
