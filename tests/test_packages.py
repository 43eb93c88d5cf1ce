"""Wheel and sdist in clean environments of the oldest and the newest Python, and what the extras
ask for.

What needs neither torch nor another package is run there: the command line up to a job's start.
"""

import json
import sys
import tarfile
import urllib.error
import urllib.request

import pytest

from helpers.packages import ROOT, built, copied_tree, python_of, shell, site_packages

VERSIONS = ("3.10", "3.13")
EXTRAS = ("train", "all")
INDEX = "https://pypi.org/simple/pip/"
IMPORTED = "fastneg, fastneg.config, fastneg.kernels.registry, fastneg.methods, fastneg.negatives"


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """{kind: the file}; the wheel is built from the unpacked sdist."""
    folder = tmp_path_factory.mktemp("packages")
    sdist = built(copied_tree(folder / "tree"), "sdist", folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (tree,) = (folder / "unpacked").iterdir()
    return {"sdist": sdist, "wheel": built(tree, "wheel", folder)}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_wheel_works_in_a_clean_environment(packages, version, tmp_path):
    base = python_of(version)
    if base is None:
        pytest.skip(f"no Python {version} on this machine: on PATH, of pyenv or of uv")
    shell(base, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv/bin/python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index")
    shell(*pip, "--no-deps", packages["wheel"], cwd=tmp_path)
    # Every module is read by that Python's own grammar.
    shell(
        python, "-W", "error", "-m", "compileall", "-q", "-f", site_packages(python), cwd=tmp_path
    )
    shell(python, "-W", "error", "-c", f"import {IMPORTED}", cwd=tmp_path)
    program = tmp_path / "venv/bin/fastneg"
    assert shell(program, "--version", cwd=tmp_path) == packages["wheel"].name.split("-")[1]
    assert "--temperature" in shell(program, "pretrain", "--help", cwd=tmp_path)
    assert "moco_patch_in100" in shell(program, "presets", cwd=tmp_path)
    assert "complete -F" in shell(program, "completion", "bash", cwd=tmp_path)
    assert "--temperature?" in shell(program, "pretrain", "--temp", "1", cwd=tmp_path, code=2)
    told = shell(program, "demo", "--size", "tiny", cwd=tmp_path, code=2)
    assert "fastneg[train]" in told and told.count("\n") == 0, "the missing extra is named"


def test_the_sdist_holds_what_the_wheel_is_built_of(packages):
    with tarfile.open(packages["sdist"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "README.md", "LICENSE", "fastneg/py.typed"} <= names
    assert {"kernels/info_nce.py", "recipes/cli.py", "fastneg/report/templates/style.css"} <= names


@pytest.fixture(scope="module")
def index():
    """PyPI can be reached."""
    try:
        urllib.request.urlopen(INDEX, timeout=10).close()
    except (urllib.error.URLError, OSError) as error:
        pytest.skip(f"PyPI cannot be reached: {error}")


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_can_be_resolved(extra, index, tmp_path):
    """Nothing is installed, and what this environment has already does not count."""
    report = tmp_path / "report.json"
    resolve = (sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet")
    shell(*resolve, "--no-build-isolation", "--report", report, f"{ROOT}[{extra}]", cwd=tmp_path)
    found = json.loads(report.read_text(encoding="utf-8"))["install"]
    names = {entry["metadata"]["name"].lower() for entry in found}
    assert {"torch", "numpy", "fire", "nvidia-dali-cuda120"} <= names
    assert ("ffcv" in names) == (extra == "all")
