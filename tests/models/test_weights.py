"""Weights of other projects: what fits gives the same outputs here, and what does not fit is
refused.

Layouts of other projects are in test_layouts.py; fastneg.recipes.import_weights and
fastneg.recipes.export are tested through the command line.
"""

import json

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet34, vit_b_16

from fastneg.config import PretrainConfig
from fastneg.errors import TrainingError, WeightsError
from fastneg.methods.moco_torch import MoCo
from fastneg.models.export import export_weights
from fastneg.models.weights import load_into, read_weights
from fastneg.recipes.cli import main
from fastneg.runs import checkpoint
from fastneg.runs.load import load_run
from fastneg.training.trainer import pretrain
from helpers.weight_files import CONFIG, method, moco_checkpoint


@pytest.fixture
def images():
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def test_a_moco_checkpoint_gives_its_features_here(tmp_path, images):
    encoder, content = moco_checkpoint()
    torch.save(content, tmp_path / "moco.pth.tar")
    ours = MoCo(CONFIG)
    said = load_into(ours, read_weights(tmp_path / "moco.pth.tar")).said
    place = "state_dict.module.encoder_"
    assert said[1:] == [
        f"  backbone: taken from {place}q, 100 tensors",
        "  beside it, and not of it: fc",
        f"  head: taken from {place}q.fc",
        f"  key encoder: taken from {place}k",
        f"  its head: taken from {place}k.fc",
        "  queue: taken",
    ]
    for which in (ours.query_encoder, ours.key_encoder):
        torch.testing.assert_close(
            which.eval()(images), nn.functional.normalize(encoder(images), dim=1)
        )
    assert torch.equal(ours.queue, content["state_dict"]["module.queue"].t()) and ours.pointer == 8


def test_a_moco_v1_head_and_a_queue_of_another_size_are_named_and_left(tmp_path, images):
    encoder, content = moco_checkpoint(head="linear")
    torch.save(content, tmp_path / "v1.pth")
    ours = MoCo(CONFIG.replace(queue_size=20))
    queue = ours.queue.clone()
    said = "\n".join(load_into(ours, read_weights(tmp_path / "v1.pth")).said)
    assert (
        "head: starts anew (it is another one there)" in said
        and "starts anew ((12, 16) there, (20, 16) set)" in said
    )
    encoder.fc = nn.Identity()
    torch.testing.assert_close(ours.query_encoder.backbone.eval()(images), encoder(images))
    assert torch.equal(ours.queue, queue) and ours.pointer == 0


def test_safetensors_are_known_by_their_content(tmp_path):
    export_weights(method().state_dict(), CONFIG, "safetensors", tmp_path / "out.pth")
    (tmp_path / "other.safetensors").write_bytes(b"")
    assert "conv1.weight" in read_weights(tmp_path / "out.pth").tensors
    with pytest.raises(WeightsError, match=r"other\.safetensors cannot be read"):
        read_weights(tmp_path / "other.safetensors")


def test_torchvision_weights_with_their_classifier(tmp_path, images):
    for network, name in ((resnet18, "resnet18"), (vit_b_16, "vit_b_16")):
        model = network().eval()
        torch.save(model.state_dict(), tmp_path / "tv.pth")
        ours = MoCo(CONFIG.replace(backbone=name, feature_dim=8, image_size=224))
        load_into(ours, read_weights(tmp_path / "tv.pth"))
        for key, value in ours.query_encoder.backbone.state_dict().items():
            assert torch.equal(value, model.state_dict()[key])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no checkpoint", "cannot be read"),
        ([1, 2], "holds a list"),
        ({"epoch": 3}, "holds no weights"),
        ({"state_dict": {"conv1.weight": torch.zeros(64, 3, 7, 7)}}, "missing"),
        (
            {"state_dict": {**resnet18().state_dict(), "conv1.weight": torch.zeros(8, 3, 7, 7)}},
            r"\(8, 3, 7, 7\), \(64, 3, 7, 7\) was expected",
        ),
        ({"state_dict": {**resnet18().state_dict(), "layer9.weight": torch.zeros(1)}}, "1 unknown"),
        ({"state_dict": resnet34().state_dict()}, "unknown"),  # which holds all of a ResNet-18
        (
            {**method().query_encoder.backbone.state_dict(), "mine": torch.zeros(1)},
            r"All of the backbone is there.* with --prefix \. ",
        ),
        (
            {"conv1.weight": torch.zeros(64, 3, 7, 7, dtype=torch.int32)},
            r"conv1.weight is \(64, 3, 7, 7\) of whole numbers, \(64, 3, 7, 7\) was expected",
        ),
        ({"conv1.weight": torch.zeros(3).to_sparse()}, "1 tensor of a kind.*float32 as sparse_coo"),
        ({"conv1.weight": torch.zeros(3, device="meta")}, "without values, on the device meta"),
        ({"a": torch.zeros(3), "b": torch.zeros(3, dtype=torch.cfloat)}, "first: b, complex64"),
        ({"b": torch.zeros(3).to(torch.float8_e4m3fn)}, "first: b, float8_e4m3fn"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, content, said):
    path = tmp_path / "weights.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(WeightsError, match=said):
        load_into(MoCo(CONFIG), read_weights(path))


def test_a_prefix_with_and_without_its_dot(tmp_path):
    state = method().query_encoder.backbone.state_dict()
    ours = MoCo(CONFIG)
    torch.save({f"a.b.{name}": each.bfloat16() for name, each in state.items()}, tmp_path / "w.pth")
    for prefix in ("a.b", "a.b."):
        said = load_into(ours, read_weights(tmp_path / "w.pth"), prefix).said
        assert said[1] == "  backbone: taken from a.b, 100 tensors"
    with pytest.raises(WeightsError, match=r"under the prefix a\.c\.(.|\n)*a\.b\.: 100 of 100"):
        load_into(ours, read_weights(tmp_path / "w.pth"), "a.c")
    torch.save({**state, "mine": torch.zeros(1)}, tmp_path / "w.pth")
    said = load_into(ours, read_weights(tmp_path / "w.pth"), ".").said
    assert said[1:3] == ["  backbone: taken, 100 tensors", "  beside it, and not of it: mine"]
    taken = ours.query_encoder.backbone.state_dict()
    assert all(torch.equal(taken[name], value) for name, value in state.items())


class Harmful:
    def __reduce__(self):
        return print, ("code of the checkpoint ran",)


def test_no_code_of_a_checkpoint_runs(tmp_path, capsys):
    torch.save({"state_dict": resnet18().state_dict(), "args": Harmful()}, tmp_path / "harmful.pth")
    with pytest.raises(
        WeightsError,
        match=r"cannot be read.*an object of .*print.*could run code: save the state dict",
    ):
        read_weights(tmp_path / "harmful.pth")
    assert capsys.readouterr().out == ""


def test_import_and_export_from_the_command_line(tmp_path, capsys, beton, images):
    encoder, content = moco_checkpoint()
    torch.save(content, tmp_path / "moco.pth")
    run = tmp_path / "run"
    command = [
        "import",
        str(tmp_path / "moco.pth"),
        str(run),
        "--backbone",
        "resnet18",
        "--image_size",
        "64",
        "--eval_resize",
        "64",
    ]
    assert main(command) == 0
    assert main(command) == 2 and "already holds checkpoints" in capsys.readouterr().err
    encoder.fc = nn.Identity()
    loaded = load_run(run)
    torch.testing.assert_close(loaded.backbone(images), encoder(images))
    settings = json.loads((run / "config.json").read_text())
    assert (settings["queue_size"], settings["image_size"], settings["eval_resize"]) == (12, 64, 64)
    assert checkpoint.load_newest(run)[1]["head_imported"] is True
    assert main(["export", "--run", str(run), "--format", "moco", str(tmp_path / "back.pth")]) == 0
    back = torch.load(tmp_path / "back.pth", weights_only=True)["state_dict"]
    assert back.keys() == content["state_dict"].keys()
    assert all(torch.equal(back[name], value) for name, value in content["state_dict"].items())
    torch.save(resnet18().state_dict(), tmp_path / "plain.pth")
    assert (
        main(
            [
                "import",
                str(tmp_path / "plain.pth"),
                str(tmp_path / "headless"),
                "--backbone",
                "resnet18",
            ]
        )
        == 0
    )
    assert checkpoint.load_newest(tmp_path / "headless")[1]["head_imported"] is False
    with pytest.raises(TrainingError, match="imported weights"):
        pretrain(
            PretrainConfig(**checkpoint.load_newest(run)[1]["config"]).replace(
                data=str(beton), device="cpu", batch_size=8
            )
        )


def test_a_run_starts_from_the_weights_it_is_given(tmp_path, beton, monkeypatch):
    from fastneg.recipes.presets import tiny_cpu

    first = tiny_cpu().replace(
        image_size=32,
        eval_resize=32,
        epochs=1,
        batch_size=8,
        bn_splits=2,
        queue_size=20,
        feature_dim=16,
        threads=1,
    )
    first = first.replace(data=str(beton), out=str(tmp_path / "first"), patch_min=4, patch_max=16)
    pretrain(first, stop_after=1)
    state = checkpoint.load_newest(tmp_path / "first")[1]["method"]
    torch.save(
        {
            name[len("query_encoder.backbone.") :]: v
            for name, v in state.items()
            if name.startswith("query_encoder.backbone.")
        },
        tmp_path / "w.pth",
    )
    second = first.replace(
        out=str(tmp_path / "second"), init=str(tmp_path / "w.pth"), lr=1e-12, weight_decay=0.0
    )
    pretrain(second, stop_after=1)
    began = checkpoint.load_newest(tmp_path / "second")[1]["method"]
    name = "query_encoder.backbone.stem.0.weight"
    torch.testing.assert_close(began[name], state[name], rtol=0, atol=1e-9)
    (tmp_path / "w.pth").unlink()
    assert pretrain(second).finished, "a resumed run does not need them again"
