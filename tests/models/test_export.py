"""A run's weights for other projects give the same outputs there, and come back."""

import json

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from fastneg.errors import WeightsError
from fastneg.methods.moco_torch import MoCo
from fastneg.models.export import export_weights
from fastneg.models.own_outputs import images_of
from fastneg.models.weights import load_into, read_weights
from fastneg.recipes.cli import main
from fastneg.runs.load import load_run
from helpers import own_nets
from helpers.encoder_runs import make_run
from helpers.weight_files import CONFIG, method


@pytest.fixture
def images():
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(3))


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
    said = load_into(again, read_weights(out)).said
    assert "  head: starts anew (none there)" in said
    assert torch.equal(again.query_encoder.backbone.eval()(images), expected)
    assert torch.equal(again.key_encoder.backbone.eval()(images), expected), (
        "without a key encoder it starts as a copy"
    )


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


@pytest.mark.parametrize(
    ("name", "side", "resize"), [("resnet18", 64, 99), ("timm:test_vit", 96, 100)]
)
def test_timm_reads_the_folder_for_hugging_face(tmp_path, name, side, resize):
    timm = pytest.importorskip("timm")
    normalisation = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.1), "eval_resize": resize}
    config = CONFIG.replace(backbone=name, image_size=side, **normalisation)
    ours = MoCo(config).eval()
    export_weights(ours.state_dict(), config, "huggingface", tmp_path / "out")
    model = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    images = images_of(side, 2)
    torch.testing.assert_close(model(images), ours.query_encoder.backbone(images))
    settings = timm.data.resolve_model_data_config(model)
    assert (tuple(settings["mean"]), tuple(settings["std"])) == (config.mean, config.std)
    assert tuple(settings["input_size"]) == (3, side, side)
    assert timm.data.create_transform(**settings).transforms[0].size == resize
    content = json.loads((tmp_path / "out/config.json").read_text())
    assert content["num_classes"] == 0 and content["architecture"] == name.removeprefix("timm:")


def test_onnx_gives_the_same_features_for_any_number_of_images(tmp_path, capsys):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    run, out = make_run(tmp_path / "run"), tmp_path / "out.onnx"
    assert main(["export", "--run", str(run), "--format", "onnx", str(out)]) == 0
    assert "checked: ONNX Runtime's features are within" in capsys.readouterr().out
    backbone = load_run(run).backbone
    session = runtime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    for count in (1, 5):
        images = torch.randn(count, *session.get_inputs()[0].shape[1:])
        found = session.run(None, {"images": images.numpy()})[0]
        torch.testing.assert_close(torch.from_numpy(found), backbone(images), rtol=1e-3, atol=1e-4)
    told = session.get_modelmeta().custom_metadata_map
    assert told["backbone"] == "resnet_tiny" and json.loads(told["mean"])[0] == 0.485


def test_own_networks_and_small_stems_go_out_as_safetensors_alone(tmp_path):
    small = CONFIG.replace(image_size=32, patch_min=2, patch_max=8)
    own = CONFIG.replace(backbone=f"{own_nets.__file__}:Tied")
    for config in (small, own):
        state = MoCo(config).state_dict()
        for kind in ("torchvision", "timm", "huggingface", "moco"):
            with pytest.raises(WeightsError, match="safetensors"):
                export_weights(state, config, kind, tmp_path / "no")
        out = tmp_path / "out.safetensors"
        export_weights(state, config, "safetensors", out)  # of tied weights too
        again = MoCo(config).eval()
        load_into(again, read_weights(out))
        images = images_of(32, 2)
        expected = {name: value for name, value in state.items() if "backbone" in name}
        assert all(torch.equal(again.state_dict()[name], each) for name, each in expected.items())
        assert again.query_encoder.backbone(images).isfinite().all()
    assert not (tmp_path / "no").exists()


def test_a_folder_that_is_the_runs_own_is_refused(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    command = ["export", "--run", str(run), "--format", "huggingface"]
    for out in (run, run / "inside"):
        assert main([*command, str(out)]) == 2
    assert "OUT is" in capsys.readouterr().err
