"""InfoNCE against its plain definition in float64: both backends, forward and every gradient, on
ragged sizes and extreme values.

The Triton backend is fastneg.kernels.info_nce_triton with fastneg.kernels.info_nce_triton_kernels.
"""

import math
import pickle

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize
from torch.utils._python_dispatch import TorchDispatchMode

import fastneg.kernels.info_nce_torch
from fastneg.kernels.info_nce import InfoNCEOutput, info_nce
from fastneg.kernels.launch import Recorder
from fastneg.losses import InfoNCELoss
from helpers.info_nce_definition import (
    BACKENDS,
    DEVICE,
    HALVES,
    compare,
    definition,
    draw,
    loss_and_grads,
)

SHAPES = [  # N, K (None: in-batch), D, M, temperature
    (33, 300, 48, 3, 0.2),
    (70, 129, 128, 0, 0.07),
    (5, 1, 16, 2, 0.1),
    (1, 257, 20, 64, 0.5),
    (40, None, 40, 2, 0.1),
    (64, 1024, 64, 1, 0.01),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("rows", "count", "dim", "private", "temperature"), SHAPES)
def test_float32_loss_and_every_gradient(backend, rows, count, dim, private, temperature):
    options = {"extra_scale": 2.0} if private else {}
    compare(draw(rows, count, dim, private), temperature, backend, tolerance=5e-6, **options)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("rows", "count", "dim", "private", "temperature"), SHAPES)
def test_half_precision_is_no_worse_than_eager(
    backend, dtype, rows, count, dim, private, temperature
):
    options = {"extra_scale": 2.0} if private else {}
    # Softmax weights are rounded to the dtype for the second product, and the interpreter truncates
    # where a GPU rounds.
    compare(
        draw(rows, count, dim, private, dtype),
        temperature,
        backend,
        tolerance=2 * torch.finfo(dtype).eps,
        **options,
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dim", [512, 700])
def test_wide_features(backend, dim):
    compare(draw(17, 50, dim, 1), 0.1, backend, tolerance=5e-6, extra_scale=2.0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("rows", "count"), [(9, 9), (9, 40), (9, 4), (70, 90)])
def test_negatives_that_begin_with_the_queries_leave_themselves_out(backend, rows, count):
    query, positive, negatives, extras = draw(rows, count, 20, 2)
    leaves = [tensor.clone().requires_grad_() for tensor in (query, positive, negatives, extras)]
    truth_leaves = [
        tensor.double().requires_grad_() for tensor in (query, positive, negatives, extras)
    ]
    _, logits = definition(*truth_leaves, 0.1, 2.0)
    own = torch.zeros_like(logits, dtype=torch.bool)
    own[:, 1 : 1 + count].fill_diagonal_(True)
    logits = logits.masked_fill(own, -math.inf)
    loss = cross_entropy(logits, torch.zeros(rows, dtype=torch.long, device=DEVICE))
    loss.backward()
    options = {
        "temperature": 0.1,
        "extra_scale": 2.0,
        "exclude_diagonal": True,
        "backend": backend,
        "return_stats": True,
    }
    out = info_nce(*leaves[:3], extra_negatives=leaves[3], **options)
    out.loss.backward()
    torch.testing.assert_close(out.loss.double(), loss, rtol=1e-5, atol=1e-6)
    assert torch.equal(out.rank, (logits[:, 1:] > logits[:, :1]).sum(1))
    for ours, truth in zip(leaves, truth_leaves, strict=True):
        torch.testing.assert_close(ours.grad.double(), truth.grad, rtol=1e-4, atol=1e-6)


def test_gradcheck_in_float64():
    query, positive, negatives, extras = (
        tensor.double().requires_grad_() for tensor in draw(7, 9, 5, 3)
    )
    heat = torch.tensor(0.5, dtype=torch.float64, device=DEVICE, requires_grad=True)
    full = lambda q, k, n, e, t: info_nce(
        q, k, n, temperature=t, extra_negatives=e, extra_scale=2.0, reduction="none"
    )
    assert torch.autograd.gradcheck(full, (query, positive, negatives, extras, heat))
    assert torch.autograd.gradcheck(
        lambda q, k, t: info_nce(q, k, temperature=t, reduction="sum"), (query, positive, heat)
    )


@pytest.mark.parametrize("exclude", [False, True])
def test_chunks_join_seamlessly(monkeypatch, exclude):
    """Many small chunks, the last one ragged, give what one chunk gives; float64 shows any seam."""
    query, positive, negatives, extras = (tensor.double() for tensor in draw(50, 1000, 16, 2))
    negatives = None if exclude else negatives
    heat = torch.tensor(0.1, dtype=torch.float64, device=DEVICE)
    function = lambda q, k, n, e, t: info_nce(q, k, n, temperature=t, extra_negatives=e)
    run = lambda: loss_and_grads(function, (query, positive, negatives, extras), heat)
    whole = run()
    monkeypatch.setattr(fastneg.kernels.info_nce_torch, "SMALLEST_CHUNK", 7)
    for name in ("CPU_CHUNK_ELEMENTS", "CUDA_CHUNK_ELEMENTS"):
        monkeypatch.setattr(fastneg.kernels.info_nce_torch, name, 1)
    for one, many in zip(whole, run(), strict=True):
        torch.testing.assert_close(many, one, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("count", "private"), [(300, 0), (300, 5), (None, 0), (None, 3), (0, 4)])
def test_statistics(backend, count, private):
    tensors = draw(37, count, 32, private)
    scale = {"extra_scale": 2.0} if private else {}
    loss, logits = definition(
        *(None if t is None else t.double() for t in tensors), 0.1, scale.get("extra_scale", 1.0)
    )
    out = info_nce(
        *tensors[:3],
        temperature=0.1,
        extra_negatives=tensors[3],
        return_stats=True,
        reduction="none",
        backend=backend,
        **scale,
    )
    rank = (logits[:, 1:] > logits[:, :1]).sum(1)
    assert (
        out.rank.dtype == torch.int64
        and torch.equal(out.rank, rank)
        and (count == 0 or rank.max() > 5)
    )
    torch.testing.assert_close(out.loss.double(), loss, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(out.lse.double(), logits.logsumexp(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(out.positive_logit.double(), logits[:, 0], rtol=1e-5, atol=1e-6)
    assert out.acc1.shape == () and out.acc1.item() == pytest.approx(
        (rank == 0).float().mean().item()
    )
    assert out.acc5.item() == pytest.approx((rank < 5).float().mean().item())


@pytest.mark.parametrize("backend", BACKENDS)
def test_statistics_are_detached_and_the_loss_is_the_plain_one(backend):
    query, positive, negatives, _ = draw(9, 40, 16)
    query.requires_grad_()
    out = info_nce(query, positive, negatives, return_stats=True, backend=backend)
    assert out.loss.requires_grad and not any(tensor.requires_grad for tensor in out[1:])
    assert torch.equal(out.loss, info_nce(query, positive, negatives, backend=backend))
    assert torch.equal(out.loss, info_nce(query.detach(), positive, negatives, backend=backend))


@pytest.mark.parametrize("backend", BACKENDS)
def test_reductions(backend):
    query, positive, negatives, _ = draw(9, 40, 16)
    rows = info_nce(query, positive, negatives, reduction="none", backend=backend)
    assert rows.shape == (9,) and rows.dtype == torch.float32
    torch.testing.assert_close(
        info_nce(query, positive, negatives, reduction="sum", backend=backend), rows.sum()
    )
    torch.testing.assert_close(info_nce(query, positive, negatives, backend=backend), rows.mean())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_weighted_sum_of_rows(backend):
    """Upstream gradients differ by row, one is zero; float16 shares would underflow or overflow if
    they carried them."""
    tensors = draw(20, 70, 32, 2, torch.float16)
    weights = (1000 * torch.linspace(0, 1, 20, device=DEVICE)).square()
    exact = loss_and_grads(
        lambda *a: (definition(*a, 1.0)[0] * weights).sum(),
        [t.double() for t in tensors],
        torch.tensor(0.2, device=DEVICE).double(),
    )
    heat = torch.tensor(0.2, device=DEVICE)
    rows = lambda q, k, n, e, t: info_nce(
        q, k, n, temperature=t, extra_negatives=e, reduction="none", backend=backend
    )
    mine = loss_and_grads(lambda *a: (rows(*a) * weights).sum() * 2.0**-20, tensors, heat)
    for truth, got in zip(exact, mine, strict=True):
        assert (truth - got.double() * 2.0**20).norm() <= 4e-3 * truth.norm()


@pytest.mark.parametrize("backend", BACKENDS)
def test_layouts_and_strides(backend):
    query, positive, negatives, extras = draw(21, 70, 24, 3)
    heat = torch.tensor(0.1, device=DEVICE)
    wide = lambda tensor: torch.stack([tensor, torch.full_like(tensor, math.nan)], -1).flatten(-2)[
        ..., ::2
    ]

    def run(negatives, prepare=lambda tensor: tensor, **options):
        function = lambda q, k, n, e, t: info_nce(
            prepare(q),
            prepare(k),
            prepare(n),
            temperature=t,
            extra_negatives=prepare(e),
            backend=backend,
            **options,
        )
        return loss_and_grads(function, (query, positive, negatives, extras), heat)

    plain, strided, moco = (
        run(negatives),
        run(negatives, wide),
        run(negatives.t().contiguous(), negatives_layout="dk"),
    )
    moco[3] = moco[3].t()
    for one, two, three in zip(plain, strided, moco, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(three, one, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_the_gradients_asked_for(backend):
    query, positive, negatives, extras = draw(9, 40, 16, 2)
    heat = torch.tensor(0.07, device=DEVICE)
    function = lambda q, k, n, e, t: info_nce(
        q, k, n, temperature=t, extra_negatives=e, backend=backend
    )
    everything = loss_and_grads(function, (query, positive, negatives, extras), heat)[1:]
    for index, wanted in enumerate(everything):
        leaves = [query, positive, negatives, extras, heat]
        leaves[index] = leaves[index].detach().clone().requires_grad_()
        info_nce(
            *leaves[:3], temperature=leaves[4], extra_negatives=leaves[3], backend=backend
        ).backward()
        torch.testing.assert_close(leaves[index].grad, wanted)
        assert all(leaf.grad is None for i, leaf in enumerate(leaves) if i != index)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
class TestExtremes:
    def test_huge_logits(self, backend):
        # A float32 logit near 1e4 is itself known to 1e-3 only, and so is its exponential.
        query, positive, negatives, _ = draw(16, 90, 32)
        compare((query * 100, positive, negatives, None), 0.01, backend, tolerance=1e-3)

    def test_a_tiny_loss_keeps_its_gradient(self, backend):
        """The positive is far ahead: p - 1 would round to 0 in float32, the factored form keeps all
        digits."""
        query = draw(8, 1, 16)[0]
        tensors, heat = (
            (query, query.clone(), -query[:1].clone(), None),
            torch.tensor(0.02, device=DEVICE),
        )
        exact = lambda q, k, n, e, t: torch.log1p(
            torch.exp((q @ n.t()).squeeze(1) / t - (q * k).sum(1) / t).double()
        ).mean()
        truth = loss_and_grads(
            exact,
            [None if tensor is None else tensor.double() for tensor in tensors],
            heat.double(),
        )
        mine = loss_and_grads(
            lambda q, k, n, e, t: info_nce(q, k, n, temperature=t, backend=backend), tensors, heat
        )
        assert 0 < truth[0] < 1e-7
        for wanted, got in zip(truth, mine, strict=True):
            assert (wanted - got.double()).norm() <= 1e-4 * wanted.norm()

    def test_identical_rows(self, backend):
        row = draw(1, 1, 32)[0]
        out = info_nce(
            row.expand(8, -1),
            row.expand(8, -1),
            row.expand(100, -1),
            return_stats=True,
            backend=backend,
        )
        assert out.loss.item() == pytest.approx(math.log(101), rel=1e-6)

    def test_a_positive_that_is_also_a_negative(self, backend):
        """Its logit is counted twice; it is no better than itself, but for the last digit of two
        ways to sum the same product."""
        query, positive, negatives, _ = draw(9, 40, 32)
        negatives[7] = positive[2]
        compare((query, positive, negatives, None), 0.05, backend, tolerance=5e-6)
        ahead = info_nce(
            positive,
            positive,
            torch.cat([positive, -positive]),
            return_stats=True,
            reduction="none",
            backend=backend,
        )
        assert (ahead.rank <= 1).all() and (ahead.loss > math.log(2) - 1e-5).all()

    def test_one_of_everything(self, backend):
        compare(draw(1, 1, 16, 1), 0.3, backend, tolerance=5e-6, extra_scale=2.0)

    def test_many_private_negatives_of_many_rows(self, backend):
        compare(draw(12, 33, 24, 64), 0.2, backend, tolerance=5e-6, extra_scale=0.5)

    def test_no_negatives_at_all(self, backend):
        query, positive, negatives, _ = draw(6, 0, 16)
        query.requires_grad_()
        loss = info_nce(query, positive, negatives, backend=backend)
        loss.backward()
        assert loss.item() == 0 and not query.grad.any()
        with pytest.raises(
            ValueError, match="query has one row, and in-batch negatives are the other rows"
        ):
            # a mistake, where (0, D) is a choice
            info_nce(query[:1], positive[:1], backend=backend)
        extra = -positive[:1, None]
        alone = [
            info_nce(query[:1], positive[:1], *shared, extra_negatives=extra, backend=backend)
            for shared in ((), (negatives,))
        ]
        assert alone[0].item() == alone[1].item() > 0

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_a_query_that_is_not_finite(self, backend, value):
        query, positive, negatives, extras = draw(6, 40, 16, 2)
        query[2, 3] = value
        positive[:, 3], negatives[:, 3] = positive[:, 3].abs(), negatives[:, 3].abs()
        out = info_nce(
            query,
            positive,
            negatives,
            extra_negatives=extras,
            reduction="none",
            return_stats=True,
            backend=backend,
        )
        assert out.loss.isnan().tolist() == [False, False, True, False, False, False]
        assert out.rank[2] == 42 and (out.rank[[0, 1, 3, 4, 5]] < 42).all()

    def test_a_nan_among_the_negatives_spoils_every_row(self, backend):
        query, positive, negatives, _ = draw(6, 40, 16)
        negatives[17, 3] = math.nan
        out = info_nce(
            query, positive, negatives, reduction="none", return_stats=True, backend=backend
        )
        assert out.loss.isnan().all() and (out.rank == 40).all() and out.acc5 == 0

    def test_a_nan_positive_in_the_batch(self, backend):
        query, positive, _, _ = draw(6, None, 16)
        positive[1, 0] = math.nan
        out = info_nce(query, positive, reduction="none", return_stats=True, backend=backend)
        assert out.loss.isnan().all() and (out.rank == 5).all()


def test_the_kernels_repeat_bit_for_bit():
    tensors, heat = draw(33, 700, 48, 3), torch.tensor(0.2, device=DEVICE)
    function = lambda q, k, n, e, t: info_nce(
        q, k, n, temperature=t, extra_negatives=e, backend="triton"
    )
    run = lambda: loss_and_grads(function, tensors, heat)
    assert all(torch.equal(one, two) for one, two in zip(run(), run(), strict=True))


def test_a_million_negatives():
    """On the torch path against one matrix product in float64."""
    query, positive, negatives, _ = draw(3, 1_048_576, 16)
    out = info_nce(
        query,
        positive,
        negatives,
        temperature=0.2,
        return_stats=True,
        reduction="none",
        backend="torch",
    )
    logits = query.double() @ negatives.double().t() / 0.2
    positive_logit = (query.double() * positive.double()).sum(1) / 0.2
    exact = torch.logaddexp(positive_logit, logits.logsumexp(1))
    torch.testing.assert_close(out.lse.double(), exact, rtol=1e-6, atol=0)
    # logits that differ in the last digit only
    assert ((out.rank - (logits > positive_logit[:, None]).sum(1)).abs() <= 2).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_offsets_beyond_int32(tmp_path, backend):
    """Rows 2^29 elements apart, in a sparse file: the eighth begins at 3.8 · 10^9.

    Read and written there.
    """
    storage = torch.from_file(
        str(tmp_path / "sparse"), shared=True, size=8 * 2**29, dtype=torch.float16
    )
    far = storage.as_strided((8, 16), (2**29, 1))
    query, positive, negatives, _ = draw(5, 8, 16, dtype=torch.float16)
    far.copy_(negatives)
    compared = [
        loss_and_grads(
            lambda q, k, n, e, t: info_nce(q, k, n, temperature=t, backend=backend),
            (query, positive, one, None),
            heat,
        )
        for one in (negatives, far)
        for heat in [torch.tensor(0.1, device=DEVICE)]
    ]
    assert all(torch.equal(one, two) for one, two in zip(*compared, strict=True))


class _Allocated(TorchDispatchMode):
    """Bytes of all tensors that are made while it is on, none of which is freed: an upper bound of
    the peak."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.empty.memory_format:
            self.bytes += result.numel() * result.element_size()
        return result


@pytest.mark.parametrize(("rows", "bound_mib"), [(32, 16), (512, 16), (4096, 64)])
def test_memory_of_the_kernels(rows, bound_mib):
    """What the launches of an H200 allocate, counted on the meta device: partial sums and results,
    nothing of N × K."""
    from fastneg.kernels import info_nce_triton

    query, queue, extras = (
        torch.empty(shape, dtype=torch.bfloat16, device="meta")
        for shape in ((rows, 128), (65536, 128), (rows, 1, 128))
    )
    with _Allocated() as allocated:
        info_nce_triton.forward(
            query, query, queue, extras, 0.2, 2.0, False, "bfloat16", True, launch=Recorder()
        )
    assert 0 < allocated.bytes <= bound_mib * 2**20


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


def test_precision_of_float32_products():
    """bf16 rounds the inputs and nothing else: the loss is that of the rounded inputs, exactly as
    half-precision inputs give it."""
    query, positive, negatives, extras = draw(9, 40, 16, 2)
    rounded = info_nce(
        query.bfloat16(),
        positive.bfloat16(),
        negatives.bfloat16(),
        extra_negatives=extras.bfloat16(),
    )
    assert torch.equal(
        info_nce(query, positive, negatives, extra_negatives=extras, precision="bf16"), rounded
    )
    assert not torch.equal(info_nce(query, positive, negatives, extra_negatives=extras), rounded)
    with torch.autocast(DEVICE, torch.bfloat16):
        assert torch.equal(info_nce(query, positive, negatives, extra_negatives=extras), rounded)
        ieee = info_nce(query, positive, negatives, extra_negatives=extras, precision="ieee")
    assert torch.equal(ieee, info_nce(query, positive, negatives, extra_negatives=extras))


@pytest.mark.parametrize("backend", BACKENDS)
def test_mixed_dtypes_are_promoted(backend):
    query, positive, negatives, _ = draw(9, 40, 16)
    half = negatives.half()
    query.requires_grad_()
    half.requires_grad_()
    loss = info_nce(query, positive.bfloat16(), half, backend=backend)
    loss.backward()
    assert query.grad.dtype == torch.float32 and half.grad.dtype == torch.float16
    exact = definition(
        query.double(), positive.bfloat16().double(), half.double(), None, 0.07, 1.0
    )[0].mean()
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)


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
    args = (query, positive, negatives, extras, heat, 1.0, 2.0, False, "float32", True, "auto")
    torch.library.opcheck(torch.ops.fastneg.info_nce, args, test_utils=utils)
    args = (query, positive, negatives, None, None, 0.5, 1.0, False, "bfloat16", False, "auto")
    torch.library.opcheck(torch.ops.fastneg.info_nce, args, test_utils=utils)
    row = torch.ones(12, device=DEVICE)
    args = (
        query.detach(),
        negatives.detach(),
        row,
        row,
        heat.detach(),
        1.0,
        False,
        "float32",
        "auto",
    )
    torch.library.opcheck(torch.ops.fastneg.info_nce_negatives_grad, args, test_utils=utils)


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


Q, K, NEG, EXTRA = draw(6, 20, 16, 2)
MISTAKES = [
    ((Q[0], K, NEG), {}, "query is .16,.: .N, D."),
    ((Q[:0], K[:0], NEG), {}, "query is .0, 16."),
    ((Q, K[:5], NEG), {}, "positive is .5, 16. but query is .6, 16."),
    ((Q, K, NEG[:, :8]), {}, "query is .6, 16. on .* but negatives are .20, 8. on"),
    ((Q, K, NEG[0]), {}, "negatives are .16,."),
    ((Q, K, NEG), {"negatives_layout": "dk"}, "both need the same feature dimension"),
    ((Q, K, NEG), {"negatives_layout": "kn"}, "negatives_layout is 'kn'"),
    ((Q, K), {"negatives_layout": "dk"}, "no negatives to lay out"),
    ((Q, K, NEG), {"extra_negatives": EXTRA[:, 0]}, "extra_negatives are .6, 16.: .N, M, D."),
    ((Q, K, NEG), {"extra_negatives": EXTRA[:3]}, "query has 6 rows"),
    ((Q, K, NEG), {"extra_negatives": EXTRA, "extra_scale": math.inf}, "extra_scale is inf"),
    ((Q, K, NEG), {"extra_scale": 2.0}, "no extra_negatives for it to scale"),
    ((Q, K, NEG.to("meta")), {}, "on meta: both need the same feature dimension and device"),
    ((Q.long(), K, NEG), {}, "query has dtype torch.int64"),
    ((Q, K, NEG), {"temperature": 0.0}, "temperature is 0.0: a finite number above 0"),
    ((Q, K, NEG), {"temperature": math.nan}, "temperature is nan"),
    ((Q, K, NEG), {"temperature": torch.ones(1)}, "0-d floating-point tensor"),
    ((Q, K, NEG), {"reduction": "average"}, "reduction is 'average'"),
    ((Q, K, NEG), {"precision": "fp8"}, "precision is 'fp8'"),
    (
        (Q.half(), K.half(), NEG.half()),
        {"precision": "tf32"},
        "inputs are torch.float16: it says how float32 is multiplied",
    ),
    (
        (Q, K, NEG),
        {"precision": "tf32", "backend": "torch"},
        'precision is "tf32", which the torch backend',
    ),
    ((Q.double(), K.double(), NEG.double()), {"backend": "triton"}, "only the torch backend takes"),
    ((Q, K, NEG), {"backend": "cuda"}, "backend is 'cuda'"),
    (
        (Q.new_ones(2, 1100), Q.new_ones(2, 1100), Q.new_ones(3, 1100)),
        {"backend": "triton"},
        "feature dimension is 1100",
    ),
]


@pytest.mark.parametrize(
    ("args", "options", "message"), MISTAKES, ids=[message for _, _, message in MISTAKES]
)
def test_a_callers_mistake_is_named(args, options, message):
    with pytest.raises(ValueError, match=message):
        info_nce(*args, **options)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
@pytest.mark.parametrize(
    ("rows", "count", "dim", "private"),
    [(512, 65536, 128, 1), (1000, 20_001, 256, 4), (77, 4096, 768, 0), (300, None, 96, 3)],
)
def test_large_on_the_gpu(dtype, rows, count, dim, private):
    compare(
        draw(rows, count, dim, private, dtype),
        0.2,
        "triton",
        tolerance=5e-6 if dtype == torch.float32 else torch.finfo(dtype).eps,
    )


@pytest.mark.gpu
def test_tf32_on_the_gpu():
    tensors = draw(256, 8192, 128, 1)
    exact = definition(*(tensor.double() for tensor in tensors), 0.2, 1.0)[0].mean()
    loss = info_nce(*tensors[:3], temperature=0.2, extra_negatives=tensors[3], precision="tf32")
    assert loss.item() == pytest.approx(exact.item(), rel=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("layout", ["kd", "dk"])
def test_more_than_two_to_the_31_elements_on_the_gpu(layout):
    """Offsets beyond int32: the last key alone is like the queries, so the loss shows whether it
    was read."""
    count, dim = 17_000_000, 128
    queue = torch.zeros(
        (count, dim) if layout == "kd" else (dim, count), dtype=torch.bfloat16, device=DEVICE
    )
    query = normalize(torch.randn(64, dim, device=DEVICE), dim=1).bfloat16()
    (queue if layout == "kd" else queue.t())[-1] = query[0]
    out = info_nce(
        query,
        -query,
        queue,
        temperature=0.05,
        negatives_layout=layout,
        reduction="none",
        return_stats=True,
    )
    exact = math.log(count - 1 + math.exp(20) + math.exp(-20)) + 20
    assert out.loss[0].item() == pytest.approx(exact, rel=1e-2) and out.rank[0] == count


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
@pytest.mark.parametrize(("rows", "bound_mib"), [(512, 16), (4096, 64)])
def test_memory_on_the_gpu(rows, bound_mib):
    query, positive, queue, _ = draw(rows, 65536, 128, 0, torch.bfloat16)
    query.requires_grad_()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    info_nce(query, positive, queue, temperature=0.2).backward()
    assert torch.cuda.max_memory_allocated() - before <= bound_mib * 2**20


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
