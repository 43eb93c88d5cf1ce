"""Sums and products of pairs of rows, both backends against the whole matrix in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from fastneg.kernels import pairs_torch, pairs_triton
from fastneg.kernels.launch import Recorder, recorded_for
from fastneg.kernels.operators import FUNCTIONS
from fastneg.kernels.pairs import pair_sums, sigmoid_pairs, softmax_pairs
from fastneg.kernels.pairs_shipped import shipped
from helpers.fake_cuda import fake_cuda
from helpers.info_nce_definition import BACKENDS, DEVICE

OPERANDS = {"float32": 2e-6, "bfloat16": 8e-3, "float16": 1e-3}
"""{what products are taken in: how far off a gradient may be, whose weights are rounded to it}"""
SHAPES = [  # n, m (None: rows of the same number belong together), D, scale, bias
    (2, None, 3, 200.0, 1.0),
    (130, None, 40, 10.0, -10.0),
    (5, 1, 16, 1.0, 0.0),
    (70, 129, 65, 200.0, -5.0),
]


def draw(rows, columns, dim, operand="float64", seed=0):
    """Both sides, of unit length and exact in `operand`, in the dtype that it comes in."""
    g = torch.Generator().manual_seed(seed)
    counts = rows, rows if columns is None else columns
    sides = [torch.randn(count, dim, generator=g, dtype=torch.float64) for count in counts]
    return [F.normalize(side, dim=1).to(getattr(torch, operand)).to(DEVICE) for side in sides]


def number(value, dtype=torch.float32):
    return torch.tensor(value, dtype=dtype, device=DEVICE)


def sigmoid_truth(first, second, scale, bias, own):
    """(loss, sum of W, W y, Wᵀ x) from the whole matrix."""
    x, y = first.double(), second.double()
    logits = scale * x @ y.T + bias
    sign = 1 - 2 * torch.eye(*logits.shape, dtype=x.dtype, device=x.device) * own
    weights = sign * torch.sigmoid(sign * logits)
    return -F.logsigmoid(-sign * logits).sum(), weights.sum(), weights @ y, weights.T @ x


def sums_truth(first, second, scale, own):
    logits = scale * first.double() @ second.double().T
    positives = logits.diagonal().clone() if own else logits.new_empty(0)
    if own:
        logits.fill_diagonal_(-torch.inf)
    return logits.logsumexp(1), logits.logsumexp(0), positives


def softmax_truth(first, second, scale, rows, columns, a, b, own):
    x, y = first.double(), second.double()
    logits = scale * x @ y.T
    weights = (logits - rows[:, None]).exp() * a[:, None]
    weights += (logits - columns).exp() * b
    if own:
        weights.diagonal().copy_(-(a + b))
    return weights @ y, weights.T @ x


def assert_near(found, truth, tolerance):
    for ours, exact in zip(found, truth, strict=True):
        assert ours.shape == exact.shape
        assert (ours.double() - exact).norm() <= tolerance * exact.norm() + 1e-30


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operand", OPERANDS)
@pytest.mark.parametrize(("rows", "columns", "dim", "scale", "bias"), SHAPES)
def test_the_sigmoid_loss_and_its_gradients(backend, operand, rows, columns, dim, scale, bias):
    first, second = draw(rows, columns, dim, operand)
    own, options = columns is None, {"operand": operand, "backend": backend}
    factors = number(scale), number(bias)
    loss, *gradients = sigmoid_pairs(first, second, *factors, own=own, **options)
    truth, *exact = sigmoid_truth(first, second, scale, bias, own)
    # logits are known to some digits, those of 200 to fewer
    assert_near([loss], [truth], 2e-6 + 1e-7 * scale)
    assert_near(gradients, exact, OPERANDS[operand] + 1e-7 * scale)
    alone = sigmoid_pairs(first, second, *factors, own=own, with_grad=False, **options)
    assert torch.equal(alone[0], loss) and not (len(alone[2]) or len(alone[3]))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operand", OPERANDS)
@pytest.mark.parametrize(("rows", "columns", "dim", "scale", "bias"), SHAPES)
def test_sums_and_the_gradients_of_the_softmax(backend, operand, rows, columns, dim, scale, bias):
    first, second = draw(rows, columns, dim, operand)
    own, options = columns is None, {"operand": operand, "backend": backend}
    exact = sums_truth(first, second, scale, own)
    found = pair_sums(first, second, number(scale), own=own, **options)
    for ours, truth in zip(found, exact, strict=True):
        assert ours.shape == truth.shape
        assert ((ours - truth).abs() <= 2e-6 + 3e-7 * scale).all()
    a, b = (torch.rand(len(side), device=DEVICE) for side in (first, second))
    sums = [each.float() for each in exact[:2]]
    found = softmax_pairs(first, second, number(scale), *sums, a, b, own=own, **options)
    truth = softmax_truth(first, second, scale, *exact[:2], a.double(), b.double(), own)
    assert_near(found, truth, OPERANDS[operand] + 2e-6 * scale**0.5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_losses_of_almost_nothing_keep_their_digits(backend):
    first, second = draw(40, 30, 16, "float32")
    options = {"own": False, "backend": backend}
    found = sigmoid_pairs(first, second, number(2.0), number(-30.0), **options)
    truth = sigmoid_truth(first, second, 2.0, -30.0, False)
    assert truth[0] < 1e-9
    assert_near(found, truth, 1e-5)


def test_blocks_of_pairs_add_up(monkeypatch):
    first, second = draw(140, None, 20, "bfloat16")
    scale, bias = number(5.0), number(-3.0)
    a, b = torch.rand(2, 140, device=DEVICE)

    options = {"operand": "bfloat16", "backend": "triton"}
    # Given to both: the last digit of a sum may round a weight to its other neighbour.
    given = pair_sums(first, second, scale, **options)[:2]

    def everything():
        return [
            *sigmoid_pairs(first, second, scale, bias, **options),
            *pair_sums(first, second, scale, **options),
            *softmax_pairs(first, second, scale, *given, a, b, **options),
        ]

    whole = everything()
    monkeypatch.setattr(pairs_triton, "SIDE", 128)
    monkeypatch.setattr(pairs_triton, "LONG_SIDE", 128)
    for ours, exact in zip(everything(), whole, strict=True):
        torch.testing.assert_close(ours, exact, rtol=2e-6, atol=1e-5)


def test_weights_of_any_magnitude_fit_into_half_precision():
    """A gradient scaler's."""
    first, second = draw(20, None, 16, "float16")
    sums = [each.float() for each in sums_truth(first, second, 8.0, True)[:2]]
    weights = torch.rand(2, 20, device=DEVICE)
    options = {"operand": "float16", "backend": "triton"}
    small = softmax_pairs(first, second, number(8.0), *sums, *weights, **options)
    for factor in (2.0**30, 2.0**-30):
        found = softmax_pairs(first, second, number(8.0), *sums, *weights * factor, **options)
        for ours, one in zip(found, small, strict=True):
            torch.testing.assert_close(ours / factor, one, rtol=1e-6, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_strides_do_not_matter(backend):
    first, second = draw(24, None, 32, "float32")
    plain = sigmoid_pairs(first, second, number(5.0), number(-1.0), backend=backend)
    odd = torch.zeros(24, 77, device=DEVICE)[:, 1:33].copy_(first)
    columns = second.t().contiguous().t()
    found = sigmoid_pairs(odd, columns, number(5.0), number(-1.0), backend=backend)
    for ours, expected in zip(found, plain, strict=True):
        assert ours.is_contiguous()
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_nan_is_not_hidden(backend):
    first, second = draw(6, None, 16, "float32")
    first[2, 3] = torch.nan
    loss, _, to_first, _ = sigmoid_pairs(first, second, number(1.0), number(0.0), backend=backend)
    assert loss.isnan() and to_first[2].isnan().all() and not to_first[1].isnan().any()
    rows, columns, _ = pair_sums(first, second, number(1.0), backend=backend)
    assert rows.isnan().tolist() == [False, False, True, False, False, False]
    assert columns.isnan().sum() == 5  # its own column leaves it out


class Products(TorchDispatchMode):
    """Counts the operations of matrix products, in place or not."""

    operations = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm_):
            one, other = args[-2:]
            self.operations += 2 * one.shape[0] * one.shape[1] * other.shape[1]
        return function(*args, **(kwargs or {}))


def test_each_logit_is_made_once_a_pass():
    """6 N² D operations with the gradients of the sigmoid loss, 8 with those of both softmaxes; a
    call of info_nce for each direction takes 16."""
    first, second = draw(64, None, 16)
    one, row = number(1.0, torch.float64), torch.zeros(64, dtype=torch.float64)
    with Products() as sigmoid:
        pairs_torch.sigmoid(first, second, one, one, True, True, torch.float64)
    with Products() as softmax:
        pairs_torch.sums(first, second, one, True, torch.float64)
        pairs_torch.softmax(first, second, one, row, row, row, row, True, torch.float64)
    assert (sigmoid.operations, softmax.operations) == (6 * 64 * 64 * 16, 8 * 64 * 64 * 16)


def test_what_a_large_batch_holds_is_bounded():
    """65,536 pairs: the matrix of all weights would be 8 GiB."""
    recorder, side = Recorder(), torch.empty(65536, 768, dtype=torch.bfloat16, device="meta")
    one = torch.empty((), device="meta")
    pairs_triton.sigmoid(side, side, one, one, True, True, "bfloat16", launch=recorder)
    pairs_triton.sums(side, side, one, True, "bfloat16", launch=recorder)
    tensors = {
        id(arg): arg
        for _, args, _, _ in recorder.launches
        for arg in args
        if arg is not None and isinstance(arg, torch.Tensor)
    }
    largest = max(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    assert largest <= 2 * 4 * 4096 * 768 * 16  # a gradient in float32


@pytest.mark.parametrize("operand", OPERANDS)
def test_its_launches_fit_a_gpu_and_its_shapes_are_told(operand):
    """On a GPU that checks arguments and computes nothing."""
    with fake_cuda():
        dtype = getattr(torch, operand)
        first, second = (torch.empty(40, 30, dtype=dtype, device="cuda") for _ in range(2))
        one, row = torch.ones((), device="cuda"), torch.ones(40, device="cuda")
        for own in (True, False):
            options = {"own": own, "operand": operand}
            for with_grad in (True, False):
                found = sigmoid_pairs(first, second, one, one, with_grad=with_grad, **options)
                assert found[2].shape == (40 * with_grad, 30)
            assert pair_sums(first, second, one, **options)[1].shape == (40,)
            to_first, _ = softmax_pairs(first, second, one, row, row, row, row, **options)
            assert to_first.shape == (40, 30) and to_first.dtype == torch.float32


def test_what_a_backend_does_not_take_is_refused():
    first, second = draw(3, None, 4)
    one = number(1.0, torch.float64)
    assert {"pair_sigmoid", "pair_sums", "pair_softmax"} <= set(FUNCTIONS)
    with pytest.raises(ValueError, match="only the torch backend takes float64"):
        sigmoid_pairs(first, second, one, one, operand="float64", backend="triton")
    with pytest.raises(ValueError, match='precision is "tf32"'):
        pair_sums(first.float(), second.float(), one, operand="tf32", backend="torch")


ONE, ROWS = torch.tensor(1.0), torch.ones(3)
SIDES = torch.ones(3, 4), torch.ones(3, 4)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sigmoid_pairs([1], SIDES[1], ONE, ONE), "first is a list"),
        (lambda: pair_sums(SIDES[0], SIDES[1][:2], ONE), r"\(3, 4\) and second \(2, 4\)"),
        (lambda: pair_sums(SIDES[0], SIDES[1][:, :2], ONE, own=False), r"second \(3, 2\)"),
        (lambda: pair_sums(SIDES[0][:0], SIDES[1], ONE, own=False), "one row or more"),
        (lambda: pair_sums(SIDES[0], SIDES[1].to("meta"), ONE), "second is .* on meta"),
        (lambda: pair_sums(SIDES[0].int(), SIDES[1], ONE), "first is torch.int32"),
        (lambda: sigmoid_pairs(*SIDES, 1.0, ONE), "scale is a float"),
        (lambda: sigmoid_pairs(*SIDES, ONE, ROWS), r"bias is \(3,\)"),
        (lambda: softmax_pairs(*SIDES, ONE, ROWS, ROWS, ROWS, ROWS[:2]), "column_weights is"),
    ],
)
def test_pairs_that_are_none_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_only_hopper_has_the_registers_of_the_widest_tile():
    with recorded_for(100):
        narrow = {each.launch[2].get("BLOCK_D") for each in shipped() if _is_product(each)}
    assert max(narrow) == 128
    assert 256 in {each.launch[2].get("BLOCK_D") for each in shipped() if _is_product(each)}


def _is_product(each):
    return each.launch[0].__name__ == "pair_product_kernel"


def test_what_ships_is_told_apart_and_no_matrix_is_added_up_without_saying_so():
    told = {(each.config, each.launch[0].__name__): each.launch[2] for each in shipped()}
    assert len(told) == len(list(shipped()))
    for (config, kernel), constants in told.items():
        if kernel == "pair_product_kernel":
            for side in ("first", "second"):
                assert (f"onto {side}" in config) == constants[f"ADD_{side.upper()}"]
        if "OWN" in constants:
            assert ("own pairs" in config) == constants["OWN"]
        assert ("no gradient" in config) == (constants.get("WITH_GRAD") is False)
