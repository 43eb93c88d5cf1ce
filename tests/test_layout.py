"""The folder tree is the architecture: imports point down only, and the drop-in loss needs torch
alone."""

import ast
import subprocess
import sys

import pytest

from helpers.modules import MODULES, ROOT, imports

FLOORS = [  # from the ground up: a part imports parts of lower floors alone
    ["fastneg.version", "fastneg.counts", "fastneg.kernels", "fastneg.options"],
    ["fastneg.errors", "fastneg.writable", "fastneg.runs.paths"],  # of the last names alone
    ["fastneg.checkout"],
    ["fastneg.registry", "fastneg.plugins"],
    ["fastneg.methods", "fastneg.negatives"],  # contracts, which the config is made of
    ["fastneg.config"],
    [
        "fastneg.files",
        "fastneg.progress",
        "fastneg.distributed",
        "fastneg.feature_geometry",
        "fastneg.knn",
        "negatives (torch)",
    ],
    ["fastneg.losses"],
    ["fastneg.data", "fastneg.models"],
    ["methods (torch)", "fastneg.runs"],
    ["fastneg.training"],
    ["fastneg.evaluation"],
    ["fastneg.study"],
    ["fastneg.report"],
    ["fastneg.recipes"],
    ["fastneg"],  # the public names
    ["fastneg.__main__"],
]
FLOOR = {part: number for number, parts in enumerate(FLOORS) for part in parts}
CONTRACTS = ("methods", "negatives")
"""Packages of which the modules without torch say what is there, and those with torch do it."""
LIGHT = {"fastneg.options", "fastneg.registry", "fastneg.counts"}
GROUND = {
    "fastneg.kernels": set(),
    "fastneg.losses": {"fastneg.kernels"},
    **{f"fastneg.{name}": LIGHT for name in CONTRACTS},
}
"""Parts that may import less than what lies below them."""


def part(module):
    package = next((name for name in CONTRACTS if module.startswith(f"fastneg.{name}.")), None)
    if package and "torch" in imports(module):
        return f"{package} (torch)"
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
        if part(module) not in ("fastneg.recipes", "fastneg", "fastneg.__main__"):
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


def loaded(*statements):
    """What is loaded after each of them, one after the other in a new process."""
    said = f"print(*[name for name in {HEAVY} if name in sys.modules])"
    code = "import sys\n" + "".join(f"{statement}\n{said}\n" for statement in statements)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return [set(line.split()) for line in done.stdout.splitlines()]


def test_the_drop_in_loss_and_the_reader_need_torch_and_numpy_alone():
    names = "InfoNCELoss, InfoNCEOutput, info_nce, patch_negatives"
    torch_alone, with_ours = loaded("import torch", f"from fastneg import {names}")
    assert torch_alone == with_ours and "torch" in torch_alone
    package, reader = loaded("import fastneg", "import fastneg.data")
    assert not package and reader <= {"numpy"}


TESTS = ROOT / "tests"
IMPLEMENTATIONS = ("_triton_kernels", "_triton", "_torch", "_cpu")
SERVED_BY = {
    # values that nothing happens to, and exceptions
    "fastneg.errors": "recipes/test_failures.py",
    "fastneg.data.errors": "evaluation/sets/test_class_folders.py",
    "fastneg.data.load.batch": "data/load/test_train_loader.py",
    "fastneg.methods.output": "methods/test_moco.py",
    # the configs, which are alike
    "fastneg.config.data": "config/test_commands.py",
    "fastneg.config.evaluation": "config/test_commands.py",
    "fastneg.config.normalisation": "config/test_commands.py",
    "fastneg.config.tools": "config/test_commands.py",
    "fastneg.config.pretrain": "config/test_parts.py",
    **{
        f"fastneg.config.{part}": "config/test_parts.py"
        for part in ("method", "negatives", "views", "optimisation", "run")
    },
    # what a method and a kind of negatives are registered with
    "fastneg.options": "methods/test_register.py",
    "fastneg.registry": "methods/test_register.py",
    "fastneg.config.assemble": "methods/test_register.py",
    "fastneg.methods.contract": "methods/test_register.py",
    "fastneg.negatives.contract": "negatives/test_register.py",
    "fastneg.config.study": "recipes/test_study.py",
    # one kind of input or fault that several modules meet
    "fastneg.data.beton.identity": "data/load/test_handle.py",
    "fastneg.data.label_names": "data/encode/test_odd_shards.py",
    "fastneg.data.beton.overlap": "data/beton/test_shared_images.py",
    "fastneg.data.beton.sidecar": "data/beton/test_writer.py",
    "fastneg.data.encode.archives": "data/encode/test_odd_shards.py",
    "fastneg.data.encode.folders": "data/encode/test_unreadable_folders.py",
    "fastneg.data.encode.label_texts": "data/encode/test_odd_lists.py",
    "fastneg.data.encode.lists": "data/encode/test_odd_lists.py",
    "fastneg.data.encode.preflight": "data/encode/test_unreadable_folders.py",
    "fastneg.data.beton.format": "data/beton/test_reader.py",
    "fastneg.data.beton.publish": "data/encode/test_holdout.py",
    "fastneg.data.encode.prepare": "data/test_images.py",
    "fastneg.data.encode.samples": "data/encode/test_encode.py",
    "fastneg.data.file_names": "data/encode/test_sources.py",
    "fastneg.evaluation.context": "evaluation/sets/test_register.py",
    "fastneg.evaluation.first_set": "evaluation/test_evaluate.py",
    "fastneg.evaluation.sets.beton": "evaluation/test_view.py",
    "fastneg.evaluation.sets.categories_16": "evaluation/test_categories.py",
    "fastneg.evaluation.sets.encoded": "data/encode/test_lossless.py",
    "fastneg.evaluation.sets.registry": "evaluation/sets/test_register.py",
    "fastneg.evaluation.sets.stylized": "evaluation/test_view.py",
    "fastneg.evaluation.corruptions.draws": "evaluation/corruptions/test_published_corruptions.py",
    "fastneg.evaluation.corruptions.registry": "evaluation/corruptions/test_corruptions.py",
    "fastneg.kernels.info_nce_operator": "kernels/test_info_nce_in_torch.py",
    "fastneg.kernels.info_nce_shipped": "kernels/test_info_nce_tiles.py",
    "fastneg.kernels.pairs_shipped": "kernels/test_pairs.py",
    "fastneg.kernels.info_nce_sweep_kernel": "kernels/test_info_nce_call.py",
    # what a page shows of a run folder
    "fastneg.report.sections.alpha": "report/test_entries.py",
    "fastneg.report.sections.classes": "report/test_remarks.py",
    "fastneg.report.sections.settings": "report/test_page.py",
    "fastneg.runs.folder": "report/test_entries.py",
    "fastneg.runs.load": "training/test_trainer.py",
    "fastneg.runs.predictions": "report/sections/test_agreement.py",
    "fastneg.runs.results": "report/test_remarks.py",
    # commands that are a few lines around a module, and contenders of a benchmark
    "fastneg.recipes.commands": "recipes/test_cli.py",
    "fastneg.recipes.help": "recipes/test_cli.py",
    "fastneg.recipes.import_weights": "recipes/test_export.py",
    "fastneg.recipes.verify": "data/beton/test_verify.py",
    "fastneg.recipes.encode": "data/encode/test_encode.py",
    "fastneg.recipes.evaluate": "data/beton/test_shared_images.py",
    "fastneg.recipes.finetune": "recipes/test_labelled.py",
    "fastneg.recipes.knn": "test_knn.py",
    "fastneg.recipes.linear": "evaluation/test_linear.py",
    "fastneg.recipes.pretrain": "recipes/test_cli.py",
    "fastneg.recipes.report": "report/test_page.py",
    "fastneg.recipes.bench.first_hour.ceilings": "recipes/bench/first_hour/test_run.py",
    "fastneg.recipes.bench.first_hour.goals": "recipes/bench/first_hour/test_page.py",
    "fastneg.recipes.bench.first_hour.kernel_tests": "recipes/bench/first_hour/test_run.py",
    "fastneg.recipes.bench.first_hour.kernels": "recipes/bench/first_hour/test_run.py",
    "fastneg.recipes.bench.first_hour.loader": "recipes/bench/first_hour/test_run.py",
    "fastneg.recipes.bench.first_hour.losses": "recipes/bench/first_hour/test_run.py",
    "fastneg.recipes.bench.first_hour.options": "recipes/bench/first_hour/test_run.py",
    "fastneg.recipes.bench.first_hour.road": "recipes/bench/first_hour/test_run.py",
    "fastneg.recipes.bench.first_hour.stages": "recipes/bench/first_hour/test_work.py",
    "fastneg.recipes.bench.first_hour.step_pairs": "recipes/bench/first_hour/test_run.py",
    "fastneg.recipes.bench.first_hour.steps": "recipes/bench/first_hour/test_run.py",
    "fastneg.recipes.bench.gpus": "recipes/bench/test_step_model.py",
    "fastneg.recipes.bench.loader_contenders": "recipes/bench/test_loader.py",
    "fastneg.recipes.bench.loader_contenders.common": "recipes/bench/test_loader.py",
    "fastneg.recipes.bench.loader_contenders.dali_reader": "recipes/bench/test_loader.py",
    "fastneg.recipes.bench.loader_contenders.ffcv_process": "recipes/bench/test_loader.py",
    "fastneg.recipes.bench.loader_contenders.limits": "recipes/bench/test_loader.py",
    "fastneg.recipes.bench.loader_contenders.ours": "recipes/bench/test_loader.py",
    "fastneg.recipes.bench.loader_contenders.torchvision_folder": "recipes/bench/test_loader.py",
    "fastneg.recipes.bench.plain_moco": "recipes/bench/test_step.py",
    "fastneg.recipes.bench.step_contenders": "recipes/bench/test_step.py",
    "fastneg.recipes.bench.scaling_model": "recipes/bench/test_scaling.py",
}
"""Modules without a test file of their name, and the file that imports and tests each."""


def contract(name):
    """The module name under which an implementation is tested."""
    for ending in IMPLEMENTATIONS:
        name = name.removesuffix(ending)
    return name


def imported_by(path):
    """Names of the modules that a test file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    "module",
    [
        name
        for name, path in MODULES.items()
        if path.name not in ("__init__.py", "__main__.py", "version.py")
    ],
)
def test_each_module_has_its_test_file(module):
    """tests/<its folder>/test_<its name>.py, or the file that SERVED_BY names, which imports it."""
    *folder, name = module.split(".")[1:]
    own = TESTS.joinpath(*folder, f"test_{contract(name)}.py")
    if module not in SERVED_BY:
        assert own.is_file(), f"{module} has no {own.relative_to(ROOT)}"
        return
    assert not own.is_file(), f"{own.relative_to(ROOT)} exists: {module} needs no line in SERVED_BY"
    served = TESTS / SERVED_BY[module]
    assert module in set(imported_by(served)), f"{SERVED_BY[module]} does not import {module}"


def test_the_table_names_modules_that_exist():
    assert set(SERVED_BY) <= set(MODULES)


@pytest.mark.parametrize(
    "path",
    [
        path
        for folder in ("fastneg", "kernels", "recipes", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_files_and_functions_are_short(path):
    """Files of at most 350 lines (tests: 450), functions of at most 60.

    ruff keeps lines to 100 characters and complexity to 12.
    """
    text = path.read_text(encoding="utf-8")
    tests = path.is_relative_to(TESTS)
    assert len(text.splitlines()) <= (450 if tests else 350)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not tests:
            length = node.end_lineno - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"
