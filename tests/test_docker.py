"""The Dockerfile fits the package: nobody builds it here."""

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from helpers.modules import ROOT

PYTHONS = {"ubuntu22.04": "3.10", "ubuntu24.04": "3.12"}


def instructions():
    """[(instruction, arguments)], lines that go on joined."""
    text = (ROOT / "docs/docker/Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def told(name):
    return [rest for instruction, rest in instructions() if instruction == name]


@pytest.fixture(scope="module")
def setup_of_the_image(tmp_path_factory):
    """What setup.py gives to setuptools where only the copied files are."""
    folder = tmp_path_factory.mktemp("image")
    for copied in told("COPY"):
        *sources, into = shlex.split(copied)
        for source in sources:
            assert (ROOT / source).exists(), source
            target = folder / into if len(sources) == 1 else folder / into / source
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, target)
    script = "import json, setuptools; setuptools.setup = lambda **told: print(json.dumps(told)); "
    script += "exec(compile(open('setup.py').read(), 'setup.py', 'exec'))"
    script = "__file__ = 'setup.py'; " + script
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True
    )
    return json.loads(ran.stdout)


def installed():
    """(the words, the index) of each pip line."""
    lines = [shlex.split(line) for line in told("RUN") if line.startswith("pip install")]
    assert lines
    for words in lines:
        index = words[words.index("--index-url") + 1] if "--index-url" in words else None
        options = {"pip", "install", "--no-cache-dir", "--index-url", index}
        yield [word for word in words if word not in options], index


def cuda_of(name):
    """The major version of CUDA in cu128, nvidia-dali-cuda120 and the like."""
    return re.search(r"cu(?:da)?(\d\d)\d", name)[1]


def test_the_package_is_whole_there(setup_of_the_image):
    """All packages and what describes them are copied, nothing else is read by setup.py."""
    code = ROOT.joinpath("setup.py").read_text(encoding="utf-8")
    read = {
        node.right.value
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant)
        if isinstance(node.left, ast.Name) and node.left.id == "ROOT"
    }
    copied = {word for line in told("COPY") for word in shlex.split(line)[:-1]}
    assert {path.split("/")[0] for path in read} <= copied and "pyproject.toml" in copied
    packages = setup_of_the_image["packages"]
    assert len(packages) == len(set(packages))
    found = {path.parent for top in ("fastneg", "kernels", "recipes") for path in
             (ROOT / top).rglob("__init__.py")}  # fmt: skip
    assert len(packages) == len(found)
    (entry,) = map(ast.literal_eval, told("ENTRYPOINT"))
    told_scripts = setup_of_the_image["entry_points"]["console_scripts"]
    assert entry == [one.split("=")[0].strip() for one in told_scripts]


def test_the_base_the_wheels_and_dali_are_of_one_cuda(setup_of_the_image):
    (base,) = told("FROM")
    version, kind, system = re.fullmatch(r"nvidia/cuda:([\d.]+)-(\w+)-(\w+\.\d+)", base).groups()
    assert kind == "runtime"
    assert PYTHONS[system] in SpecifierSet(setup_of_the_image["python_requires"])
    assert {cuda_of(index) for _, index in installed() if index} == {version.split(".")[0]}
    extras = [Requirement("fastneg" + word[1:]).extras for words, _ in installed() for word in words
              if word.startswith(".")]  # fmt: skip
    assert extras == [{"train"}]
    (dali,) = (each for each in setup_of_the_image["extras_require"]["train"] if "dali" in each)
    assert cuda_of(dali) == version.split(".")[0]


def test_the_pinned_versions_are_allowed_by_the_package(setup_of_the_image):
    needed = setup_of_the_image["install_requires"] + setup_of_the_image["extras_require"]["train"]
    allowed = {one.name: one.specifier for one in map(Requirement, needed)}
    pinned = [Requirement(word) for words, _ in installed() for word in words if "==" in word]
    assert {one.name for one in pinned} == {"torch", "torchvision"}
    for one in pinned:
        (each,) = one.specifier
        assert each.version.removesuffix(".*") in allowed[one.name]
    # of one release: torchvision's minor version is 15 above torch's, since torch 2.0
    minor = {one.name: int(str(one.specifier).split(".")[1]) for one in pinned}
    assert minor["torchvision"] == minor["torch"] + 15
