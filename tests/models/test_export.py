"""A run's weights for other projects give the same outputs there, and come back."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from fastneg.errors import WeightsError
from fastneg.methods.moco_torch import MoCo
from fastneg.models.export import export_weights
from fastneg.models.weights import load_into, read_weights
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
