"""A user's script over the public names passes `mypy --strict` against the installed package, and a
wrong one does not.

The attributes of files are declared in fastneg.data.beton.reader.
PyTorch's own types take a minute to read: a small part of them stands in.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastneg

ROOT = Path(fastneg.__file__).resolve().parent.parent
TORCH = """
from typing import Any, Callable
class device: ...
class Generator: ...
class Tensor:
    shape: tuple[int, ...]
    def item(self) -> float: ...
def rand(*size: int) -> Tensor: ...
"""
MODULE = """
from typing import Any
from torch import Tensor
class Module:
    def __init__(self) -> None: ...
    def __call__(self, *inputs: Any) -> Any: ...
"""
RIGHT = """
from pathlib import Path
import numpy as np
import torch
from numpy.typing import NDArray
import fastneg
from fastneg import (EvalLoader, InfoNCELoss, InfoNCEOutput, TrainLoader, clip_loss, info_nce,
                     load_run, nt_xent, patch_negatives, siglip_loss, supervised_contrastive)
from fastneg.config import Config, ConfigError, EncodeConfig, LinearConfig, PretrainConfig
from fastneg.data import BetonError, BetonReader, BetonSet, BetonWriter, open_data
from fastneg.losses import NTXentOutput

version: str = fastneg.__version__
query, keys, queue = torch.rand(4, 8), torch.rand(4, 8), torch.rand(16, 8)
loss: torch.Tensor = info_nce(query, keys, queue, temperature=0.2, negatives_layout="kd")
print(loss.item())
found: InfoNCEOutput = info_nce(query, keys, return_stats=True, extra_negatives=torch.rand(4, 1, 8))
accuracy: float = found.acc1.item()
by_flag: torch.Tensor | InfoNCEOutput = fastneg.info_nce(query, keys, return_stats=bool(accuracy))
criterion = InfoNCELoss(temperature=0.1, reduction="mean", negative_mode="paired")
print(criterion(query, keys))
both: NTXentOutput = fastneg.losses.nt_xent(query, keys, temperature=0.5, return_stats=True)
simclr: torch.Tensor = nt_xent(query, keys)
clip: torch.Tensor = clip_loss(query, keys, temperature=torch.rand(1))
sigmoid: torch.Tensor = siglip_loss(query, keys)
labelled: torch.Tensor = supervised_contrastive(torch.rand(4, 2, 8))
trained = fastneg.pretrain("x.beton", Path("run"), backbone="resnet18", preset="tiny_cpu", epochs=3)
finished: bool = trained.finished
negatives: torch.Tensor = patch_negatives(torch.rand(4, 3, 32, 32), 2, sizes=(4, 8))

with BetonWriter(Path("x.beton"), classes=["cat", "dog"]) as writer:
    writer.add(b"...", 32, 40, label=1, name="1.jpg")
    writer.add_raw(np.zeros((4, 4, 3), np.uint8), label=0)
    count: int = len(writer)
with BetonReader("x.beton", verify=True) as reader:
    pixels: NDArray[np.uint8] = reader.jpeg(0)
    labels: NDArray[np.int64] | None = reader.labels
    sizes: NDArray[np.int64] = reader.sizes
    names: list[str] | None = reader.names
data: BetonReader | BetonSet = fastneg.data.open_data("a.beton,b.beton")
try:
    encoded: NDArray[np.uint8] = open_data(Path("x")).encoded(3)
except BetonError as error:
    print(error)

with TrainLoader("x.beton", 256, image_size=224, negatives="patch", device="cuda") as loader:
    for batch in loader:
        extra: torch.Tensor | None = batch.negatives
        print(len(loader), batch.query.shape, loader.next_epoch, loader.classes)
    state: dict[str, object] = loader.state_dict()
    loader.load_state_dict(state)
for shown in EvalLoader(data, 256, 224, resize=256):
    label: torch.Tensor | None = shown.label
found_features = load_run(Path("run"), device="cuda").embed("val.beton", batch_size=64)
features: torch.Tensor = found_features.features
print(fastneg.pretrain("x.beton", Path("runs/a"), backbone="resnet50", epochs=3).step)

config = PretrainConfig(data="x.beton", out="run", epochs=3)
longer: PretrainConfig = config.replace(epochs=5)
settings: dict[str, object] = longer.as_dict()
encode: Config = EncodeConfig("photos", "x.beton", max_side=500)
try:
    LinearConfig(run="run", train="a", val="b")
except ConfigError as refused:
    print(refused)
"""
WRONG = {
    'info_nce(query, keys, temperature="warm")': "call-overload",
    "info_nce(query, keys, queue, 0.2)": "call-overload",
    "x: str = info_nce(query, keys)": "assignment",
    'InfoNCELoss(negative_modes="paired")': "call-arg",
    "nt_xent(query)": "call-overload",
    "patch_negatives(query, sizes=3)": "arg-type",
    "fastneg.infonce(query, keys)": "attr-defined",
    "BetonReader(3)": "arg-type",
    'reader.jpeg("first")': "arg-type",
    "open_data()": "call-arg",
    "TrainLoader(3, 8)": "arg-type",
    'TrainLoader("x.beton")': "call-arg",
    "load_run(3)": "arg-type",
    'EncodeConfig("photos")': "call-arg",
    "config.replace(5)": "call-arg",
}


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """The messages of mypy --strict about a script, in an environment where the package lies as it
    is installed."""
    folder = tmp_path_factory.mktemp("types")
    command = [sys.executable, "-m", "venv", "--without-pip", folder / "venv"]
    subprocess.run(command, check=True, timeout=120)
    (packages,) = folder.glob("venv/lib/python*/site-packages")
    shutil.copytree(ROOT / "fastneg", packages / "fastneg")
    for name in ("kernels", "recipes"):
        shutil.copytree(ROOT / name, packages / "fastneg" / name)
    (numpy,) = (Path(path, "numpy") for path in sys.path if Path(path, "numpy/py.typed").exists())
    (packages / "numpy").symlink_to(numpy)
    stubs = folder / "stubs" / "torch"
    for name, text in (("__init__", TORCH), ("nn/__init__", MODULE), ("nn/functional", "")):
        path = stubs / f"{name}.pyi"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "mypy.ini").write_text(f"[mypy]\nstrict = true\nmypy_path = {folder}/stubs\n")

    def check(text):
        (folder / "script.py").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--python-executable", "venv/bin/python", "script.py"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert not done.stderr, done.stderr
        return [line for line in done.stdout.splitlines() if ": error:" in line]

    return check


def test_a_script_over_all_public_names_is_typed(checked):
    names = {*fastneg.__all__, *fastneg.data.__all__} - {"__version__"}
    assert all(name in RIGHT for name in names)
    assert checked(RIGHT) == []


def test_wrong_types_are_found(checked):
    lines = checked(RIGHT + "\n".join(WRONG))
    first = RIGHT.count("\n") + 1
    found = {int(line.split(":")[1]) - first: line.rpartition("[")[2] for line in lines}
    assert found == {place: f"{code}]" for place, code in enumerate(WRONG.values())}
