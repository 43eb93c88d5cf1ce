"""Compiled modules see static shapes only, and as many graphs as there are sizes."""

import pytest
import torch
from torch import nn

from fastneg.models import backbones
from fastneg.models.compiled import compile_static
from fastneg.training.trainer import pretrain
from helpers.fake_cuda_training import OneBlock
from helpers.pretraining import settings


class Network(nn.Module):
    """A module of its own class: torch counts graphs by code."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        return self.conv(images).mean((2, 3))


@pytest.fixture
def graphs(monkeypatch):
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


def test_each_size_has_one_graph_and_none_is_dynamic(graphs):
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
    assert all(isinstance(side, int) for shape in graphs for side in shape)
    assert sorted(shape[-1] for shape in graphs) == sorted(2 * sizes)


def test_a_run_whose_views_grow_has_one_graph_a_size(graphs, beton, tmp_path, monkeypatch):
    """Of each encoder, the query's with a gradient and the key's without, for views and negatives
    alike; and a size that comes again has the graph that it had."""
    monkeypatch.setattr(backbones, "ResNetTiny", OneBlock)
    schedule = "0:16,1:32,2:24,3:32"
    config = settings(beton, tmp_path / "run", image_size_schedule=schedule, epochs=4, compile=True)
    torch._dynamo.config.recompile_limit = 1  # the run makes room for its own sizes, and no other
    assert pretrain(config.replace(fused_bn="on", log_every=5, patch_max=12)).finished
    assert all(isinstance(side, int) for shape in graphs for side in shape)
    assert sorted(shape[-1] for shape in graphs) == [16, 16, 24, 24, 32, 32]
