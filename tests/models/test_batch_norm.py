"""Batch normalisation of several processes against plain definitions: images gathered, permuted,
sliced; one process with everything.

Serves fastneg.methods.key_order too.
"""

import json

import pytest
import torch

from fastneg.config import ConfigError
from fastneg.errors import TrainingError
from fastneg.methods import METHODS
from fastneg.models.batch_norm import check_batch_norm
from fastneg.recipes.presets import tiny_cpu
from fastneg.training.trainer import pretrain
from helpers.pretraining import in_float64, rows, settings, weights
from helpers.processes import train

WORKER = """
import contextlib, json, os, sys, torch
from helpers.pretraining import in_float64
import torch.distributed as dist
import torch.nn.functional as F
from fastneg.models.batch_norm import SyncBatchNorm, sync_batch_norm
from fastneg.config import PretrainConfig
from fastneg.methods.key_order import Shuffled
from fastneg import distributed
from fastneg.training.signals import Signals
from fastneg.training.trainer import Trainer

torch.set_num_threads(1)
world = distributed.start("cpu")
torch.manual_seed(0)  # the same weights everywhere
S, n = world.size, 3
mine = slice(world.rank * n, (world.rank + 1) * n)

# The published procedure: gather all images, permute, slice, encode, gather the features, undo the
# permutation, slice.
images = torch.randn(S * n, 2, 4, 5, generator=torch.Generator().manual_seed(1))
images = images.to(memory_format=torch.channels_last)
norm = torch.nn.BatchNorm2d(2)
@torch.no_grad()
def encode(images):
    return norm(images).flatten(1)
for seed in range(5):
    order = torch.randperm(S * n, generator=torch.Generator().manual_seed(seed))
    published = encode(distributed.gather(images[mine], world)[order][mine])
    published = distributed.gather(published, world)[order.argsort()][mine]
    shuffled = Shuffled(order, world.device)
    moved = shuffled.there(images[mine])
    assert moved.is_contiguous(memory_format=torch.channels_last)
    pixels = lambda images: {tuple(each.flatten().tolist()) for each in images}
    assert pixels(moved) == pixels(images[order][mine])
    torch.testing.assert_close(shuffled.back(encode(moved)), published)

# Synchronised: one layer that sees everything. Each process has the mean loss of its own part, as
# in training.
for shape in ((5, 3), ()):
    everything = torch.randn(S * n, 4, *shape, generator=torch.Generator().manual_seed(2)) * 3 + 7
    target = torch.randn(S * n, 4, *shape, generator=torch.Generator().manual_seed(3))
    plain = (torch.nn.BatchNorm2d if shape else torch.nn.BatchNorm1d)(4)
    torch.nn.init.uniform_(plain.weight), torch.nn.init.uniform_(plain.bias)
    ours = torch.nn.Sequential(type(plain)(4))
    ours[0].load_state_dict(plain.state_dict())
    assert sync_batch_norm(ours) == 1 and type(ours[0]) is SyncBatchNorm
    expected, given = everything.clone().requires_grad_(), everything[mine].clone().requires_grad_()
    whole, part = plain(expected), ours(given)
    torch.testing.assert_close(part, whole[mine])
    (whole * target).square().mean().backward()
    (part * target[mine]).square().mean().backward()
    torch.testing.assert_close(given.grad / S, expected.grad[mine])
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(distributed.average(one.grad, world), other.grad)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours[0].state_dict()[name], value)
    torch.testing.assert_close(ours.eval()(given), plain.eval()(expected)[mine])

for config in json.load(open(sys.argv[1] + ".json")):
    config = PretrainConfig(**config)
    with in_float64(), Signals() as signals, contextlib.ExitStack() as stack:
        assert Trainer(config, world, stack).run(signals).finished
if world.first:
    torch.save({}, sys.argv[1])
distributed.stop()
threads = [open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")]
# the trainer has let go of the group
assert not [name for name in threads if "gloo" in name], threads
"""


@pytest.mark.parametrize("processes", [4])
def test_processes_that_exchange_or_synchronise_do_what_one_does(beton, tmp_path, processes):
    """Trained by the trainer: `shuffle` in S processes is `split` in S groups of one process;
    `sync` is `none` in one."""
    # Without non-semantic negatives, whose patches each process draws for itself.
    plain = {"epochs": 1, "negatives": "none", "bn_splits": None, "backbone": "vgg_tiny"}
    many = {
        name: settings(beton, tmp_path / name, bn=name, **plain) for name in ("shuffle", "sync")
    }
    many["compressed"] = many["sync"].replace(
        out=str(tmp_path / "compressed"), compress_gradients=True
    )
    one = {
        "shuffle": settings(
            beton, tmp_path / "split", **{**plain, "bn": "split", "bn_splits": processes}
        ),
        "sync": settings(beton, tmp_path / "none", bn="none", **plain),
    }
    (tmp_path / f"{processes}.pt.json").write_text(
        json.dumps([config.as_dict() for config in many.values()])
    )
    train(tmp_path, processes, WORKER)
    for name, config in one.items():
        with in_float64():
            assert pretrain(config).finished
        ours, theirs = (
            rows(tmp_path / name),
            rows(tmp_path / {"shuffle": "split", "sync": "none"}[name]),
        )
        for mine, other in zip(ours, theirs, strict=True):
            assert (
                mine["loss"] == pytest.approx(other["loss"], rel=1e-6)
                and mine["acc5"] == other["acc5"]
            )
        reference = weights(tmp_path / {"shuffle": "split", "sync": "none"}[name])
        for key, value in weights(tmp_path / name).items():
            # The running statistics of `shuffle` are those of the first process, of `split` the
            # mean over the groups.
            if isinstance(value, torch.Tensor) and (name == "sync" or "running" not in key):
                torch.testing.assert_close(
                    value, reference[key], rtol=1e-9, atol=1e-9, msg=f"{name}: {key}"
                )
    for rounded, exact in zip(rows(tmp_path / "compressed"), rows(tmp_path / "sync"), strict=True):
        assert rounded["loss"] == pytest.approx(exact["loss"], rel=2e-2)
    assert rows(tmp_path / "compressed")[-1]["loss"] != rows(tmp_path / "sync")[-1]["loss"]


@pytest.mark.parametrize(
    ("method", "said"), [("byol", "acts on that of the heads alone"), ("simclr", "has no effect")]
)
def test_what_sync_does_beside_a_backbone_without_batch_norm_is_said(method, said):
    config = tiny_cpu().replace(method=method, bn="sync", backbone="helpers.own_nets:Tied")
    (line,) = check_batch_norm(METHODS[method](config), config)
    assert said in line


def test_what_one_process_cannot_do_is_refused(beton, tmp_path):
    for bn in ("shuffle", "sync"):
        with pytest.raises(TrainingError, match=f"--bn {bn} needs several processes"):
            pretrain(settings(beton, tmp_path / "run", bn=bn, bn_splits=None))
    for changes in ({"negatives": "none"}, {"bn": "sync", "bn_splits": None}):
        with pytest.raises(ConfigError, match="--key_pass is batched, but"):
            settings(beton, tmp_path / "run", key_pass="batched", **changes)
