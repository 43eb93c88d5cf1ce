"""Every configuration that the kernels ship compiles for sm_90 on any machine, without a spilled
register.

In a process of its own: this one may have decorated the kernels for Triton's interpreter.
"""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from fastneg.kernels.launch import compile_launch

CODE = """
import json
from fastneg.recipes.bench.compile import bench_compile
if __name__ == "__main__":
    for row in bench_compile(targets=("sm_90",)):
        print(json.dumps(row))
"""
# the oldest Triton with which no tile size spills: compilers before it need more registers
CHOSEN_WITH = (3, 6)
SHARED_BYTES_SM_90 = 232_448  # what a block may take of an H100's or H200's shared memory


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


def test_nothing_spills_and_everything_fits(rows):
    assert {row["kernel"] for row in rows} == {
        *("partial_kernel", "merge_kernel", "negatives_grad_kernel", "patch_shuffle_kernel"),
        *("gray_sums_kernel", "augment_kernel", "quilt_kernel"),
    }
    assert [row for row in rows if row["shared_bytes"] > SHARED_BYTES_SM_90] == []
    if tuple(map(int, version("triton").split(".")[:2])) >= CHOSEN_WITH:
        assert [row for row in rows if row["spill_bytes"]] == []


def test_half_precision_products_run_on_the_tensor_cores_of_hopper(rows):
    products = [
        row
        for row in rows
        if row["kernel"] != "merge_kernel" and row["config"].startswith("bfloat16 D=128 ")
    ]
    assert len(products) >= 8 and all(row["wgmma"] > 0 for row in products)


@pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1", reason="Triton compiles in this process"
)
def test_an_interpreted_kernel_is_refused():
    from fastneg.kernels.patch_shuffle_triton import patch_shuffle_kernel

    with pytest.raises(RuntimeError, match="unset TRITON_INTERPRET"):
        compile_launch(patch_shuffle_kernel, (), {}, {}, 90)
