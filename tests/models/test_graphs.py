"""Key passes replayed as CUDA graphs give the numbers of passes that are not; compiled modules see
static shapes only, and as many graphs as there are sizes (fastneg.models.graphs)."""

import copy

import pytest
import torch
from torch import nn

from fastneg.config import ConfigError
from fastneg.errors import TrainingError
from fastneg.methods.byol_torch import BYOL
from fastneg.models import backbones, graphs
from fastneg.models.graphs import compile_static
from fastneg.recipes.presets import tiny_cpu_byol
from fastneg.training.trainer import pretrain
from helpers.fake_cuda_training import OneBlock
from helpers.moco_method import build, views
from helpers.pretraining import rows, settings


def build_byol(**changes):
    torch.manual_seed(0)
    return BYOL(tiny_cpu_byol().replace(negatives="patch,blur", alpha=0.5, **changes))


def steps(method, sizes, device="cpu", autocast=False):
    """What some steps, of other images and other sizes of views each, give and leave behind."""
    torch.manual_seed(1)
    found = []
    for number, size in enumerate(sizes):
        query, key, negatives = (images[..., :size, :size].to(device) for images in views())
        key, query = (images.to(memory_format=torch.channels_last) for images in (key, query))
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            output = method(query, key, negatives, torch.Generator().manual_seed(number))
        found.append(output.loss.detach())
        with torch.no_grad():  # the optimizer's part
            for parameter in method.query_encoder.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape).to(device))
        method.after_step(output.keys, number / len(sizes))
    return found, method.state_dict()


BUILDS = [
    lambda **c: build(bn="split", bn_splits=2, **c),
    lambda **c: build(key_pass="batched", negatives_per_query=2, **c),
    build_byol,
]
SIZES = (32, 32, 24, 32, 24)


def compare(make, monkeypatch=None, **where):
    plain, graphed = make(), make(cuda_graphs=True)
    graphed.load_state_dict(copy.deepcopy(plain.state_dict()))
    device = where.get("device", "cpu")
    expected, state = steps(plain.to(device).train(), SIZES, **where)
    found, other = steps(graphed.to(device).train(), SIZES, **where)
    torch.testing.assert_close(found, expected)
    assert state.keys() == other.keys()
    for name, value in state.items():
        torch.testing.assert_close(other[name], value, msg=name) if isinstance(
            value, torch.Tensor
        ) else None
    return graphed


@pytest.mark.parametrize("make", BUILDS, ids=["split", "batched", "byol"])
def test_static_buffers_warm_up_and_results_leave_the_numbers_as_they_are(make, monkeypatch):
    """On the CPU, where replaying stands for running the same thing again on the same buffers."""
    recorded = []

    def graph(self, run, device):
        for _ in range(graphs.WARM_UP):
            run()
        features = run()
        recorded.append(features)
        return lambda: features.copy_(run()), features

    monkeypatch.setattr(graphs.GraphedPass, "_graph", graph)
    compare(make)
    assert len(recorded) == 2  # one for each size of views


@pytest.mark.gpu
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("make", BUILDS, ids=["split", "batched", "byol"])
def test_graphs_give_the_numbers_of_plain_passes(make, autocast):
    graphed = compare(make, device="cuda", autocast=autocast)
    assert len(graphed.graphed._recorded) == 2


@pytest.mark.gpu
def test_a_run_with_graphs_is_one_without(beton, tmp_path):

    for name, changes in (("plain", {}), ("graphed", {"cuda_graphs": True})):
        pretrain(
            settings(
                beton,
                tmp_path / name,
                device="cuda",
                epochs=2,
                image_size_schedule="0:24,1:32",
                **changes,
            )
        )
    for one, other in zip(rows(tmp_path / "graphed"), rows(tmp_path / "plain"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-2)


def test_where_there_is_nothing_to_record_it_is_refused(beton, tmp_path):
    with pytest.raises(TrainingError, match="no CUDA kernels to record on the CPU"):
        pretrain(settings(beton, tmp_path / "run", cuda_graphs=True, device="cpu"))
    simclr = {"method": "simclr", "queue_size": None, "bn_splits": None, "temperature": 0.1}
    sync = {"bn": "sync", "bn_splits": None}
    for changes, said in (
        ({"compile": True}, "--compile makes"),
        (sync, "sync a pass"),
        (simclr, "no key encoder"),
    ):
        with pytest.raises(ConfigError, match=said):
            settings(beton, tmp_path / "run", cuda_graphs=True, **changes)


class Network(nn.Module):
    """A module of its own class: torch counts graphs by code."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        return self.conv(images).mean((2, 3))


@pytest.fixture
def compiled(monkeypatch):
    """The shape of the images of each graph that is compiled; the graphs run as they are."""
    seen, plain = [], torch.compile

    def backend(graph, inputs):
        seen.append(max(tuple(each.shape)[::-1] for each in inputs if each.dim() == 4)[::-1])
        return graph.forward

    monkeypatch.setattr(
        torch, "compile", lambda *args, **options: plain(*args, **options, backend=backend)
    )
    torch._dynamo.reset()
    before = torch._dynamo.config.recompile_limit
    yield seen
    torch._dynamo.config.recompile_limit = before
    torch._dynamo.reset()


def test_each_size_has_one_graph_and_none_is_dynamic(compiled):
    """Twelve sizes are more than torch compiles by default (8)."""
    first, second = Network(), Network().requires_grad_(False)
    compile_static((first, None, second), 12)
    sizes = list(range(16, 40, 2))
    for _ in range(2):
        for size in sizes:
            images = torch.rand(2, 3, size, size)
            assert torch.allclose(first(images), first.forward(images))
            with torch.no_grad():
                second(images)
    assert all(isinstance(side, int) for shape in compiled for side in shape)
    assert sorted(shape[-1] for shape in compiled) == sorted(2 * sizes)


def test_a_run_whose_views_grow_has_one_graph_a_size(compiled, beton, tmp_path, monkeypatch):
    """Of each encoder, the query's with a gradient and the key's without, for views and negatives
    alike; and a size that comes again has the graph that it had."""
    monkeypatch.setattr(backbones, "ResNetTiny", OneBlock)
    schedule = "0:16,1:32,2:24,3:32"
    config = settings(beton, tmp_path / "run", image_size_schedule=schedule, epochs=4, compile=True)
    torch._dynamo.config.recompile_limit = 1  # the run makes room for its own sizes, and no other
    assert pretrain(config.replace(fused_bn="on", log_every=5, patch_max=12)).finished
    assert all(isinstance(side, int) for shape in compiled for side in shape)
    assert sorted(shape[-1] for shape in compiled) == [16, 16, 24, 24, 32, 32]
