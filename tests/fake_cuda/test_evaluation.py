"""Evaluation on a GPU that computes nothing: the host asks it nothing batch by batch."""

import contextlib
import copy
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from unittest import mock

import pytest
import torch

from fastneg.data import BetonReader
from fastneg.data.load.labelled_loaders import EvalLoader
from fastneg.distributed import World
from fastneg.evaluation import features, finetune, linear, similarity
from fastneg.evaluation.corruptions import CORRUPTIONS, blur, corrupt, robustness
from fastneg.evaluation.corruptions.draws import Draws
from fastneg.evaluation.linear import LinearClassifier
from fastneg.kernels import host_copy
from fastneg.knn import knn_votes
from fastneg.methods import METHODS
from fastneg.training.online_knn import OnlineKnn
from helpers.fake_cuda import HOST
from helpers.fake_cuda_training import OneBlock, on_fake_gpu
from helpers.pretraining import settings

GPU = torch.device("cuda", 0)
ASKING = {
    "spatter": 4,  # whether its edges still grow, each 32 pixels; once with values that are all 0
    "jpeg_compression": 2,  # Pillow has the pixels: there and back
}
"""Corruptions that cannot do without the host, and how often they may ask or be answered."""


def asked(run):
    """How often the host asked the fake GPU within run()."""
    before = HOST.asks
    run()
    return HOST.asks - before


@pytest.fixture
def gpu():
    with on_fake_gpu() as state:
        yield state


@contextlib.contextmanager
def loader_of(images, samples, **options):
    """An `EvalLoader` of the first images, two a batch."""
    with BetonReader(images) as reader:
        loader = EvalLoader(reader, 2, 32, device=GPU, threads=1, samples=range(samples), **options)
        with contextlib.closing(loader):
            yield loader


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_asks_the_gpu_nothing(name, severity, gpu):
    """From the second batch on: its tables are on the device then."""
    images = torch.rand(2, 3, 64, 64, device=GPU)
    run = lambda: corrupt(images, name, severity, range(2), trusted=True)
    assert run().device == GPU
    assert asked(run) <= ASKING.get(name, 0)


JPEG = CORRUPTIONS["jpeg_compression"]


def one_by_one(images, *constants):
    return torch.cat([JPEG.function(image, *constants) for image in images.split(1)])


OLD_WAYS = {
    "motion_blur": lambda patch: patch.setattr(
        Draws, "host_uniform", lambda self, *bounds: self.uniform(*bounds).cpu().numpy()
    ),
    "snow": lambda patch: patch.setattr(
        Draws, "host_uniform", lambda self, *bounds: self.uniform(*bounds).cpu().numpy()
    ),
    "frost": lambda patch: patch.setattr(
        Draws, "host_integers", lambda self, *sizes: self.integers(*sizes).cpu().numpy()
    ),
    "glass_blur": lambda patch: patch.setattr(
        blur, "shuffle_sources", lambda down, *_: down.flatten(1) * bool(down.any())
    ),
    "shot_noise": lambda patch: patch.setattr(
        "fastneg.evaluation.corruptions.noise.table",
        lambda make, device, *key: [each.to(device) for each in make(*key)],
    ),
    "jpeg_compression": lambda patch: patch.setitem(
        CORRUPTIONS, "jpeg_compression", replace(JPEG, function=one_by_one)
    ),
}


@pytest.mark.parametrize("name", OLD_WAYS)
def test_a_corruption_that_asks_again_is_found(name, gpu, monkeypatch):
    OLD_WAYS[name](monkeypatch)
    images = torch.rand(2, 3, 64, 64, device=GPU)
    run = lambda: corrupt(images, name, 3, range(2), trusted=True)
    run()
    assert asked(run) > ASKING.get(name, 0)


def extraction(images, samples):
    backbone = OneBlock().to(GPU).eval()
    with loader_of(images, samples) as loader:
        found = features.extract_features(backbone, loader, GPU, autocast=True)
    assert found.features.shape == (samples, OneBlock.features)
    assert found.features.device.type == "cpu"


def until_the_last(batches, ends):
    """The batches of a loader; behind them the host may wait, which `ends` undoes."""
    yield from batches
    ends.enter_context(HOST.may_wait(True))


def test_features_come_without_a_wait_but_for_the_last(gpu, images):
    backbone = OneBlock().to(GPU).eval()
    with loader_of(images, 20) as loader, HOST.may_wait(False), contextlib.ExitStack() as ends:
        batches = until_the_last(loader, ends)
        found = features.extract_features(backbone, batches, GPU, autocast=True)
    assert found.index.tolist() == list(range(20))


def test_features_that_are_fetched_batch_by_batch_are_found(gpu, images, monkeypatch):
    def fetched(self, rows):
        self._rows, self._copied = rows.cpu(), None

    monkeypatch.setattr(host_copy.LateCopy, "__init__", fetched)
    assert asked(lambda: extraction(images, 16)) >= asked(lambda: extraction(images, 8)) + 4


def neighbours(queries):
    voters = torch.rand(32, 8, device=GPU)
    labels = torch.zeros(32, dtype=torch.int64)
    knn_votes(torch.rand(queries, 8, device=GPU), voters, labels, 3, 4, 0.1, GPU, blocks=(4, 8))


def test_neighbours_are_asked_once_however_many_blocks(gpu, monkeypatch):
    assert asked(lambda: neighbours(4)) == asked(lambda: neighbours(64))
    fetched = lambda parts: torch.cat([rows.cpu() for rows in parts])
    monkeypatch.setattr("fastneg.knn.joined_later", fetched)
    assert asked(lambda: neighbours(64)) >= asked(lambda: neighbours(4)) + 15


def test_the_knn_of_a_training_waits_for_its_figures_alone(gpu, images, tmp_path, monkeypatch):
    counts = []
    for batch in (8, 128):
        monkeypatch.setattr("fastneg.training.online_knn.BATCH", batch)
        backbone = OneBlock().to(GPU)
        config = settings(images, tmp_path, device="cuda", knn_every=1)
        with contextlib.ExitStack() as stack:
            reader = stack.enter_context(BetonReader(images))
            knn = OnlineKnn(config, reader, World(0, 1, GPU), 1, stack)
            ask = partial(knn._features, backbone, reader, knn._voting, True, lambda: False)
            counts.append(asked(ask))
    assert counts[0] == counts[1] == 0


def hits(images, samples):
    loaded = SimpleNamespace(
        backbone=OneBlock().to(GPU).eval(), config=settings(images, "run", device="cuda")
    )
    head, labels = LinearClassifier(OneBlock.features, 2).to(GPU), torch.arange(128) % 2
    with loader_of(images, samples) as loader:
        found, each = robustness._hits(
            loader, loaded, head, labels, torch.arange(2), ["contrast", "motion_blur"]
        )
    assert len(found) == 10 and len(each) == 128


def test_hits_under_corruptions_are_counted_on_the_device(gpu, images):
    hits(images, 4)  # its tables are on the device then
    assert asked(lambda: hits(images, 4)) == asked(lambda: hits(images, 16))


def test_a_probe_and_fine_tuning_take_crops_without_a_wait(gpu, images):
    backbone = OneBlock().to(GPU).eval()
    loaded = SimpleNamespace(
        backbone=backbone,
        backbone_copy=lambda: copy.deepcopy(backbone),
        config=settings(images, "run", device="cuda"),
        feature_dim=OneBlock.features,
        digest="",
    )
    labels, counts = torch.arange(128) % 2, []
    options = {"epochs": 1, "lr": 0.1, "weight_decay": 0.0, "device": GPU, "threads": 1}
    with (
        BetonReader(images) as reader,
        mock.patch.object(linear, "weights_digest", return_value=""),
    ):
        for batch in (64, 8):
            size = {"batch_size": batch, "report": lambda text: None}
            probe = lambda size=size: linear.train_on_crops(
                loaded, reader, labels, 2, **options, **size
            )
            tune = lambda size=size: finetune.fine_tune(
                loaded, reader, labels, 2, head_lr=0.1, **options, **size
            )
            counts.append((asked(probe), asked(tune)))
    assert counts[0] == counts[1]


def test_similarities_are_counted_on_the_device(gpu, images):
    config = similarity.settings_for(
        settings(images, "run", device="cuda"), ("patch", "texture"), False, lambda text: None
    )
    method = METHODS[config.method](config).eval().requires_grad_(False).to(GPU)
    with BetonReader(images) as reader:
        loader = similarity._loader(reader, config, GPU, 1)
        found = similarity._Distributions()
        with contextlib.closing(loader), HOST.may_wait(False):
            batches = loader.epoch(0)
            for count, each in similarity._similarities(
                batches, method, config, ("patch", "texture"), GPU
            ):
                found.add(count, each)
    assert found.images == 128
