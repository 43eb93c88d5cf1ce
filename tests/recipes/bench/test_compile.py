"""Compiling the kernels is refused where they are interpreted."""

import os

import pytest

from fastneg.recipes.bench.compile import bench_compile


@pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1", reason="Triton compiles in this process"
)
def test_interpreted_kernels_are_not_compiled():
    with pytest.raises(RuntimeError, match="TRITON_INTERPRET is set"):
        next(bench_compile())
