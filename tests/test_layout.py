"""The folder tree is the architecture: imports point down only, and the drop-in loss needs torch
alone."""

import subprocess
import sys

import pytest

from helpers.modules import MODULES, ROOT, imports

FLOORS = [  # from the ground up: a part imports parts of lower floors alone
    ["fastneg.version", "fastneg.counts", "fastneg.errors", "fastneg.kernels"],
    ["fastneg.checkout"],
    ["fastneg.config"],
    ["fastneg.plugins"],
    ["fastneg.files", "fastneg.distributed", "fastneg.knn", "fastneg.losses", "fastneg.negatives"],
    ["fastneg.data", "fastneg.models"],
    ["fastneg.methods", "fastneg.runs"],
    ["fastneg.training"],
    ["fastneg.evaluation"],
    ["fastneg.study"],
    ["fastneg.report"],
    ["fastneg", "fastneg.recipes"],
    ["fastneg.__main__"],
]
FLOOR = {part: number for number, parts in enumerate(FLOORS) for part in parts}
GROUND = {"fastneg.kernels": set(), "fastneg.losses": {"fastneg.kernels"}}
"""Parts that may import less than what lies below them."""


def part(module):
    return max(
        (
            name
            for name in FLOOR
            if module == name or (name != "fastneg" and module.startswith(name + "."))
        ),
        key=len,
        default=None,
    )


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    own = part(module)
    assert own is not None, f"{module} has no place in the layout: give it one in FLOORS"
    for name in imports(module):
        if name.split(".")[0] == "fastneg":
            target = part(name)
            allowed = GROUND.get(own, {name for name in FLOOR if FLOOR[name] < FLOOR[own]})
            assert target == own or target in allowed, f"{module} imports {name}"


def test_only_the_entry_points_import_recipes():
    for module in MODULES:
        if part(module) not in ("fastneg.recipes", "fastneg.__main__"):
            assert not [name for name in imports(module) if name.startswith("fastneg.recipes")]


HEAVY = (
    "torch",
    "numpy",
    "nvidia.dali",
    "ffcv",
    "fire",
    "triton",
    "torchvision",
    "PIL",
    "tqdm",
    "tensorboard",
    "matplotlib",
)


def loaded(statement):
    code = f"import sys; {statement}; print(*[name for name in {HEAVY} if name in sys.modules])"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
        ).stdout.split()
    )


def test_the_drop_in_loss_and_the_reader_need_torch_and_numpy_alone():
    names = "InfoNCELoss, InfoNCEOutput, info_nce, patch_negatives"
    assert loaded(f"from fastneg import {names}") == loaded("import torch")
    assert loaded("import fastneg.data") <= {"numpy"}
    assert not loaded("import fastneg")


def test_one_test_file_per_module():
    """Each module has a tests/test_<name>.py, or is named in full in the test file that serves
    it."""
    texts = {
        path.name: path.read_text(encoding="utf-8")
        for path in (ROOT / "tests").rglob("test_*.py")
        if path.name != "test_layout.py"
    }
    for module, path in MODULES.items():
        if path.name in ("__init__.py", "__main__.py", "version.py"):
            continue
        # an implementation is tested with its contract
        name = module.rsplit(".", 1)[1].removesuffix("_triton").removesuffix("_torch")
        assert f"test_{name}.py" in texts or any(module in text for text in texts.values()), (
            f"nothing tests {module}"
        )
