"""Packages of this tree, built and installed; Pythons that a machine has beside its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import fastneg

ROOT = Path(fastneg.__file__).resolve().parent.parent
FOLDERS = {"fastneg": "fastneg", "kernels": "fastneg/kernels", "recipes": "fastneg/recipes"}
"""{folder of the tree: the package that it installs as}"""


def shell(*words, cwd, timeout=200, code=0, **settings):
    """What a program prints on standard output; its PYTHONPATH is empty.

    Args:
        code: the exit code that is expected; with another than 0, what it prints on stderr is given
            back too.
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | settings
    done = subprocess.run(
        list(map(str, words)),
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return (done.stdout if code == 0 else done.stdout + done.stderr).strip()


def copied_tree(folder):
    """A copy of the tree in folder/fastneg, as git clones it: there, nothing is built into this
    one."""
    copy = Path(folder) / "fastneg"
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


def built(tree, kind, out):
    """The wheel or sdist (`kind`) of a tree, written into a folder."""
    build = f"from setuptools import build_meta; build_meta.build_{kind}({str(out)!r})"
    shell(sys.executable, "-c", build, cwd=tree)
    (file,) = Path(out).glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return file


def python_of(version):
    """The path of a Python of this version ("3.10"): on PATH, of pyenv or of uv; None if there is
    none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    uv = Path("~/.local/share/uv/python").expanduser()
    found = [shutil.which(f"python{version}")]
    found += sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"))
    found += sorted(uv.glob(f"cpython-{version}.*/bin/python{version}"))
    for path in filter(None, found):
        asked = [str(path), "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0 and done.stdout.strip() == version:  # a shim may lead nowhere
            return str(path)
    return None


def site_packages(python):
    """Where an environment has its packages."""
    (found,) = Path(python).parent.parent.glob("lib/python*/site-packages")
    return found
