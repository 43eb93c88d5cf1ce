"""Training and evaluation on the fake GPU."""

from __future__ import annotations

import contextlib
from unittest import mock

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

from fastneg.distributed import World
from fastneg.methods import moco_torch
from fastneg.models import backbones
from fastneg.training import build, step, trainer
from helpers.fake_cuda import HOST, fake_cuda
from helpers.fake_cuda_loading import fake_dali
from helpers.fake_cuda_streams import Fault

STATIC = []
"""The options of each compilation on the fake GPU."""


class OneBlock(nn.Module):
    """In place of `ResNetTiny`: every kind of layer that a ResNet has, once."""

    features = 16

    def __init__(self):
        super().__init__()
        shortcut = nn.Sequential(nn.Conv2d(8, 16, 1, 2, bias=False), nn.BatchNorm2d(16))
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        )
        self.blocks = BasicBlock(8, 16, 2, shortcut)

    def forward(self, images):
        return self.blocks(self.stem(images)).mean((2, 3))


def _queue_checked(info_nce):
    """The loss; Fault where it is given a queue of more bytes than it multiplies."""

    def checked(query, positive, negatives, **options):
        multiplied = torch.get_autocast_dtype("cuda")
        if torch.is_autocast_enabled("cuda") and negatives.dtype is not multiplied:
            raise Fault("queue", f"{negatives} is read to be multiplied as {multiplied}")
        return info_nce(query, positive, negatives, **options)

    return checked


@contextlib.contextmanager
def on_fake_gpu(tiny=OneBlock):
    """Within it training runs on the fake GPU; gives the `Device`.

    tiny: in place of `ResNetTiny`.

    Dynamo does not trace what the fake watches, so a compiled network runs as it is: that its
    graphs are static is told by the options, and tested on the CPU.
    """
    STATIC.clear()
    with fake_cuda() as state, fake_dali(state), contextlib.ExitStack() as stack:
        for target, name, substitute in (
            (backbones, "ResNetTiny", tiny),
            (nn.Module, "compile", lambda self, **options: STATIC.append(options)),
            (moco_torch, "info_nce", _queue_checked(moco_torch.info_nce)),
            # Facts of this machine, which the fake does not change, take seconds.
            (build, "environment", lambda device: {}),
            (step, "write_gallery", lambda *_: None),
        ):
            stack.enter_context(mock.patch.object(target, name, substitute))
        yield state


def steps(config, state, number=2, rank=0, size=1, world=None):
    """The statistics of so many steps of a training on GPU `rank`, of which none may wait.

    Its batches come from the loader; a line of the log follows, which may wait.
    """
    world = world or World(rank, size, torch.device("cuda", rank))
    torch.cuda.set_device(world.device)
    with contextlib.ExitStack() as stack:
        run = trainer.Trainer(config, world, stack)
        check_settings()
        run._begin()
        batches, taken = run.loader.epoch(0), []
        with contextlib.closing(batches), HOST.may_wait(False):
            for batch in batches:
                taken.append(run.train_step(batch, 0.1))
                run.meter.add(taken[-1])
                run.step += 1
                if len(taken) == number:
                    break
        run._log(0, 0.1)
        state.memory.look_for_freed()
        run.bad_samples.share(run.step)
    assert len(taken) == number
    return taken


def check_settings():
    """Fault where libraries are told less than is known."""
    if not torch.backends.cudnn.benchmark:
        raise Fault("cudnn", "every step has the same shapes, and no algorithm is tried")
    for options in STATIC:
        if options.get("dynamic") is not False:
            raise Fault("compile", f"a network is compiled with {options}: of any shape")
