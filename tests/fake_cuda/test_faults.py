"""The fake GPU finds each fault that training on a GPU had, or might have, when it is put back."""

import contextlib

import pytest
import torch
import torch.distributed as dist

from fastneg import distributed
from fastneg.data.load import batch as load_batch
from fastneg.data.load import feeding
from fastneg.data.load.train_loader import TrainLoader
from fastneg.methods import key_order, moco_torch
from fastneg.methods.alpha import Alphas
from fastneg.models.graphs import GraphedPass
from fastneg.runs import checkpoint, checkpoint_writer
from fastneg.training import build, optim
from fastneg.training.trainer import Trainer
from helpers.fake_cuda_ranks import process, refuse_different
from helpers.fake_cuda_streams import HOST, Entry, Fault, Stream
from helpers.fake_cuda_training import on_fake_gpu, steps
from helpers.pretraining import settings

PAGEABLE = lambda tensor, device: tensor.to(device)
TEXTURE = {"negatives": "texture"}
NOBODY = property(lambda self: set(), lambda self, value: None)


def sources_in_the_step(patch):
    """The rest of the textures' sources is copied by the consumer, from pageable memory."""
    plain = TrainLoader.epoch
    patch.setattr(load_batch.TextureSources, "to", lambda self, device: self)

    def epoch(self, *args):
        for batch in plain(self, *args):
            rest = batch.texture_sources
            rest = rest._replace(window=rest.window.to(self.device))
            yield batch._replace(texture_sources=rest)

    patch.setattr(TrainLoader, "epoch", epoch)
    patch.setattr(load_batch.TextureSources, "record_stream", lambda self, stream: None)


def any_shape(patch):
    def compile_any(networks, sizes):
        [network.compile() for network in networks if network is not None]

    patch.setattr(build, "compile_static", compile_any)


def thread_on_the_first_gpu(patch):
    patch.setattr(
        feeding.FeedingLoader, "_made", lambda self, epoch, start: self._produce(epoch, start)
    )


def views_of_dali(patch):
    patch.setattr(torch.Tensor, "clone", lambda self, **options: self)


def nothing_tried(patch):
    kind = type(torch.backends.cudnn)
    patch.setattr(kind, "benchmark", property(lambda self: False, lambda self, value: None))


def last_copies_not_awaited(patch):
    patch.setattr(feeding.FeedingLoader, "_let_go", lambda self: setattr(self, "_held", None))


def one_ask(patch):
    plain = Trainer.draw

    def draw(self, batch):
        batch.query.sum().item()
        return plain(self, batch)

    patch.setattr(Trainer, "draw", draw)


def condition_on_the_device(patch):
    plain = optim.GuardedSGD.prepare
    patch.setattr(optim.GuardedSGD, "prepare", lambda self: plain(self) if self.bad == 0 else None)


def rows_by_a_mask(patch):
    plain = moco_torch.enqueue
    patch.setattr(
        moco_torch,
        "enqueue",
        lambda queue, keys, at: plain(queue, keys[keys.isfinite().all(1)], at),
    )


def scales_from_the_host(patch):
    patch.setattr(
        Alphas,
        "scaled",
        lambda self, values: values * torch.tensor(self.values, device=values.device),
    )


def on_the_wrong_device(patch):
    patch.setattr(
        Alphas, "scaled", lambda self, values: values * torch.tensor(self.values).repeat(2)[:1]
    )


def generator_of_the_cpu(patch):
    plain = Trainer.__init__

    def init(self, *args):
        plain(self, *args)
        self.draws = torch.Generator()

    patch.setattr(Trainer, "__init__", init)


def graph_on_a_stream_of_its_own(patch):
    """The recording's stream does not wait for the one that made its input."""
    patch.setattr(Stream, "wait_stream", lambda self, other: None)


def copies_while_recording(patch):
    plain = GraphedPass._graph
    sent = lambda: torch.ones(1).pin_memory().to("cuda", non_blocking=True)
    odd = lambda run: lambda: run() * sent()
    patch.setattr(GraphedPass, "_graph", lambda self, run, device: plain(self, odd(run), device))


FAULTS = {
    # name: (the rule that finds it, changes of the settings, how it is put back)
    "textures pageable": (
        "host waits",
        TEXTURE,
        lambda patch: patch.setattr(load_batch, "to_device", PAGEABLE),
    ),
    "queue in float32": (
        "queue",
        {},
        lambda patch: patch.setattr(moco_torch, "half_of_autocast", lambda device: None),
    ),
    "textures pageable in the step": ("host waits", TEXTURE, sources_in_the_step),
    "augmentation's numbers pageable": (
        "host waits",
        {"augment_with": "kernel"},
        lambda patch: patch.setattr("fastneg.kernels.augment.to_device", PAGEABLE),
    ),
    "orders pageable": (
        "host waits",
        {},
        lambda patch: patch.setattr(key_order, "to_device", PAGEABLE),
    ),
    "orders pinned and awaited": (
        "host waits",
        {},
        lambda patch: patch.setattr(
            key_order, "to_device", lambda tensor, device: tensor.pin_memory().to(device)
        ),
    ),
    "graphs of any shape": ("compile", {"compile": True}, any_shape),
    "thread on the first GPU": ("thread", {}, thread_on_the_first_gpu),
    "one batch in DALI": ("prefetch", {"prefetch_queue_depth": 1}, lambda patch: None),
    "cudnn tries nothing": ("cudnn", {}, nothing_tried),
    "views in DALI's memory": ("lent", {}, views_of_dali),
    "last copies not awaited": ("lent", {}, last_copies_not_awaited),
    "consumer does not wait for the copies": (
        "stream",
        {},
        lambda patch: patch.setattr(Stream, "wait_event", lambda self, event: None),
    ),
    "memory not kept for the consumer": (
        "record_stream",
        {},
        lambda patch: patch.setattr(Entry, "recorded", NOBODY, raising=False),
    ),
    "a value is read": ("host waits", {}, one_ask),
    "a condition is read": ("host waits", {}, condition_on_the_device),
    "rows by a mask": ("host waits", {}, rows_by_a_mask),
    "scales from the host": ("host waits", {}, scales_from_the_host),
    "a tensor on the CPU": ("device", {}, on_the_wrong_device),
    "generator of the CPU": ("device", {}, generator_of_the_cpu),
    "recording does not wait": ("stream", {"cuda_graphs": True}, graph_on_a_stream_of_its_own),
    "copies while recording": ("capture", {"cuda_graphs": True}, copies_while_recording),
}


def a_step_on_gpu_3(images, folder, **changes):
    """Three steps of a process whose GPU is not the first one."""
    config = settings(images, folder / "run", device="cuda", bn_splits=2, **changes)
    world = distributed.World(0, 1, torch.device("cuda", 3))
    with on_fake_gpu() as state:
        steps(config, state, number=3, world=world)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_is_put_back_is_found(name, images, tmp_path, monkeypatch):
    kind, changes, put_back = FAULTS[name]
    put_back(monkeypatch)
    with pytest.raises(Fault) as found:
        a_step_on_gpu_3(images, tmp_path, **changes)
    monkeypatch.undo()
    assert found.value.kind == kind


def test_without_a_fault_nothing_is_found(images, tmp_path):
    for number, changes in enumerate(({}, TEXTURE, {"cuda_graphs": True})):
        a_step_on_gpu_3(images, tmp_path / str(number), **changes)


def sent_by(rank, images, folder):
    config = settings(images, folder / str(rank), device="cuda", batch_size=16)
    with on_fake_gpu() as state, process(rank, 2):
        steps(config, state, rank=rank, size=2)
    return state.collectives


def test_a_collective_of_one_process_alone_is_found(images, tmp_path, monkeypatch):
    plain = Trainer.draw

    def draw(self, batch):
        if self.world.first:
            dist.all_reduce(torch.zeros(3, device=self.device))
        return plain(self, batch)

    monkeypatch.setattr(Trainer, "draw", draw)
    with pytest.raises(Fault, match="allreduce"):
        refuse_different({rank: sent_by(rank, images, tmp_path) for rank in range(2)})


def test_a_checkpoint_is_copied_without_a_wait(images, tmp_path, monkeypatch):
    """The step waits for nothing, the thread for the copies, on its own GPU; and memory that is not
    pinned is found."""
    written, plain = [], Trainer._write

    def save(folder, **changes):
        config = settings(images, folder, device="cuda", bn_splits=2, **changes)
        world = distributed.World(0, 1, torch.device("cuda", 3))
        with on_fake_gpu(), contextlib.ExitStack() as stack:
            torch.cuda.set_device(world.device)
            run = Trainer(config, world, stack)
            with HOST.may_wait(False):
                run.save()
            run.writer.wait()

    def write(self, step, state):
        written.append((HOST.device, state))
        plain(self, step, state)

    monkeypatch.setattr(Trainer, "_write", write)
    save(tmp_path / "pinned")
    ((device, state),) = written
    assert device == 3 and type(state["method"]["queue"]) is torch.Tensor
    assert checkpoint.load_newest(tmp_path / "pinned")[1]["method"].keys() == state["method"].keys()
    pageable = lambda self, one: torch.empty(one.shape, dtype=one.dtype).copy_(one, True)
    monkeypatch.setattr(checkpoint_writer._Copies, "_copied", pageable)
    with pytest.raises(Fault, match="pageable"):
        save(tmp_path / "pageable")


def test_nccl_is_told_its_device(monkeypatch):
    told = []
    monkeypatch.setattr(
        distributed, "rendezvous", lambda *_, **__: iter([(dist.HashStore(), 2, 4)])
    )
    monkeypatch.setattr(distributed, "agree_on_token", lambda *_: "token")
    monkeypatch.setattr(dist, "init_process_group", lambda *args, **options: told.append(options))
    for name, value in {"WORLD_SIZE": 4, "RANK": 2, "LOCAL_RANK": 2}.items():
        monkeypatch.setenv(name, str(value))
    with on_fake_gpu():
        world = distributed.start("cuda")
    assert told[0]["device_id"] == world.device == torch.device("cuda", 2)
