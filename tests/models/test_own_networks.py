"""Networks of a user's own: what is found of them, what is refused, and a run with one from its
start to its export."""

import copy
import json

import pytest
import torch
from torch import nn

import fastneg
from fastneg import distributed
from fastneg.config import ConfigError, PretrainConfig
from fastneg.errors import CheckpointError, TrainingError
from fastneg.methods import METHODS
from fastneg.models.backbones import build_backbone
from fastneg.models.encoders import Encoder
from fastneg.models.own_networks import Given, named, own_network
from fastneg.models.own_outputs import images_of
from fastneg.recipes.cli import main
from fastneg.runs import checkpoint
from fastneg.runs.load import load_run
from fastneg.training.build import new_method
from fastneg.training.trainer import pretrain
from helpers import own_nets
from helpers.pretraining import pretrain_in_two, rows, same_weights, settings, weights

HERE = "helpers.own_nets:"
TINY = {"preset": "tiny_cpu", "batch_size": 8, "queue_size": 20, "feature_dim": 16, "threads": 1}
TINY |= {"bn_splits": 2, "epochs": 2, "device": "cpu"}


def test_a_map_is_averaged_and_what_has_no_part_is_not_trained():
    network, width = own_network(HERE + "Small", 32)
    assert torch.equal(network.body[1].running_mean, torch.zeros(8)), "it was only looked at"
    images = torch.randn(2, 3, 32, 32)
    assert width == 12
    torch.testing.assert_close(network(images), network.body(images).mean((2, 3)))
    told = "\n".join(network.told)
    assert "features (N, 12), the mean over a map of 8×8" in told
    assert "2 parameters of it (first: unused.weight)" in told
    assert [each.requires_grad for each in network.unused.parameters()] == [False, False]
    assert all(each.requires_grad for each in network.body.parameters()) and network.training


def test_a_factory_may_ask_for_the_size():
    assert build_backbone(HERE + "for_size", 32)[1] == 16
    assert build_backbone(HERE + "for_size", 64)[1] == 32


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", "raises RuntimeError when it is called: no such weights"),
        ("no_module", "gives int: an nn.Module was expected"),
        ("Tokens", r"gives \(2, 3, 1024\).*tokens .*return their mean, out.mean\(1\)"),
        (
            "Several",
            r"gives tuple of \[0\] \(2, 3, 32, 32\), \[1\] .*one of them, such as out\[1\]",
        ),
        ("Keyed", r"OrderedDict of \['pooled'\] \(2, 4\), \['tokens'\] .*out\['pooled'\]"),
        ("Fields", r"gives Out of .features \(2, 4, 8, 8\) .*such as out.features"),
        ("Half", r"gives \(2, 4\) of bfloat16 .*Call .float\(\) on the network, or"),
        ("InPlace", "changes the images that it is given"),
        ("Exiting", "raises SystemExit when it is called: 3"),
        ("Valueless", "parameters without values, on the device meta"),
        ("Picky", "does not take images .*TypeError: two inputs, please"),
        ("absent", "cannot be imported .*AttributeError"),
        ("Wide", "raises TypeError when it is called.*'width'. A class or function without"),
        ("one", "is a network, not a factory: name a class or function"),
    ],
)
def test_what_gives_no_features_is_refused(name, said):
    with pytest.raises(ConfigError, match=said):
        own_network(HERE + name, 32)


def test_a_network_that_is_given_out_twice_is_refused():
    own_network(HERE + "same", 32)
    with pytest.raises(ConfigError, match="the same network at each call: let it make a new one"):
        own_network(HERE + "same", 32)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("method", ["moco", "byol", "moco_v3"])
@pytest.mark.parametrize("name", ["Locked", "Hooked", "Computed"])
def test_what_cannot_be_copied_is_made_again_for_the_keys(method, name):
    sizes = {"queue_size": 8, "feature_dim": 5, "bn_splits": 2} if method == "moco" else {}
    config = PretrainConfig(method=method, backbone=HERE + name, image_size=32, **sizes)
    made = METHODS[method](config).eval()
    images = torch.randn(4, 3, 32, 32)
    assert torch.equal(made.query_encoder(images), made.key_encoder(images))
    assert not any(each.requires_grad for each in made.key_encoder.parameters())
    with torch.no_grad():
        next(made.query_encoder.backbone.parameters()).zero_()
    assert not torch.equal(made.query_encoder(images), made.key_encoder(images))
    layers = [
        {type(each) for each in one.modules()} for one in (made.query_encoder, made.key_encoder)
    ]
    assert layers[0] == layers[1]


def test_a_classifier_and_layers_that_are_not_found_are_told():
    assert "Its fc has 1000 outputs" in "\n".join(own_network(HERE + "Classifier", 32)[0].told)
    with pytest.raises(ConfigError, match=r"type OrderedDict: a name, an nn.Module or a function"):
        named(nn.Conv2d(3, 4, 3).state_dict(), 32)
    config = PretrainConfig(method="simclr", backbone=HERE + "Listed", image_size=32)
    with pytest.raises(TrainingError, match=r"no parameters: layers in a list .*ModuleList"):
        new_method(config, distributed.World(0, 1, torch.device("cpu")))


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_lazy_and_computed_weights_are_copied_after_a_call():
    network = own_nets.Computed()
    name = named(network, 32)
    made, images = name.make(), images_of(32, 2)
    torch.testing.assert_close(made.eval()(images), network.eval()(images))
    assert own_network(name, 32)[1] == 4


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_a_torchscript_program_is_refused():
    program = torch.jit.script(nn.Conv2d(3, 4, 4, 4))
    with pytest.raises(ConfigError, match="TorchScript program"):
        own_network(named(program, 32), 32)


def test_names_are_checked_before_anything_is_imported(tmp_path, monkeypatch):
    for wrong in ("a:b:c", "my nets:make", "timmm:", ":make"):
        with pytest.raises(ConfigError, match="py:factory was expected"):
            PretrainConfig(backbone=wrong)
    monkeypatch.chdir(tmp_path)
    assert PretrainConfig(backbone="nets.py:make").backbone == f"{tmp_path}/nets.py:make"
    with pytest.raises(ConfigError, match=r"FileNotFoundError.*fastneg import RUN NEW"):
        own_network(f"{tmp_path}/nets.py:make", 32)


def test_a_class_that_makes_the_same_network_is_its_name():
    lazy = own_nets.Small()
    assert named(lazy, 32) == HERE + "Small" and named(own_nets.Small, 32) == HERE + "Small"
    assert named("resnet18", 32) == "resnet18"
    compiled = torch.compile(own_nets.Small())
    assert named(compiled, 32) == named(nn.DataParallel(own_nets.Small()), 32) == HERE + "Small"
    # the class alone would make another one
    assert named(own_nets.Wide(4), 32) == "object:helpers.own_nets.Wide"
    assert named(own_nets.Scaled(2.0), 32) == "object:helpers.own_nets.Scaled"
    assert named(lambda: own_nets.Wide(4), 32).startswith("object:")
    assert named(own_nets.Dropping(), 32) == HERE + "Dropping"
    assert named(own_nets.Dropping(0.5), 32) == "object:helpers.own_nets.Dropping"
    frozen = own_nets.Small()
    frozen.body[0].requires_grad_(False)
    assert named(frozen, 32) == "object:helpers.own_nets.Small"
    with pytest.raises(ConfigError, match="Module or a function"):
        named(3, 32)


def test_what_was_given_is_a_text_everywhere_else():
    given = named(own_nets.Wide(4), 32)
    config = PretrainConfig(backbone=given)
    assert config.replace(lr=0.1).backbone is given and isinstance(given, Given)
    assert type(copy.deepcopy(given)) is str and type(config.as_dict()["backbone"]) is str
    assert json.dumps(config.as_dict())


def test_compilation_and_half_precision_take_it():
    encoder = Encoder(named(own_nets.Wide(6), 32), 5, 32)
    expected = encoder(images_of(32, 4))
    whole = torch.compile(encoder, backend="eager", fullgraph=True)
    torch.testing.assert_close(whole(images_of(32, 4)), expected)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(encoder(images_of(32, 4)), expected, rtol=0.1, atol=0.05)


def test_a_run_with_an_object_goes_on_when_it_is_given_again(beton, tmp_path, capsys):
    network = own_nets.Wide(6)
    began = copy.deepcopy(network.state_dict())
    result = fastneg.pretrain(beton, tmp_path / "run", backbone=network, **TINY)
    assert result.finished and rows(tmp_path / "run")[-1]["loss"] > 0
    trained = load_run(tmp_path / "run", backbone=own_nets.Wide(6)).backbone.state_dict()
    now = network.state_dict()
    assert all(torch.equal(now[name], value) for name, value in trained.items())
    assert not torch.equal(now["body.0.weight"], began["body.0.weight"])
    for command in (lambda: load_run(tmp_path / "run"), lambda: on(beton, tmp_path, "object:x.Y")):
        with pytest.raises(ConfigError, match="was given as an object"):
            command()
    assert on(beton, tmp_path, own_nets.Wide(6)).step == 15
    with pytest.raises(TrainingError, match="weights of another network"):
        on(beton, tmp_path, own_nets.Wide(7))
    with pytest.raises(CheckpointError, match="weights of another network"):
        load_run(tmp_path / "run", backbone=own_nets.Wide(7))
    # A file that makes it serves the commands.
    nets = tmp_path / "nets.py"
    nets.write_text("from helpers.own_nets import Wide\n\ndef make():\n    return Wide(6)\n")
    command = ["import", str(tmp_path / "run"), str(tmp_path / "named"), "--backbone"]
    assert main([*command, f"{nets}:make"]) == 0
    assert load_run(tmp_path / "named").config.image_size == 32
    sets = ["--train", str(beton), "--val", str(beton), "--k", "3", "--device", "cpu"]
    assert main(["knn", "--run", str(tmp_path / "named"), *sets]) == 0
    assert "kNN (k 3" in capsys.readouterr().out


def on(beton, tmp_path, backbone):
    return fastneg.pretrain(beton, tmp_path / "run", backbone=backbone, **{**TINY, "epochs": 3})


def test_a_factory_by_name_serves_every_command(beton, tmp_path, capsys):
    name = f"{own_nets.__file__}:Small"
    config = settings(beton, tmp_path / "whole", backbone=name, epochs=1)
    assert pretrain(config).finished
    state = checkpoint.load_newest(tmp_path / "whole")[1]
    assert state["config"]["backbone"] == name
    pretrain_in_two(config.replace(out=str(tmp_path / "two"), bn="none", bn_splits=None))
    assert weights(tmp_path / "two").keys() == state["method"].keys()
    run = ["--run", str(tmp_path / "whole")]
    sets = ["--train", str(beton), "--val", str(beton), "--device", "cpu", "--threads", "1"]
    assert main(["finetune", *run, *sets, "--epochs", "1", "--batch_size", "20"]) == 0
    probe = ["--mode", "features", "--epochs", "2", "--untrained", "on"]
    assert main(["linear", *run, *sets, *probe]) == 0
    assert main(["evaluate", *run, "--sets", f"own={beton}", "--device", "cpu"]) == 0
    out = str(tmp_path / "out.safetensors")
    assert main(["export", *run, "--format", "safetensors", out]) == 0
    assert main(["export", *run, "--format", "torchvision", out]) == 2
    assert "no counterpart" in capsys.readouterr().err
    again = config.replace(out=str(tmp_path / "again"), init=str(tmp_path / "whole"))
    assert pretrain(again, stop_after=1).step == 1
    assert not same_weights(tmp_path / "again", tmp_path / "whole")


@pytest.mark.gpu
def test_cuda_graphs_take_it(beton, tmp_path):
    changes = {**TINY, "device": "cuda", "epochs": 1}
    for graphs in (False, True):
        out = tmp_path / str(graphs)
        fastneg.pretrain(beton, out, backbone=HERE + "Small", cuda_graphs=graphs, **changes)
    losses = [[row["loss"] for row in rows(tmp_path / str(graphs))] for graphs in (False, True)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
