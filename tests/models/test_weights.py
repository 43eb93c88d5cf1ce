"""Weights of other projects: what goes out and comes back gives the same outputs, and what does not
fit is refused.

fastneg.recipes.import_weights and fastneg.recipes.export are tested through the command line.
"""

import argparse
import json

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, vit_b_16

from fastneg.config import PretrainConfig
from fastneg.errors import TrainingError, WeightsError
from fastneg.methods.moco_torch import MoCo
from fastneg.models.weights import export_weights, load_into, read_weights
from fastneg.recipes.cli import main
from fastneg.runs import checkpoint
from fastneg.runs.load import load_run
from fastneg.training.trainer import pretrain

CONFIG = PretrainConfig(
    backbone="resnet18", queue_size=12, feature_dim=16, image_size=64, patch_max=32
)


def method(seed=0, config=CONFIG):
    torch.manual_seed(seed)
    made = MoCo(config)
    # running statistics that differ from the initial ones
    made.train()(torch.randn(8, 3, 32, 32), torch.randn(8, 3, 32, 32))
    made.after_step(nn.functional.normalize(torch.randn(5, config.feature_dim)))
    return made.eval()


def moco_checkpoint(seed=0, head="mlp"):
    """(the encoder, the checkpoint) as MoCo's main_moco.py makes them: torchvision's network, its
    fc replaced, wrapped for many GPUs."""
    torch.manual_seed(seed)
    encoder = resnet18(num_classes=16)
    if head == "mlp":
        encoder.fc = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), encoder.fc)
    state = {
        f"module.{which}.{name}": value
        for which in ("encoder_q", "encoder_k")
        for name, value in encoder.state_dict().items()
    }
    queue = nn.functional.normalize(torch.randn(16, 12), dim=0)
    state |= {"module.queue": queue, "module.queue_ptr": torch.tensor([8])}
    content = {
        "epoch": 7,
        "arch": "resnet18",
        "state_dict": state,
        "optimizer": {"param_groups": []},
        "args": argparse.Namespace(lr=0.03),
    }
    return encoder.eval(), content


@pytest.fixture
def images():
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def test_a_moco_checkpoint_gives_its_features_here(tmp_path, images):
    encoder, content = moco_checkpoint()
    torch.save(content, tmp_path / "moco.pth.tar")
    ours = MoCo(CONFIG)
    said = load_into(ours, read_weights(tmp_path / "moco.pth.tar"))
    assert [line.strip().split(":")[1].strip() for line in said[2:]] == ["taken"] * 3
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
    said = "\n".join(load_into(ours, read_weights(tmp_path / "v1.pth")))
    assert (
        "head: starts anew (it is another one there)" in said
        and "starts anew ((12, 16) there, (20, 16) set)" in said
    )
    encoder.fc = nn.Identity()
    torch.testing.assert_close(ours.query_encoder.backbone.eval()(images), encoder(images))
    assert torch.equal(ours.queue, queue) and ours.pointer == 0


def test_what_goes_out_as_moco_comes_back_whole(tmp_path, images):
    before, after = method(), MoCo(CONFIG)
    export_weights(before.state_dict(), CONFIG, "moco", tmp_path / "out.pth")
    load_into(after, read_weights(tmp_path / "out.pth"))
    assert after.pointer == before.pointer
    for name, value in before.state_dict().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(after.state_dict()[name], value), name


def test_mocos_linear_probe_loads_our_export(tmp_path, images):
    """Its main_lincls.py keeps the names below module.encoder_q except the fc, and wants nothing
    missing but the fc."""
    ours = method()
    export_weights(ours.state_dict(), CONFIG, "moco", tmp_path / "out.pth")
    state = torch.load(tmp_path / "out.pth", weights_only=True)["state_dict"]
    prefix = "module.encoder_q"
    kept = {
        name[len(prefix) + 1 :]: value
        for name, value in state.items()
        if name.startswith(prefix) and not name.startswith(prefix + ".fc")
    }
    model = resnet18().eval()
    result = model.load_state_dict(kept, strict=False)
    assert set(result.missing_keys) == {"fc.weight", "fc.bias"} and not result.unexpected_keys
    model.fc = nn.Identity()
    assert torch.equal(model(images), ours.query_encoder.backbone(images))


@pytest.mark.parametrize("kind", ["torchvision", "timm", "safetensors"])
def test_a_backbone_goes_out_and_comes_back(tmp_path, images, kind):
    ours, out = method(), tmp_path / f"out.{'safetensors' if kind == 'safetensors' else 'pth'}"
    export_weights(ours.state_dict(), CONFIG, kind, out)
    if kind == "timm":
        model = pytest.importorskip("timm").create_model("resnet18", num_classes=0)
        model.load_state_dict(torch.load(out, weights_only=True))
    elif kind == "torchvision":
        model = resnet18()
        model.load_state_dict(torch.load(out, weights_only=True), strict=False)
        model.fc = nn.Identity()
    else:
        from safetensors import safe_open

        with safe_open(out, "pt") as file:
            assert file.metadata()["backbone"] == "resnet18"
        model = None
    expected = ours.query_encoder.backbone(images)
    if model is not None:
        torch.testing.assert_close(model.eval()(images), expected)
    again = MoCo(CONFIG)
    said = load_into(again, read_weights(out))
    assert "head: starts anew (none there)" in "\n".join(said)
    assert torch.equal(again.query_encoder.backbone.eval()(images), expected)
    assert torch.equal(again.key_encoder.backbone.eval()(images), expected), (
        "without a key encoder it starts as a copy"
    )


def test_safetensors_are_known_by_their_content(tmp_path):
    export_weights(method().state_dict(), CONFIG, "safetensors", tmp_path / "out.pth")
    (tmp_path / "other.safetensors").write_bytes(b"")
    assert "conv1.weight" in " ".join(read_weights(tmp_path / "out.pth").encoder)
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
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, content, said):
    path = tmp_path / "weights.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(WeightsError, match=said):
        load_into(MoCo(CONFIG), read_weights(path))


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


def test_a_format_without_a_counterpart_is_refused(tmp_path):
    config, tiny = CONFIG.replace(backbone="vit_b_16"), CONFIG.replace(backbone="resnet_tiny")
    for kind, settings in (
        ("timm", config),
        ("moco", config),
        *((kind, tiny) for kind in ("torchvision", "timm", "moco")),
    ):
        with pytest.raises(WeightsError, match="--format"):
            export_weights(
                {"query_encoder.backbone.a": torch.zeros(1), "queue": torch.zeros(2, 2)},
                settings,
                kind,
                tmp_path / "x.pth",
            )
    assert not (tmp_path / "x.pth").exists()


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
    assert main(command) == 1 and "already holds checkpoints" in capsys.readouterr().err
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
