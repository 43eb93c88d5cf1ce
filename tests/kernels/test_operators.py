"""Operators that are Python functions; gradients by our own formulas, of which a second derivative
is refused."""

import pytest
import torch
from torch.nn.functional import normalize

from fastneg.kernels.batch_norm import batch_norm
from fastneg.kernels.operators import operator, without_autocast
from fastneg.losses import clip_loss, info_nce, nt_xent, siglip_loss, supervised_contrastive
from helpers.info_nce_definition import DEVICE, draw
from helpers.operations import operations


@pytest.fixture(scope="module")
def doubled():
    @operator(
        "doubled_for_a_test", "(Tensor rows) -> Tensor", lambda rows: rows.new_empty(len(rows))
    )
    def function(rows):
        return 2 * rows.sum(1)

    return function


def test_what_is_decorated_stays_a_function_and_becomes_an_operator(doubled):
    rows = torch.rand(3, 4)
    assert torch.equal(torch.ops.fastneg.doubled_for_a_test(rows), doubled(rows))


def test_compiled_code_sees_its_shapes_alone(doubled):
    compiled = torch.compile(
        lambda rows: torch.ops.fastneg.doubled_for_a_test(rows + 1), backend="eager", fullgraph=True
    )
    rows = torch.rand(3, 4)
    assert torch.equal(compiled(rows), doubled(rows + 1))
    assert torch.ops.fastneg.doubled_for_a_test(rows.to("meta")).shape == (3,)


def test_products_keep_the_dtype_of_their_inputs():
    rows = torch.rand(3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert (rows @ rows.T).dtype == torch.bfloat16
        with without_autocast(rows):
            assert (rows @ rows.T).dtype == torch.float32
    with without_autocast(rows):
        assert (rows @ rows.T).dtype == torch.float32


KEYS, SHARED, PRIVATE = (tensor.double() for tensor in draw(5, 9, 8, 2)[1:])
MASK = torch.arange(45, device=DEVICE).view(5, 9) % 4 == 0
HEAT = torch.tensor(0.3, dtype=torch.float64, device=DEVICE)
EXTRA = {"extra_negatives": PRIVATE, "extra_scale": 2.0}
LOSSES = {
    "info_nce": lambda q, t: info_nce(q, KEYS, SHARED, temperature=t, **EXTRA),
    "in-batch": lambda q, t: info_nce(q, q.flip(0), temperature=t, label_smoothing=0.1),
    "masked": lambda q, t: info_nce(
        KEYS, q, SHARED, temperature=t, negatives_mask=MASK, return_stats=True
    ).lse.sum(),
    "nt_xent": lambda q, t: nt_xent(q, KEYS, temperature=t),
    "clip": lambda q, t: clip_loss(q, KEYS, temperature=t),
    "siglip": lambda q, t: siglip_loss(KEYS, q, scale=t, bias=-1.0),
    "supervised": lambda q, t: supervised_contrastive(torch.stack([q, KEYS], 1), temperature=t),
}


def rows(*shape):
    g = torch.Generator().manual_seed(3)
    return normalize(torch.randn(*shape, 8, generator=g, dtype=torch.float64), dim=-1).to(DEVICE)


def by_autograd(loss, query):
    leaves = [query.clone().requires_grad_(), HEAT.clone().requires_grad_()]
    return torch.autograd.grad(loss(*leaves), leaves)


@pytest.mark.filterwarnings("ignore")  # that the operators are called in a loop
@pytest.mark.parametrize("name", LOSSES)
def test_transforms_give_what_autograd_gives(name):
    loss, many = LOSSES[name], rows(3, 5)
    one_by_one = [
        torch.stack(each) for each in zip(*(by_autograd(loss, q) for q in many), strict=True)
    ]
    of_one = torch.func.grad(loss, argnums=(0, 1))
    for found, truth in zip(of_one(many[0], HEAT), one_by_one, strict=True):
        torch.testing.assert_close(found, truth[0])
    for found, truth in zip(
        torch.func.vmap(of_one, in_dims=(0, None))(many, HEAT), one_by_one, strict=True
    ):
        torch.testing.assert_close(found, truth)
    summed = lambda query: torch.func.vmap(loss, in_dims=(0, None))(query, HEAT).sum()
    torch.testing.assert_close(torch.func.grad(summed)(many), one_by_one[0])


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("name", LOSSES)
def test_a_penalty_on_a_gradient_is_refused(name, which):
    """Whatever else asks for a gradient: as a constant it would add nothing to that of the loss."""
    inputs = [rows(5), HEAT.clone()]
    inputs[which].requires_grad_()
    loss = LOSSES[name](*inputs)
    (grad,) = torch.autograd.grad(loss, inputs[which], create_graph=True)
    with pytest.raises(RuntimeError, match="differentiated twice: only its first derivatives"):
        (loss + grad.square().sum()).backward()


@pytest.mark.parametrize("which", ["positive", "negatives", "extra_negatives"])
def test_the_gradient_of_one_input_alone_is_refused_too(which):
    tensors = {"query": rows(5), "positive": KEYS, "negatives": SHARED, "extra_negatives": PRIVATE}
    tensors[which] = tensors[which].clone().requires_grad_()
    (grad,) = torch.autograd.grad(info_nce(**tensors), tensors[which], create_graph=True)
    with pytest.raises(RuntimeError, match="info_nce was differentiated twice"):
        grad.square().sum().backward()


def test_batch_norm_is_differentiated_once():
    images = torch.randn(4, 3, 5, 5, requires_grad=True)
    (grad,) = torch.autograd.grad(batch_norm(images).square().sum(), images, create_graph=True)
    with pytest.raises(RuntimeError, match="batch_norm was differentiated twice"):
        grad.sum().backward()


def test_the_query_alone_costs_one_product():
    """As in MoCo: the pass of the loss has made its gradient, and each operation is a launch."""
    query, positive, negatives, _ = draw(5, 20, 8)
    query.requires_grad_()
    loss = info_nce(query, positive, negatives, reduction="sum")
    assert set(operations(loss.backward)) <= {"ones_like", "expand", "unsqueeze", "mul", "detach"}
