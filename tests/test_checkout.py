"""An installed wheel works from every folder, those of a checkout and of its parent included, and
holds all that the tree holds (fastneg.checkout)."""

import sys
import tarfile
from pathlib import Path

import pytest

import fastneg
from fastneg.checkout import BESIDE, CheckoutFinder, find_what_lies_beside
from helpers.packages import FOLDERS, built, copied_tree, shell, site_packages

KEPT = {".py", ".pyi", ".jinja", ".css"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return copied_tree(tmp_path_factory.mktemp("clones"))


@pytest.fixture(scope="module")
def sdist(checkout, tmp_path_factory):
    return built(checkout, "sdist", tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def python(sdist, tmp_path_factory):
    """The Python of an environment with the wheel that pip builds of the sdist."""
    return environment(tmp_path_factory.mktemp("venv"), sdist)


def environment(venv, *what):
    """The Python of an environment that has what this one has, but for fastneg: pip installs it."""
    shell(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv)
    python = venv / "bin/python"
    # Folders of a .pth file have no say themselves: no editable installation is seen through them.
    base = [path for path in sys.path if path.endswith("-packages")]
    (site_packages(python) / "zz_base.pth").write_text("\n".join(base))
    pip_install = (sys.executable, "-m", "pip", "--python", python, "install", "--no-index")
    shell(*pip_install, "--no-deps", "--no-build-isolation", *what, cwd=venv)
    return python


def test_the_wheel_and_the_sdist_hold_the_whole_tree(checkout, sdist, python):
    tree = {
        f"{target}/{path.relative_to(checkout / folder)}"
        for folder, target in FOLDERS.items()
        for path in (checkout / folder).rglob("*")
        if path.suffix in KEPT or path.name == "py.typed"
    }
    assert {"fastneg/py.typed", "fastneg/report/templates/style.css"} < tree
    installed = (site_packages(python) / "fastneg").rglob("*")
    files = [path for path in installed if path.is_file() and path.suffix != ".pyc"]
    assert {str(path.relative_to(site_packages(python))) for path in files} == tree
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "pyproject.toml", "README.md", "LICENSE", "kernels", "recipes"} <= names


def test_an_installed_wheel_works_from_every_folder(checkout, python, tmp_path):
    """In the checkout, ./fastneg comes before what is installed: all of it is the checkout's."""
    site = site_packages(python)
    where = {checkout: checkout, checkout.parent: site, tmp_path: site}
    code = (
        "import importlib.util, fastneg, fastneg.kernels, fastneg.recipes.cli, fastneg.data\n"
        "print(fastneg.__file__, fastneg.kernels.__file__, fastneg.recipes.cli.__file__)\n"
        "unwanted = [f'fastneg.{name}' for name in ('setup', 'tests', 'fastneg')]\n"
        "print(*[name for name in unwanted if importlib.util.find_spec(name)])"
    )
    for folder, home in where.items():
        files, _, unwanted = shell(python, "-c", code, cwd=folder).partition("\n")
        assert not unwanted
        assert all(Path(file).is_relative_to(home) for file in files.split())
        assert shell(python, "-m", "fastneg", "--version", cwd=folder) == fastneg.__version__
    assert shell(python.parent / "fastneg", "--version", cwd=checkout) == fastneg.__version__


def test_an_editable_installation_works_from_every_folder(checkout, tmp_path):
    """Above all from the folder that the clone lies in, where ./fastneg is no package."""
    python = environment(tmp_path, "--editable", checkout)
    code = "import fastneg, fastneg.kernels, fastneg.recipes.cli as cli; print(cli.__file__)"
    for folder in (checkout, checkout.parent, tmp_path):
        assert shell(python, "-c", code, cwd=folder) == str(checkout / "recipes/cli.py")
        assert shell(python, "-m", "fastneg", "--version", cwd=folder) == fastneg.__version__


def test_a_worker_process_finds_the_packages_of_the_checkout(checkout, python):
    code = (
        "import multiprocessing\n"
        "from fastneg.kernels.backend import interpreting\n"
        "for start in ('spawn', 'forkserver'):\n"
        "    with multiprocessing.get_context(start).Pool(1) as pool:\n"
        "        print(pool.apply(interpreting))"
    )
    path = checkout / "script.py"
    path.write_text("if __name__ == '__main__':\n" + "    " + code.replace("\n", "\n    "))
    assert shell(python, "script.py", cwd=checkout).split()[0] in ("True", "False")


def test_torchrun_finds_the_packages_of_the_checkout(checkout, python):
    (checkout / "reduce.py").write_text(
        "import torch\n"
        "from fastneg import distributed, info_nce\n"
        "world = distributed.start('cpu')\n"
        "loss = info_nce(torch.eye(4), torch.eye(4)) + world.rank\n"
        "torch.distributed.all_reduce(loss)\n"
        "distributed.stop()\n"
        "with open(f'rank-{world.rank}.txt', 'w') as file:\n"
        "    file.write(f'{world.size} processes, {loss.item():.6f}')"
    )
    torchrun = (python, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2)
    shell(*torchrun, "-m", "fastneg", "presets", cwd=checkout, FASTNEG_PLUGINS="reduce")
    one, two = [(checkout / f"rank-{rank}.txt").read_text() for rank in (0, 1)]
    assert one == two and one.startswith("2 processes, ")


def test_the_finder_knows_these_two_packages_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = list(sys.meta_path)
    for name in ("fastneg", *BESIDE):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    find_what_lies_beside(tmp_path / "fastneg")  # some other folders of these names
    assert sys.meta_path == before
    (tmp_path / "setup.py").touch()
    for _ in range(2):
        find_what_lies_beside(tmp_path / "fastneg")
        assert sys.meta_path == [CheckoutFinder(tmp_path), *before]
    finder = sys.meta_path[0]
    assert finder.find_spec("fastneg.kernels").origin == str(tmp_path / "kernels/__init__.py")
    for name in ("fastneg.fastneg", "fastneg.setup", "kernels", "fastneg.kernels.info_nce"):
        assert finder.find_spec(name) is None
    monkeypatch.setattr(sys, "meta_path", list(before))
    (tmp_path / "fastneg/kernels").mkdir()  # an installed package holds them
    find_what_lies_beside(tmp_path / "fastneg")
    assert sys.meta_path == before
