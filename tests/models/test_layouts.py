"""Checkpoints of other projects give their features here: where in the file the backbone is, and
which of several is taken.

lightly's files are made with lightly itself; the others have the documented names of their
projects' checkpoints.
"""

import re

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from fastneg.errors import WeightsError
from fastneg.methods.byol_torch import BYOL
from fastneg.methods.moco_torch import MoCo
from fastneg.models.backbones import build_backbone
from fastneg.models.layouts import rank
from fastneg.models.weights import load_into, read_weights
from helpers.weight_files import CONFIG, lightly_moco, solo_mocov2plus, spread


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    made = resnet18()
    made.fc = nn.Identity()
    return made.eval()


@pytest.fixture(scope="module")
def ours():
    return MoCo(CONFIG).eval()


def loaded(ours, content, tmp_path, **options):
    torch.save(content, tmp_path / "weights.pth")
    return load_into(ours, read_weights(tmp_path / "weights.pth"), **options).said


def holds(module, network, plus=0):
    """Whether a module has a network's weights, each plus a number."""
    theirs = network.state_dict()
    return all(
        torch.equal(value, theirs[name] + plus)
        for name, value in module.state_dict().items()
        if value.is_floating_point()
    )


def head(out=16):
    return nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, out))


FILES = {
    # facebookresearch/moco-v3: base_encoder, momentum_encoder and predictor
    "moco_v3": (
        lambda net: {"state_dict": spread(net, "module.base_encoder.", "module.momentum_encoder.")},
        "state_dict.module.base_encoder",
        0,
    ),
    # facebookresearch/dino: student and teacher, each a MultiCropWrapper
    "dino": (
        lambda net: {
            "student": spread(net, "module.backbone."),
            "teacher": {"backbone." + name: value + 1.0 for name, value in spread(net, "").items()},
            "dino_loss": {"center": torch.zeros(1, 8)},
        },
        "teacher.backbone",
        1,
    ),
    # facebookresearch/swav: its own ResNet, with a head and prototypes beside the layers
    "swav": (
        lambda net: (
            spread(net, "module.")
            | spread(head(), "module.projection_head.")
            | spread(nn.Linear(16, 30, bias=False), "module.prototypes.")
        ),
        "module",
        0,
    ),
    "vissl": (
        lambda net: {
            "classy_state_dict": {
                "base_model": {
                    "model": {
                        "trunk": spread(net, "_feature_blocks."),
                        "heads": spread(head(), "0.clf."),
                    }
                }
            }
        },
        "classy_state_dict.base_model.model.trunk._feature_blocks",
        0,
    ),
    "compiled": (lambda net: spread(net, "_orig_mod.model._orig_mod."), "model", 0),
    "averaged": (
        lambda net: {
            "state_dict": spread(net, ""),
            "state_dict_ema": {name: value + 1.0 for name, value in spread(net, "").items()},
        },
        "state_dict_ema",
        1,
    ),
    "model_state_dict": (lambda net: {"model_state_dict": spread(net, "")}, "model_state_dict", 0),
}


@pytest.mark.parametrize("project", FILES)
def test_each_projects_backbone_is_found(project, network, ours, tmp_path):
    make, where, plus = FILES[project]
    said = loaded(ours, make(network), tmp_path)
    assert said[1].startswith(f"  backbone: taken from {where},")
    assert holds(ours.query_encoder.backbone, network, plus)


def test_lightlys_checkpoint_is_taken_whole(ours, tmp_path):
    pytest.importorskip("lightly")
    torch.manual_seed(2)
    theirs = lightly_moco().eval()
    with torch.no_grad():
        theirs.backbone_momentum[0].weight.add_(1)
    said = loaded(ours, {"state_dict": theirs.state_dict()}, tmp_path)
    assert said[1] == "  backbone: taken from state_dict.backbone, 100 tensors"
    assert "  queue: starts anew (none there)" in said  # lightly's files hold none
    images = torch.randn(2, 3, 64, 64)
    features = theirs.backbone(images).flatten(1)
    torch.testing.assert_close(ours.query_encoder.backbone(images), features)
    projected = nn.functional.normalize(theirs.projection_head(features), dim=1)
    torch.testing.assert_close(ours.query_encoder(images), projected)
    keys = theirs.projection_head_momentum(theirs.backbone_momentum(images).flatten(1))
    torch.testing.assert_close(ours.key_encoder(images), nn.functional.normalize(keys, dim=1))


def test_lightlys_own_resnet_is_torchvisions_with_the_small_stem(tmp_path):
    generator = pytest.importorskip("lightly.models").ResNetGenerator
    theirs = generator("resnet-18").eval()
    backbone = nn.Sequential(*list(theirs.children())[:-1])
    method = MoCo(CONFIG.replace(image_size=32, patch_max=10, patch_min=2))
    loaded(method, spread(backbone, "backbone."), tmp_path)
    theirs.linear = nn.Identity()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(method.query_encoder.backbone.eval()(images), theirs(images))


def test_solo_learns_checkpoint_is_taken_whole(ours, tmp_path):
    backbone, projector, content = solo_mocov2plus()
    said = loaded(ours, content, tmp_path)
    assert said[1:] == [
        "  backbone: taken from state_dict.backbone, 100 tensors",
        "  head: taken from state_dict.projector",
        "  key encoder: taken from state_dict.momentum_backbone",
        "  its head: taken from state_dict.momentum_projector",
        "  queue: taken",
    ]
    for module, plus in ((ours.query_encoder, 0), (ours.key_encoder, 1)):
        assert holds(module.backbone, backbone, plus) and holds(module.projector, projector, plus)
    assert torch.equal(ours.queue, content["state_dict"]["queue"][0].t()) and ours.pointer == 4


def test_byols_predictor_is_taken_too(network, tmp_path):
    config = CONFIG.replace(method="byol", feature_dim=16, hidden_dim=24)
    method, other = BYOL(config), BYOL(config)
    state = spread(network, "backbone.", "momentum_backbone.")
    state |= spread(other.query_encoder.projector, "projector.", "momentum_projector.")
    state |= spread(other.predictor, "predictor.")
    said = loaded(method, {"state_dict": state}, tmp_path)
    assert "  predictor: taken from state_dict.predictor" in said
    assert holds(method.predictor, other.predictor)


def test_which_of_several_is_taken():
    order = ["teacher.backbone.", "backbone.", "student.backbone.", "momentum_backbone."]
    assert [rank(prefix) for prefix in order] == [0, 1, 2, 3]
    assert rank("swa_model.") == rank("averaged_model.module.") == rank("model_ema.") == 0
    assert rank("state_dict_ema.") == 0 and rank("module.base_encoder.") == 1
    assert rank("module.encoder_k.") == rank("backbone_momentum.") == rank("target_net.") == 3


def test_of_equals_one_must_be_named_or_they_are_alike(network, ours, tmp_path):
    with pytest.raises(WeightsError, match=r"several prefixes: one, two\. .*--prefix"):
        loaded(ours, spread(network, "one.", "two."), tmp_path)
    loaded(ours, spread(network, "one.", "two."), tmp_path, prefix="two.")
    assert holds(ours.query_encoder.backbone, network, 1)
    same = spread(network, "one.") | spread(network, "two.")
    assert "taken from one," in loaded(ours, same, tmp_path)[1]


def test_where_nothing_fits_the_prefixes_are_listed(network, ours, tmp_path):
    state = spread(network, "a.", "b.")
    del state["a.conv1.weight"]
    state["b.layer1.0.conv1.weight"] = torch.zeros(3, 3, 1, 1)
    with pytest.raises(WeightsError) as told:
        loaded(ours, state, tmp_path)
    listed = str(told.value).splitlines()
    assert "  a.: 99 of 100 tensors fit; conv1.weight is missing" in listed
    assert any("b.: 99 of 100" in line and "(3, 3, 1, 1), (64, 64, 3" in line for line in listed)
    with pytest.raises(WeightsError, match="no tensor with a name of the backbone's"):
        loaded(ours, {"x": torch.zeros(3)}, tmp_path)


def test_a_small_stem_in_the_file_is_named(ours, tmp_path):
    small, _ = build_backbone("resnet18", 64, "small")
    with pytest.raises(WeightsError, match="give --stem small"):
        loaded(ours, small.state_dict(), tmp_path)


def test_images_of_another_number_of_channels_are_named(network, ours, tmp_path):
    state = dict(network.state_dict())
    state["conv1.weight"] = state["conv1.weight"].sum(1, keepdim=True)
    with pytest.raises(
        WeightsError, match="of images with 1 channel, and images here have 3: make"
    ):
        loaded(ours, state, tmp_path)


CONVNEXT = (
    (r"^stem\.", "downsample_layers.0."),
    (r"blocks\.", ""),
    (r"stages\.(\d)\.downsample", r"downsample_layers.\1"),
    ("conv_dw", "dwconv"),
    (r"mlp\.fc", "pwconv"),
    (r"head\.norm", "norm"),
)
"""timm's names and the authors'."""


class Renamed(nn.Module):
    """The layers of a network, in the same order under other names."""

    def __init__(self, network):
        super().__init__()
        for number, (_, child) in enumerate(network.named_children()):
            self.add_module(f"part_{number}", child)


def test_tensors_under_other_names_are_taken_in_their_order_where_asked(network, ours, tmp_path):
    state = {f"net.{name}": value for name, value in Renamed(network).state_dict().items()}
    with pytest.raises(WeightsError, match="--by_order True takes them"):
        loaded(ours, state, tmp_path)
    loaded(ours, state, tmp_path, by_order=True)
    assert holds(ours.query_encoder.backbone, network)
    state["net.part_0.weight"] = torch.zeros(64, 3, 5, 5)
    with pytest.raises(WeightsError, match="no place where the backbone's 100 tensors stand"):
        loaded(ours, state, tmp_path, by_order=True)


def test_timms_own_translation_of_foreign_names_is_tried(tmp_path):
    """ConvNeXt as its authors name its layers."""
    pytest.importorskip("timm")
    method = MoCo(CONFIG.replace(backbone="timm:test_convnext"))
    backbone, theirs = method.query_encoder.backbone, {}
    for name, value in backbone.state_dict().items():
        for ours, authors in CONVNEXT:
            name = re.sub(ours, authors, name)
        theirs[name] = value + 1
    said = loaded(method, {"model": theirs}, tmp_path)
    assert said[1] == f"  backbone: taken from model, {len(theirs)} tensors"
    assert "translated" in said[2]
    assert torch.equal(backbone.state_dict()["head.norm.weight"], theirs["norm.weight"])


@pytest.mark.parametrize("prefix", ["", "teacher.backbone.", "state_dict.model.encoder."])
def test_a_vision_transformer_of_another_size_is_taken_below_any_prefix(prefix, tmp_path):
    pytest.importorskip("timm")
    config = CONFIG.replace(backbone="timm:test_vit", image_size=32)
    larger, _ = build_backbone("timm:test_vit", 64)
    method, named = MoCo(config), prefix.strip(".")
    assert larger.pos_embed.shape != method.query_encoder.backbone.pos_embed.shape
    state = {prefix + name: value for name, value in larger.state_dict().items()}
    said = loaded(method, state, tmp_path)
    assert said[1].startswith(f"  backbone: taken{f' from {named}' if named else ''}, ")
    weight = larger.state_dict()["patch_embed.proj.weight"]
    assert torch.equal(method.query_encoder.backbone.patch_embed.proj.weight, weight)
