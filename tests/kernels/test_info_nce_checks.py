"""What the losses refuse before they compute (fastneg.kernels.info_nce_checks), and rows that have
no direction."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from fastneg.losses import InfoNCELoss, info_nce, nt_xent

OPTIONS = [
    ({"temperature": 0}, "temperature is 0: a finite number above 0"),
    ({"temperature": -0.1}, "temperature is -0.1"),
    ({"temperature": math.nan}, "temperature is nan"),
    ({"temperature": math.inf}, "temperature is inf"),
    ({"temperature": "0.1"}, r"temperature is '0.1' \(str\): a number"),
    ({"temperature": None}, r"temperature is None"),
    ({"temperature": True}, r"temperature is True \(bool\)"),
    ({"temperature": torch.tensor(-1.0)}, "temperature is a tensor of -1.0"),
    ({"temperature": torch.tensor(math.nan)}, "temperature is a tensor of nan"),
    ({"temperature": torch.tensor(1)}, "0-d floating-point tensor, or a float"),
    ({"temperature": torch.tensor([0.1])}, r"a \(1,\) torch.float32 tensor"),
    ({"reduction": "avg"}, "reduction is 'avg': one of 'mean', 'sum', 'none'"),
    ({"reduction": None}, "reduction is None"),
]


@pytest.mark.parametrize(
    ("options", "said"), [*OPTIONS, ({"negative_mode": "pair"}, "negative_mode is 'pair'")]
)
def test_the_module_refuses_an_option_when_it_is_built(options, said):
    with pytest.raises(ValueError, match=said):
        InfoNCELoss(**options)


@pytest.mark.parametrize(("options", "said"), OPTIONS)
def test_the_function_refuses_it_before_it_computes(options, said):
    with pytest.raises(ValueError, match=said.replace(", or a float", "")):
        info_nce(torch.ones(2, 3), torch.ones(2, 3), **options)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"query": [[1.0, 2.0]]}, "query is a list: a tensor"),
        ({"positive": None}, "positive is a NoneType"),
        ({"negatives": [1.0]}, "negatives is a list"),
        ({"extra_negatives": 3.0}, "extra_negatives is a float"),
        (
            {"extra_negatives": torch.ones(2, 1, 3), "extra_scale": "2"},
            r"extra_scale is '2' \(str\)",
        ),
    ],
)
def test_what_is_no_tensor_or_number_is_named(changes, said):
    tensors = {
        "query": torch.ones(2, 3),
        "positive": torch.ones(2, 3),
        "negatives": torch.ones(4, 3),
    }
    with pytest.raises(ValueError, match=said):
        info_nce(**{**tensors, **changes})


def test_one_row_has_no_others_to_be_compared_with():
    one, extra = normalize(torch.randn(1, 8), dim=1), normalize(torch.randn(1, 2, 8), dim=-1)
    for call in (
        lambda: info_nce(one, one),
        lambda: InfoNCELoss()(one, one),
        lambda: nt_xent(one, one),
    ):
        with pytest.raises(ValueError, match=r"one row, so .*would be 0 whatever the features"):
            call()
    with pytest.raises(ValueError, match="one row"):
        nt_xent(one, one, extra_negatives=extra[:, :0])
    expected = cross_entropy(
        torch.cat([torch.ones(1, 1), 2 * torch.einsum("nd,nmd->nm", one, extra)], 1) / 0.1,
        torch.tensor([0]),
    )
    for given in (info_nce, nt_xent):
        torch.testing.assert_close(
            given(one, one, temperature=0.1, extra_negatives=extra, extra_scale=2.0), expected
        )


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (torch.ones(3, 4), torch.ones(2, 4), "first is .3, 4. but second is .2, 4."),
        (torch.ones(4), torch.ones(4), r"first is \(4,\)"),
        (torch.ones(3, 4), None, "second is NoneType"),
    ],
)
def test_views_that_are_no_pair_are_named(first, second, said):
    with pytest.raises(ValueError, match=said):
        nt_xent(first, second)


DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
LENGTHS = {"zeros": 0.0, "subnormal": 6e-8, "short": 1e-6, "long": 3e4}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", LENGTHS)
def test_a_row_of_any_length_gives_a_finite_loss_and_gradient(dtype, row):
    """float16 knows no 1e-12, by which a length is usually bounded, and no square of 3e4."""
    g = torch.Generator().manual_seed(0)
    query = torch.randn(6, 16, generator=g)
    query[2] = query[2].sign() * LENGTHS[row]
    inputs = [query.to(dtype), *(torch.randn(count, 16, generator=g).to(dtype) for count in (6, 9))]
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    loss = InfoNCELoss(0.5, "sum")(*leaves)
    loss.backward()
    double = [tensor.double() for tensor in inputs]
    double[0][2] /= LENGTHS[row] or 1.0
    wanted = InfoNCELoss(0.5, "sum")(*double)
    assert (loss.double() - wanted).abs() < 30 * torch.finfo(dtype).eps
    # the true gradient of a short row may leave float16
    rows = [0, 1, 3, 4, 5] if 0 < LENGTHS[row] < 1e-3 else range(6)
    assert all(
        leaf.grad[list(rows) if leaf is leaves[0] else slice(None)].isfinite().all()
        for leaf in leaves
    )
