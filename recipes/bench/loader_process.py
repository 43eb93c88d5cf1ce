"""A training's loader in a process of its own, as a contender of `fastneg bench step`: its batches
come through shared memory, which is pinned where they go on to a GPU.

Legend: V views, N batch, H W pixels.
"""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import os
import time
from collections import deque
from multiprocessing import reduction

import torch

from fastneg.data.beton.shards import open_data
from fastneg.data.load.batch import ViewBatch
from fastneg.training.build import train_loader

SLOTS = 3
"""Batches that the shared memory holds: one is written, one is ready, one is read."""
VIEWS = 2
WAIT_S = 300.0


class Slots:
    """Shared memory for the views of some batches, which a child process gets when it is started.

    It has no name, so that nothing is left when both are gone, and no limit of /dev/shm counts.

    Args:
        shape: (N, H, W) of a batch.
        dtype: of the views.
    """

    def __init__(self, shape, dtype, descriptor=None):
        self.shape, self.dtype = (VIEWS, *shape, 3), dtype
        size = SLOTS * torch.Size(self.shape).numel() * dtype.itemsize
        self._descriptor = os.memfd_create("fastneg") if descriptor is None else descriptor
        if descriptor is None:
            os.ftruncate(self._descriptor, size)
        self._bytes = mmap.mmap(self._descriptor, size)
        every = torch.frombuffer(self._bytes, dtype=dtype).view(SLOTS, *self.shape)
        self.views = every.permute(0, 1, 2, 5, 3, 4)
        """(SLOTS, V, N, 3, H, W), each view channels_last."""

    def pin(self):
        """Let the GPU copy from it, and to it, by itself; for good."""
        whole = self.views.untyped_storage()
        failed = torch.cuda.cudart().cudaHostRegister(whole.data_ptr(), whole.nbytes(), 0)
        if int(failed):
            raise RuntimeError(f"The shared memory cannot be pinned: CUDA error {int(failed)}.")

    def __reduce__(self):  # while a child is started
        return _received, (self.shape[1:-1], self.dtype, reduction.DupFd(self._descriptor))


def _received(shape, dtype, descriptor):
    return Slots(shape, dtype, descriptor.detach())


class ProcessLoader:
    """In a `TrainLoader`'s place: the same batches, made in another process.

    Args:
        loader: the trainer's own, which it takes the place of.
        config: `PretrainConfig` without textures.
        world: `World`.
        threads: decoding threads.
    """

    def __init__(self, loader, config, world, threads):
        self.reader, self.quarantine, self.device = loader.reader, {}, world.device
        self._length, self._cuda = len(loader), world.device.type == "cuda"
        side = config.view_size(0)
        shape = config.batch_size // world.size, side, side
        self._slots = Slots(shape, torch.float16 if self._cuda else torch.float32)
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._child = context.Process(
            target=_work, args=(config, world, threads, self._slots, theirs), daemon=True
        )
        self._child.start()
        theirs.close()
        self.child_cpu_s = 0.0
        """Processor time of the child up to its last batch."""
        self._held = deque()
        if self._cuda:
            self._stream = torch.cuda.Stream(self.device)
            self._slots.pin()

    def __len__(self):
        return self._length

    def epoch(self, epoch, start=0):
        """As of `TrainLoader`."""
        self._pipe.send((epoch, start))
        left = len(self) - start
        try:
            while left:
                slot, index, label, self.child_cpu_s = self._received()
                left -= 1
                yield self._batch(slot, index, label)
        except GeneratorExit:  # left early: what is under way must not come out in the next
            while left:
                slot, *_ = self._received()
                left -= 1
                self._pipe.send(slot)
            raise

    def _received(self):
        if not self._pipe.poll(WAIT_S):
            raise TimeoutError(f"Waited {WAIT_S:.0f} s for a batch of the loader's process.")
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise RuntimeError("The loader's process died.") from None
        if isinstance(answer, str):
            raise RuntimeError(f"The loader's process failed: {answer}")
        return answer

    def _batch(self, slot, *numbers):
        views = self._slots.views[slot]
        index, label = (None if each is None else torch.from_numpy(each) for each in numbers)
        if not self._cuda:
            query, key = (view.clone(memory_format=torch.channels_last) for view in views)
            self._pipe.send(slot)
            return ViewBatch(query, key, index, label)
        with torch.cuda.stream(self._stream):
            query, key = (view.to(self.device, non_blocking=True) for view in views)
            copied = self._stream.record_event()
        consumer = torch.cuda.current_stream(self.device)
        consumer.wait_event(copied)
        query.record_stream(consumer)
        key.record_stream(consumer)
        self._held.append((copied, slot))
        if len(self._held) == SLOTS - 1:
            copied, slot = self._held.popleft()
            copied.synchronize()
            self._pipe.send(slot)
        return ViewBatch(query, key, index, label)

    def know(self, bad):
        pass

    def close(self):
        """End the process."""
        with contextlib.suppress(OSError):
            self._pipe.send(None)
        self._pipe.close()
        self._child.join(10)
        if self._child.is_alive():
            self._child.kill()
            self._child.join()


def _work(config, world, threads, slots, pipe):
    """The child: epochs that are asked for, into the slots that are free."""
    torch.set_num_threads(1)
    if world.device.type == "cuda":
        torch.cuda.set_device(world.device)
        slots.pin()
    try:
        with open_data(config.data) as reader:
            loader = train_loader(reader, config, world, threads)
            with contextlib.closing(loader):
                _serve(loader, slots, pipe)
    except EOFError:
        return  # the parent is gone
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


def _serve(loader, slots, pipe):
    free, asked = deque(range(SLOTS)), deque()

    def told():
        """Take what the parent says: an epoch, a slot that is free, or None to end."""
        what = pipe.recv()
        (free if isinstance(what, int) else asked).append(what)

    while True:
        while not asked:
            told()
        place = asked.popleft()
        if place is None:
            return
        for batch in loader.epoch(*place):
            while not free:
                told()
            slot = free.popleft()
            for view, images in zip(slots.views[slot], (batch.query, batch.key), strict=True):
                view.copy_(images, non_blocking=True)
            if batch.query.is_cuda:
                torch.cuda.current_stream().synchronize()
            label = None if batch.label is None else batch.label.numpy()
            pipe.send((slot, batch.index.numpy(), label, time.process_time()))
