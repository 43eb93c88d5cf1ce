"""Files that are no weights are told what they are, never how to switch a safeguard off
(fastneg.models.torch_files)."""

import io
import os
import zipfile

import pytest
import torch
from torchvision.models import resnet18

from fastneg.config import PretrainConfig
from fastneg.errors import CheckpointError, WeightsError
from fastneg.methods.moco_torch import MoCo
from fastneg.models.torch_files import UnreadableError, load_file
from fastneg.models.weights import load_into, read_weights
from fastneg.runs import checkpoint

OLD = {"_use_new_zipfile_serialization": False}
STATE = {"conv.weight": torch.ones(3000), "conv.bias": torch.zeros(3)}


def saved(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def script():
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), file)
    return file.getvalue()


def archive(name):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(name, b"nothing")
    return file.getvalue()


def safetensors():
    return pytest.importorskip("safetensors.torch").save(STATE)


FILES = {
    "empty": (lambda: b"", "it is empty"),
    "one byte": (lambda: b"P", "P|cut short"),
    "cut": (lambda: saved(STATE)[:5000], "cut short or damaged: only 5,000 bytes"),
    "cut within its end": (lambda: saved(STATE)[:-10], "cut short or damaged"),
    "old format, cut": (lambda: saved(STATE, **OLD)[:500], "cut short|no file of torch.save"),
    "TorchScript": (script, "it is a TorchScript program"),
    "module": (lambda: saved(torch.nn.Linear(2, 2)), "an object of torch.nn.modules.linear.Linear"),
    "module, old format": (
        lambda: saved(torch.nn.Linear(2, 2), **OLD),
        "an object of torch.nn.modules.linear",
    ),
    "web page": (lambda: b"\n<!DOCTYPE html><html><body>404</body></html>", "it is a web page"),
    "web page in capitals": (lambda: b"<HTML>", "it is a web page"),
    "Git LFS": (
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "run git lfs pull",
    ),
    "JSON": (lambda: b'{"error": "not found"}', 'it is a text that begins with \'{"error"'),
    "gzip": (lambda: b"\x1f\x8b\x08\0\0\0\0\0", "compressed by gzip"),
    "other archive": (lambda: archive("arr_0.npy"), "a zip archive of another kind"),
    "safetensors, cut": (lambda: safetensors()[:-100], "a damaged file of safetensors"),
    "safetensors, header cut": (lambda: safetensors()[:40], "a damaged file of safetensors"),
    "random": (lambda: bytes(range(128, 256)) * 40, "no file of torch.save|cut short"),
    "foreign pickle": (
        lambda: b"\x80\x04\x95\x1b\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
        "could run code|cut short",
    ),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("read", [read_weights, checkpoint.load])
def test_what_a_file_is_instead_is_told(tmp_path, kind, read):
    make, said = FILES[kind]
    path = tmp_path / "weights.pth"
    path.write_bytes(make())
    with pytest.raises(CheckpointError, match=said) as error:
        read(path)
    text = str(error.value)
    assert "cannot be read" in text and "\n" not in text
    assert not any(
        word in text.lower() for word in ("weights_only", "safe_globals", "trust", "unpickler")
    )


def test_what_is_no_file_is_told(tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe")
    for name, said in (
        ("absent", "no such file"),
        ("run", "fastneg export --run"),
        ("", "a folder: name a file"),
        ("pipe", "a pipe"),
    ):
        with pytest.raises(UnreadableError, match=said):
            load_file(tmp_path / name)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_named(tmp_path, value):
    state = resnet18().state_dict()
    state["layer1.0.bn1.running_var"][3] = value
    torch.save({"state_dict": state}, tmp_path / "bad.pth")
    with pytest.raises(
        WeightsError,
        match=r"not finite in 1 of 122 tensors \(first: state_dict.layer1.0.bn1.running_var\)",
    ):
        read_weights(tmp_path / "bad.pth")
    for step, weight in ((1, torch.ones(2)), (2, torch.full((2,), value))):
        checkpoint.save(tmp_path, step, {"step": step, "method": {"w": weight}}, keep=2)
    said = []
    assert checkpoint.load_newest(tmp_path, report=said.append)[1]["step"] == 1
    assert "not finite (first: w)" in said[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({1: torch.ones(2)}, "holds no weights .but 1.: a state dict"),
        ({}, "holds no weights .but nothing"),
        (
            {"teacher": {"w": torch.ones(2)}, "epoch": 3},
            "no tensor with a name of the backbone's: it has teacher.w",
        ),
        (torch.ones(3), "holds a Tensor"),
        ({"encoder_q.w": torch.ones(2), "queue": torch.ones(3)}, r"a queue of \(3,\)"),
    ],
)
def test_tensors_that_are_no_weights_of_the_network_are_told(tmp_path, content, said):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=said):
        load_into(
            MoCo(PretrainConfig(backbone="resnet18", queue_size=12, feature_dim=16)),
            read_weights(tmp_path / "w.pth"),
        )


def test_a_checkpoint_without_its_parts_is_told(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint or other file of a fastneg run"):
        checkpoint.load(tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="it holds no config and no method"):
        checkpoint.require("x.pt", {"format": 1}, ("config", "method"))


def test_what_torch_and_safetensors_wrote_is_read(tmp_path):
    for name, data in (("new", saved(STATE)), ("old", saved(STATE, **OLD)), ("st", safetensors())):
        (tmp_path / name).write_bytes(data)
        assert all(
            torch.equal(value, STATE[key]) for key, value in load_file(tmp_path / name).items()
        )
