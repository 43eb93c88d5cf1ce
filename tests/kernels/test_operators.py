"""Operators that are Python functions."""

import pytest
import torch

from fastneg.kernels.operators import operator, without_autocast


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
