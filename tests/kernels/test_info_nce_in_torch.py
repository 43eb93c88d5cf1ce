"""InfoNCE inside what torch offers: compiled, functional, distributed, pickled, in a CUDA graph."""

import pickle

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from fastneg.kernels import info_nce_operator
from fastneg.kernels.info_nce import InfoNCEOutput, info_nce
from fastneg.losses import InfoNCELoss
from helpers.info_nce_definition import (
    DEVICE,
    draw,
    loss_and_grads,
)


def test_functional_call_and_the_symmetric_loss_of_clip():
    class Head(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.project, self.log_scale = (
                torch.nn.Linear(16, 8),
                torch.nn.Parameter(torch.tensor(1.0)),
            )

        def forward(self, x, y):
            one, two = normalize(self.project(x), dim=1), normalize(self.project(y), dim=1)
            return info_nce(one, two, temperature=self.log_scale.neg().exp())

    torch.manual_seed(0)
    head, x, y = (
        Head().to(DEVICE),
        torch.randn(6, 16, device=DEVICE),
        torch.randn(6, 16, device=DEVICE),
    )
    head(x, y).backward()
    parameters = {
        name: value.detach().clone().requires_grad_() for name, value in head.named_parameters()
    }
    torch.func.functional_call(head, parameters, (x, y)).backward()
    assert all(
        value.grad.any() and torch.equal(value.grad, head.get_parameter(name).grad)
        for name, value in parameters.items()
    )
    clip = lambda one, two: 0.5 * (info_nce(one, two) + info_nce(two, one))
    a, b = (normalize(tensor, dim=1) for tensor in (x, y))
    exact = 0.5 * sum(
        cross_entropy(logits / 0.07, torch.arange(6, device=DEVICE))
        for logits in (a @ b.t(), b @ a.t())
    )
    torch.testing.assert_close(clip(a, b), exact)


def test_in_distributed_data_parallel(tmp_path):
    """One process: the hooks of DDP, whose buckets hold the temperature too."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        module = InfoNCELoss(torch.nn.Parameter(torch.tensor(0.2)))
        model = torch.nn.parallel.DistributedDataParallel(module)
        x, y = torch.randn(6, 16), torch.randn(6, 16)
        model(x, y).backward()
        (wanted,) = torch.autograd.grad(
            InfoNCELoss(heat := torch.tensor(0.2, requires_grad=True))(x, y), heat
        )
        torch.testing.assert_close(module.temperature.grad, wanted)
    finally:
        torch.distributed.destroy_process_group()


def test_the_output_pickles():
    query, positive, negatives, _ = draw(5, 20, 16)
    out = info_nce(query, positive, negatives, return_stats=True)
    again = pickle.loads(pickle.dumps(out))
    assert isinstance(again, InfoNCEOutput) and all(
        torch.equal(one, two) for one, two in zip(out, again, strict=True)
    )


def test_compiles_without_a_graph_break():
    tensors, heat = draw(12, 40, 16, 2), torch.tensor(0.2, device=DEVICE)
    function = lambda q, k, n, e, t: (
        info_nce(q, k, n, temperature=t, extra_negatives=e, extra_scale=2.0, return_stats=True).loss
    )
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    for one, two in zip(
        loss_and_grads(function, tensors, heat),
        loss_and_grads(compiled, tensors, heat),
        strict=True,
    ):
        torch.testing.assert_close(two, one)


def test_the_operators_are_registered_well():
    query, positive, negatives, extras = (tensor.requires_grad_() for tensor in draw(12, 40, 16, 2))
    heat = torch.tensor(0.2, device=DEVICE, requires_grad=True)
    utils = ("test_schema", "test_autograd_registration", "test_faketensor")
    labels, left = torch.arange(40, device=DEVICE) % 12, torch.ones(12, 40, device=DEVICE) < 0
    hidden, rest = (left, labels[:12], labels), (False, "float32", True, True, "auto")
    args = (query, positive, negatives, extras, heat, *hidden, 1.0, 2.0, False, *rest)
    torch.library.opcheck(torch.ops.fastneg.info_nce.default, args, test_utils=utils)
    rest = (True, "bfloat16", False, False, "auto")
    args = (query, positive, negatives, *[None] * 5, 0.5, 1.0, False, *rest)
    torch.library.opcheck(torch.ops.fastneg.info_nce, args, test_utils=utils)
    with torch.no_grad():
        found = info_nce_operator.forward(*args), torch.ops.fastneg.info_nce(*args)
    assert all(torch.equal(own, given) for own, given in zip(*found, strict=True))
    row = torch.ones(12, device=DEVICE)
    args = (
        query.detach(),
        negatives.detach(),
        row,
        row,
        heat.detach(),
        *hidden,
        1.0,
        False,
        "float32",
        "auto",
    )
    torch.library.opcheck(torch.ops.fastneg.info_nce_negatives_grad.default, args, test_utils=utils)


@pytest.mark.parametrize("which", range(4))
def test_forward_mode_is_refused(which):
    """An operator without a rule for it would take part as a constant: a derivative of zero,
    silently."""
    inputs = [*draw(5, 20, 16)[:3], torch.tensor(0.1, device=DEVICE)]

    def loss(moving):
        query, positive, negatives, temperature = (*inputs[:which], moving, *inputs[which + 1 :])
        return info_nce(query, positive, negatives, temperature=temperature)

    with pytest.raises(RuntimeError, match="input with a tangent"):
        torch.func.jvp(loss, (inputs[which],), (torch.ones_like(inputs[which]),))


def test_double_backward_is_refused():
    query, positive, negatives, _ = draw(5, 20, 16)
    query.requires_grad_()
    (grad,) = torch.autograd.grad(info_nce(query, positive, negatives), query, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiated twice"):
        grad.square().sum().backward()


@pytest.mark.gpu
def test_in_a_cuda_graph():
    query, positive, negatives, extras = draw(512, 8192, 128, 1, torch.bfloat16)
    query.requires_grad_()
    step = lambda: torch.autograd.grad(
        info_nce(query, positive, negatives, temperature=0.2, extra_negatives=extras), query
    )[0]
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        eager = step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    graph.replay()
    assert torch.equal(captured, eager)


@pytest.mark.gpu
@pytest.mark.parametrize("learned", [False, True])
def test_no_wait_for_the_device(learned):
    query, positive, queue, extras = draw(64, 4096, 128, 2, torch.bfloat16)
    query.requires_grad_()
    heat = torch.tensor(0.2, device=DEVICE, requires_grad=True) if learned else 0.2
    step = lambda: info_nce(
        query, positive, queue, temperature=heat, extra_negatives=extras, return_stats=True
    ).loss.backward()
    step()  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_inductor_and_autocast_on_the_gpu():
    tensors, heat = draw(256, 4096, 128, 1), torch.tensor(0.2, device=DEVICE)
    function = lambda q, k, n, e, t: info_nce(q, k, n, temperature=t, extra_negatives=e)
    with torch.autocast("cuda", torch.bfloat16):
        eager = loss_and_grads(function, tensors, heat)
        compiled = loss_and_grads(torch.compile(function, fullgraph=True), tensors, heat)
    for one, two in zip(eager, compiled, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-5)
