"""The modules of the project and what each of them imports."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = {
    "fastneg": ROOT / "fastneg",
    "fastneg.kernels": ROOT / "kernels",
    "fastneg.recipes": ROOT / "recipes",
}
MODULES = {
    ".".join([package, *path.relative_to(folder).with_suffix("").parts]).removesuffix(
        ".__init__"
    ): path
    for package, folder in PACKAGES.items()
    for path in sorted(folder.rglob("*.py"))
}


def imports(module):
    path = MODULES[module]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module if path.name == "__init__.py" else module.rpartition(".")[0]
            base = (
                ".".join(
                    [
                        *package.split(".")[: len(package.split(".")) - node.level + 1],
                        *filter(None, [node.module]),
                    ]
                )
                if node.level
                else node.module
            )
            for alias in node.names:  # a name imported from a package may be a module of it
                whole = f"{base}.{alias.name}"
                yield whole if whole in MODULES else base
