"""Every configuration that the kernels ship compiles for sm_90 on any machine, without a spilled
register.

The tile sizes are those of fastneg.kernels.info_nce_tiles. In a process of its own: this one may
have decorated the kernels for Triton's interpreter.
"""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from fastneg.kernels.launch import compile_launch
from fastneg.kernels.registry import KERNELS, shipped

CODE = """
import json
from fastneg.recipes.bench.compile import bench_compile
if __name__ == "__main__":
    for row in bench_compile(targets=("sm_90",)):
        print(json.dumps(row))
"""
# the oldest Triton with which no tile size spills: compilers before it need more registers
CHOSEN_WITH = (3, 6)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    script = tmp_path_factory.mktemp("compile") / "rows.py"
    script.write_text(CODE)
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_every_kernel_keeps_its_budget(rows):
    """Nothing spills, all fits into shared memory, and half-precision products run on the tensor
    cores of Hopper."""
    assert {row["kernel"] for row in rows} == {
        *("sweep_kernel", "merge_kernel", "negatives_grad_kernel", "patch_shuffle_kernel"),
        *("gray_sums_kernel", "augment_kernel", "quilt_kernel", "crop_resize_kernel"),
        *("statistics_kernel", "merge_statistics_kernel", "normalise_kernel"),
        *("sums_kernel", "merge_sums_kernel", "input_kernel"),
        *(f"pair_{name}_kernel" for name in ("sigmoid", "sums", "merge", "softmax", "product")),
    }
    budgets = [each.budget for module in KERNELS.values() for each in shipped(module)]
    assert sum(budget.wgmma for budget in budgets) >= 8
    over = [
        {**row, "over": found}
        for row, budget in zip(rows, budgets, strict=True)
        if (found := budget.exceeded_by(row))
    ]
    if tuple(map(int, version("triton").split(".")[:2])) < CHOSEN_WITH:
        over = [row for row in over if row["over"].keys() != {"spill_bytes"}]
    assert over == []


@pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1", reason="Triton compiles in this process"
)
def test_an_interpreted_kernel_is_refused():
    from fastneg.kernels.patch_shuffle_triton import patch_shuffle_kernel

    with pytest.raises(RuntimeError, match="unset TRITON_INTERPRET"):
        compile_launch(patch_shuffle_kernel, (), {}, {}, 90)
