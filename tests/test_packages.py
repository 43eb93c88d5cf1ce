"""Wheel and sdist in clean environments of the oldest and the newest Python, and what the extras
ask for.

What needs neither torch nor another package is run there: the command line up to a job's start.
"""

import json
import sys
import tarfile
import urllib.request

import pytest

from helpers.packages import ROOT, built, copied_tree, python_of, shell, site_packages

VERSIONS = ("3.10", "3.13")
EXTRAS = ("train", "all")
INDEX = "https://pypi.org/simple/fire/"
JSON = "application/vnd.pypi.simple.v1+json"
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
    told = shell(program, "demo", "--size", "tiny", cwd=tmp_path, code=1)
    assert "fastneg[train]" in told and told.count("\n") == 0, "the missing extra is named"


def test_the_sdist_holds_what_the_wheel_is_built_of(packages):
    with tarfile.open(packages["sdist"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "README.md", "LICENSE", "fastneg/py.typed"} <= names
    assert {"kernels/info_nce.py", "recipes/cli.py", "fastneg/report/templates/style.css"} <= names


@pytest.fixture(scope="module")
def index():
    """What PyPI says of a package, as JSON."""
    try:
        asked = urllib.request.Request(INDEX, headers={"Accept": JSON})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return json.load(answer)
    except (OSError, ValueError) as error:
        pytest.skip(f"PyPI cannot be reached: {error}")


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_can_be_resolved(extra, index, tmp_path):
    """Nothing is installed. Where the index gives the metadata of wheels by themselves, what this
    environment has does not count; a mirror without them would send gigabytes, so there the extra
    has to go with what is installed."""
    anew = any(file.get("core-metadata") for file in index["files"])
    report = tmp_path / "report.json"
    resolve = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet"]
    resolve += ["--no-build-isolation", *(["--ignore-installed"] if anew else [])]
    shell(*resolve, "--report", report, f"{ROOT}[{extra}]", cwd=tmp_path, timeout=400)
    found = json.loads(report.read_text(encoding="utf-8"))["install"]
    names = {entry["metadata"]["name"].lower() for entry in found}
    assert "fastneg" in names
    if anew:
        assert {"torch", "numpy", "fire", "nvidia-dali-cuda120"} <= names
        assert ("ffcv" in names) == (extra == "all")
