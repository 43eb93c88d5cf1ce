"""The base of all loaders: reads ahead, feeds the pipeline from a thread, returns its tensors, and
continues after bad samples.

Who waits for whom: the consumer waits for the thread's next batch (`Producer`, two batches ahead).
The thread waits for DALI's outputs, of the older of two batches that it has fed. On a GPU the
outputs are copied on a stream of the thread's own: the consumer's stream waits for the event behind
the copies, the consumer's thread does not. The feeding thread waits for the copies of the batch
before, which are long done.

Who owns which memory: the encoded bytes are the file's mapping, which DALI reads in place, so they
are kept until the outputs are there (`pending`). The outputs are DALI's, which writes another batch
into them once nobody refers to them: the CPU's tensors refer to them, the GPU's are copies.
"""

from __future__ import annotations

import os
from collections import deque
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from fastneg.config import IMAGENET
from fastneg.data.beton.format import TEXTURE_FIELD
from fastneg.data.errors import BetonError
from fastneg.data.load.batch import Request
from fastneg.data.load.cached import CachedImages
from fastneg.data.load.handle import Handle, device_of, whole
from fastneg.data.load.pipeline import PREFETCH_QUEUE_DEPTH, build_pipeline, decoder_hints
from fastneg.data.load.producer import Producer
from fastneg.data.load.quarantine import Quarantine, SampleChecks, wrong_size
from fastneg.kernels.augment import augment

BATCHES_AHEAD = 2
"""Batches that are ready before the consumer asks; also the least that DALI is fed before it is
asked for one."""
WAIT_S = 300.0
"""A batch that takes longer than this is a hang: the wait ends with an error that says what it
waited for."""


class Made(NamedTuple):
    """One batch as it comes from the pipeline."""

    request: Request
    tensors: list
    """(N, 3, H, W) channels_last, for each view."""
    ready: object
    """A CUDA event that the tensors are ready after; None on the CPU."""


class FeedingLoader(Handle):
    """Feeds a pipeline from a thread, so that reading, drawing and decoding hide behind the
    consumer's work.

    A loader says what the batch at a place, (epoch, iteration), is made of (`_request`). A batch
    with a sample that cannot be used is made again, from its place, with another in its stead.

    Args:
        reader: `BetonReader` or `BetonSet`.
        order: `EpochOrder`.
        views, augment, textures, patches: as of `build_pipeline`.
        normalise: False takes the windows from the pipeline as they are resized, uint8.
        device: "cpu", or "cuda" for decoding and augmenting there (float16 views).
        threads: decoding threads; 0 takes all cores.
        hw_decoder_load, interpolation, prefetch_queue_depth: as of `build_pipeline`.
        normalisation: `Normalisation` of the views.
        check_crc: compare each sample with its checksum; one that differs is a bad one.
        max_bad_share: the share of the data set that may be bad.
        quarantine: {index: reason} of samples that are known to be bad.
        cache: "device" decodes all images once and keeps them on the device, where views are cut
            from them without DALI; None decodes each when it is due.
    Raises:
        BetonError: the file holds no textures or no checksums, which are needed; with a cache, its
            images differ in size or do not fit. While iterating: more samples are bad than may be
            (with a cache: at once). TimeoutError, then: a batch took longer than `WAIT_S`.
    """

    def __init__(
        self,
        reader,
        order,
        *,
        views,
        augment,
        textures=False,
        patches=False,
        normalise=True,
        device="cpu",
        threads=0,
        hw_decoder_load=None,
        prefetch_queue_depth=PREFETCH_QUEUE_DEPTH,
        interpolation="bilinear",
        normalisation=IMAGENET,
        check_crc=False,
        max_bad_share=0.0,
        quarantine=None,
        cache=None,
    ):
        whole("threads", threads, 0)
        self.reader, self.order, self._textures = reader, order, textures
        self._normalisation = normalisation
        self.device, self._stream = device_of(device), None
        if self.device.type == "cuda":
            if self.device.index is None:
                self.device = torch.device("cuda", torch.cuda.current_device())
            self._stream = torch.cuda.Stream(self.device)
        self._checks = SampleChecks(reader, textures, check_crc, self.device)
        self.quarantine = dict(quarantine or {})
        """{index: reason} of the bad samples met in the batches that were handed out."""
        self._quarantine = Quarantine(reader, max_bad_share, quarantine)  # of the thread, ahead
        self._running, self._process, self._closed = None, os.getpid(), False
        self._pipe = self._held = self._cached = None
        if cache is not None:
            self._cached = CachedImages(reader, self.device, self._checks, threads=threads)
            self._quarantine.add(self._cached.bad)
            if self._stream is not None:
                # on which they are read, after they were written on this one
                self._stream.wait_stream(torch.cuda.current_stream(self.device))
                self._cached.record_stream(self._stream)
            return
        self._build = partial(
            build_pipeline,
            order.local_batch_size,
            views=views,
            augment=augment,
            textures=textures,
            patches=patches,
            device=self.device,
            threads=threads,
            hw_decoder_load=hw_decoder_load,
            hints=decoder_hints(reader, self._checks.fields, order.local_batch_size),
            prefetch_queue_depth=prefetch_queue_depth,
            interpolation=interpolation,
            normalisation=normalisation if normalise else None,
        )
        self._pipe = self._build()
        self._fed_ahead = max(BATCHES_AHEAD, prefetch_queue_depth)

    def _request(self, place):
        raise NotImplementedError

    def __len__(self) -> int:
        return self.order.iterations

    def _run(self, epoch, start=0):
        """Yield (request, tensors) for each batch of an epoch, from iteration `start` on."""
        if self._closed:
            raise RuntimeError(f"The loader of {self.reader.path} is closed: open another.")
        if os.getpid() != self._process:
            raise RuntimeError(
                f"The loader of {self.reader.path} was opened in process {self._process} and its "
                f"threads do not exist in this process, {os.getpid()}: open a loader in each "
                "process."
            )
        if self._running is not None:
            self._running.close()
        self._begin_pass(epoch, start)
        what = f"the next batch of {self.reader.path}"
        running = Producer(self._made(epoch, start), WAIT_S, what, BATCHES_AHEAD)
        self._running = running
        for iteration, (request, tensors, ready) in enumerate(running, start):
            if ready is not None:
                consumer = torch.cuda.current_stream(self.device)
                consumer.wait_event(ready)
                sources = [] if request.sources is None else [request.sources]
                for each in [*tensors, *sources]:
                    each.record_stream(consumer)
            self.quarantine.update(request.replaced)
            self._at = epoch, iteration + 1
            yield request, tensors
            # Its thread has ended: the next batch would be waited for in vain.
            if self._running is not running and iteration + 1 < len(self):
                raise self._cut_short()

    # In the thread

    def _made(self, epoch, start):
        """The `Made` batches of an epoch."""
        if self._stream is not None:
            # A thread begins on the first GPU: whatever it did there would take memory of that.
            torch.cuda.set_device(self.device)
        produce = self._produce if self._cached is None else self._produce_cached
        yield from produce(epoch, start)

    def _produce(self, epoch, start):
        # (place, request, encoded, encoded textures) of batches that the pipeline works on
        pending = deque()
        try:
            for iteration in range(start, len(self)):
                ahead = self.order.ahead(epoch, iteration, first=iteration == start)
                self.reader.will_need(ahead)
                if self._textures:
                    self.reader.will_need(ahead, TEXTURE_FIELD)
                self._feed(pending, (epoch, iteration))
                if len(pending) == self._fed_ahead:
                    yield self._take(pending)
            while pending:
                yield self._take(pending)
        finally:
            self._let_go()
            # an epoch that was left early, or a pipeline that failed: what was begun must not come
            # out in the next
            if pending:
                self._drain(pending)

    def _produce_cached(self, epoch, start):
        for iteration in range(start, len(self)):
            request = self._request((epoch, iteration))
            views = partial(self._cached.views, request, self._dtype(), self._normalisation)
            yield self._ready(request, views)

    def _feed(self, pending, place):
        request = self._request(place)
        # A replacement may be bad too; each round knows more bad samples than the one before.
        while bad := self._checks.refused(request.index):
            self._quarantine.add(bad)
            request = self._request(place)
        encoded = [self.reader.encoded(int(i)) for i in request.index]
        paired = request.index if self._textures else ()
        textures = [self.reader.encoded(int(i), TEXTURE_FIELD) for i in paired]
        size = np.full((len(encoded), 2), request.size, np.float32)
        inputs = {"encoded": encoded, "size": size, **(request.patches or {})}
        if textures:
            inputs["encoded_texture"] = textures
        for number, view in enumerate(request.views):
            inputs |= {f"{name}{number}": values for name, values in view.items()}
        self._pipe.run(inputs)
        # DALI reads these bytes in place: they must live until the outputs are there
        pending.append((place, request, encoded, textures))

    def _take(self, pending):
        while True:
            request = pending[0][1]
            try:
                shapes, *outputs = self._pipe.outputs()
            except RuntimeError as error:
                # DALI does not say of which batch: all that it works on are tried
                bad = {}
                for _, *fed in pending:
                    bad.update(self._checks.undecodable(*fed))
                self._mend(pending, bad, error)
                continue
            wrong = {
                int(index): reason
                for index, shape in zip(request.index, shapes.as_array(), strict=True)
                if (reason := wrong_size(shape, self.reader.sizes[index]))
            }
            if wrong:
                self._mend(pending, wrong, None)
                continue
            pending.popleft()
            return self._handed(request, outputs)

    def _handed(self, request, outputs):
        # DALI takes a tensor's memory back when the last reference goes, not when the last kernel
        # has read it: a copy owns itself, and the outputs are held until it is made.
        made = self._ready(request, lambda: self._views(request, outputs))
        self._let_go()
        if made.ready is not None:
            self._held = (made.ready, outputs)
        return made

    def _ready(self, request, make):
        """The batch of the tensors that `make` makes, on the loader's stream where it has one."""
        if self._stream is None:
            return Made(request, make(), None)
        with torch.cuda.stream(self._stream):
            tensors = make()
            if request.sources is not None:
                request = request._replace(sources=request.sources.to(self.device))
            ready = torch.cuda.Event()
            ready.record(self._stream)
        return Made(request, tensors, ready)

    def _let_go(self):
        """Give DALI the outputs back that were copied last: long done, if a batch was decoded
        since."""
        if self._held is not None:
            self._held[0].synchronize()
            self._held = None

    def _dtype(self):
        """Of the views."""
        return torch.float32 if self._stream is None else torch.float16

    def _views(self, request, outputs):
        tensors = [_tensor(output) for output in outputs]
        views, patches = tensors[: len(request.views)], tensors[len(request.views) :]
        if self._stream is not None:
            patches = [patch.clone(memory_format=torch.channels_last) for patch in patches]
        if request.params is not None:
            params = [one.to(self.device) for one in request.params]
            options = {"dtype": self._dtype(), "max_sigma": request.max_sigma}
            options |= self._normalisation._asdict()
            views = [augment(view, one, **options) for view, one in zip(views, params, strict=True)]
        elif self._stream is not None:
            views = [view.clone(memory_format=torch.channels_last) for view in views]
        return views + patches

    def _mend(self, pending, bad, error):
        """Quarantine the bad samples and begin the pending batches anew; a pipeline that failed is
        dead, so there is a new one."""
        if not bad:
            first = pending[0][1].index[0]
            pending.clear()
            self._pipe = self._build()
            raise BetonError(
                f"DALI could not make the batch with samples {first} … of {self.reader.path}: "
                f"{error}"
            ) from error
        places = [place for place, *_ in pending]
        pending.clear()
        self._pipe = self._build()
        self._quarantine.add(bad)
        for place in places:
            self._feed(pending, place)

    def _drain(self, pending):
        try:
            for _ in range(len(pending)):
                self._pipe.outputs()
        except RuntimeError:
            self._pipe = self._build()
        pending.clear()

    def _label(self, index):
        return None if self.reader.labels is None else torch.from_numpy(self.reader.labels[index])

    def close(self) -> None:
        """Stop the feeding thread, and let go of a file that the loader opened; it cannot be used
        afterwards."""
        if self._running is not None and os.getpid() == self._process:
            self._running.close()
        self._pipe = self._running = self._cached = None
        self._closed = True
        self._close_file()


def _tensor(output):
    """(N, 3, H, W) channels_last, in DALI's memory."""
    return torch.from_dlpack(output.as_tensor()).permute(0, 3, 1, 2)
