"""In a checkout, `fastneg.kernels` and `fastneg.recipes` lie beside the folder fastneg, not in it.

An installation puts them into it, or has a finder that knows where they are. A Python that starts
in the checkout's folder takes ./fastneg for the package whatever is installed. Then they are found
here, and come from the same checkout as the rest.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path

BESIDE = ("kernels", "recipes")


@dataclass(frozen=True)
class CheckoutFinder:
    """Finds these two packages and nothing else: the root on `fastneg.__path__` would make
    fastneg.setup, fastneg.tests and fastneg.fastneg modules too."""

    root: Path

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """As `importlib.abc.MetaPathFinder` has it."""
        package, _, part = name.partition(".")
        if package != "fastneg" or part not in BESIDE:
            return None
        folder = self.root / part
        return importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


def find_what_lies_beside(package: Path) -> None:
    """Find the packages beside the folder `package`, if it is that of a checkout."""
    root = package.parent
    if (package / "kernels").exists() or not (root / "setup.py").exists():
        return
    finder = CheckoutFinder(root)
    if finder not in sys.meta_path and all(
        (root / part / "__init__.py").exists() for part in BESIDE
    ):
        # Before all others: the finder of another checkout's installation would find its own.
        sys.meta_path.insert(0, finder)
