"""The rooms of fastneg.data: what may import what, and each folder's list of its files is whole."""

import ast
from pathlib import Path

import pytest

import fastneg.data

ROOT = Path(fastneg.data.__file__).parent
ROOMS = {  # what each part may import beside itself
    "": set(),  # the files beside the rooms
    "beton": {""},
    "encode": {"", "beton"},
    "load": {"", "beton"},
    "stencils": {"", "beton", "encode"},
}
DOORS = {ROOT / "load" / "train_loader.py"}
"""What may import fastneg.negatives: a user's own loop asks the loader for them."""
PATHS = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def room(module):
    first = module.removeprefix("fastneg.data.").partition(".")[0]
    return first if first in ROOMS else ""


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_room_imports_what_lies_below_it(path):
    own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for name in imported(path):
        if path not in DOORS:
            assert not name.startswith("fastneg.negatives"), f"{path} imports {name}"
        if name.startswith("fastneg.data."):
            assert room(name) in {own, *ROOMS[own]}, f"{path} imports {name}"


@pytest.mark.parametrize("name", ["beton", "encode", "load"])
def test_a_room_lists_its_files(name):
    listed = ast.get_docstring(ast.parse((ROOT / name / "__init__.py").read_text()))
    words = set(listed.replace("`", " ").replace(":", " ").split())
    files = {path.stem for path in (ROOT / name).glob("*.py")} - {"__init__"}
    assert files <= words, f"{name}/__init__.py does not name {sorted(files - words)}"
