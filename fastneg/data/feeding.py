"""What all loaders share: reading ahead, feeding the pipeline from a thread, taking its tensors, naming what cannot be decoded."""

from __future__ import annotations

from collections import deque

import torch

from fastneg.data.beton import BetonError
from fastneg.data.image_files import decoded_size
from fastneg.data.pipeline import build_pipeline
from fastneg.data.producer import Producer

BATCHES_AHEAD = 2
WAIT_S = 300.0
"""A batch that takes longer than this is a hang: the wait ends with an error that says what it waited for."""


class FeedingLoader:
    """Feeds a pipeline from a thread, so that reading, drawing and decoding hide behind the consumer's work."""

    def __init__(self, reader, batch_size, image_size, *, views, augment, device, threads, check_crc=False):
        self.reader = reader
        self.image_size = image_size
        self.device = torch.device(device)
        self.check_crc = check_crc
        if check_crc and reader.checksums is None:
            raise BetonError(
                f"{reader.path} holds no checksums (no crc32 field), so they cannot be checked: encode it again, or leave check_crc off."
            )
        cuda = self.device.type == "cuda"
        if cuda and self.device.index is None:
            self.device = torch.device("cuda", torch.cuda.current_device())
        self._pipe = build_pipeline(batch_size, views=views, size=image_size, augment=augment, device=self.device, threads=threads)
        self._running = None

    def _run(self, requests):
        """Yield (index, tensors) for each request, an (index, views) pair, where views are the drawn numbers of each view."""
        if self._running is not None:
            self._running.close()
        self._running = Producer(self._produce(requests), WAIT_S, f"the next batch of {self.reader.path}", BATCHES_AHEAD)
        yield from self._running

    def _produce(self, requests):
        pending = deque()
        try:
            for index, views in _announced(requests, self.reader):
                pending.append((index, self._feed(index, views)))
                if len(pending) == BATCHES_AHEAD:
                    yield self._take(pending)
            while pending:
                yield self._take(pending)
        finally:
            while pending:  # an epoch that was left early: what was begun must come out before the next one begins
                self._take(pending)

    def _feed(self, index, views):
        encoded = [self.reader.encoded(int(i)) for i in index]
        if self.check_crc:
            self._check(index)
        self._pipe.feed_input("encoded", encoded)
        for number, view in enumerate(views):
            for name, values in view.items():
                self._pipe.feed_input(f"{name}{number}", values)
        self._pipe.schedule_run()
        return encoded  # DALI reads these bytes in place: they must live until the outputs are there

    def _take(self, pending):
        index, encoded = pending.popleft()
        try:
            outputs = self._pipe.outputs()
        except RuntimeError as error:
            pending.clear()
            raise BetonError(self._explain(index, encoded, error)) from error
        tensors = [torch.from_dlpack(output.as_tensor()).permute(0, 3, 1, 2) for output in outputs]
        if self.device.type == "cuda":
            # DALI takes a tensor's memory back in the order of its own stream, not of the stream that still reads it: a copy owns itself.
            tensors = [tensor.clone(memory_format=torch.channels_last) for tensor in tensors]
        return index, tensors

    def _check(self, index):
        for i in index:
            if not self.reader.matches_checksum(i):
                raise BetonError(f"{self.reader.describe(i)} fails its checksum: the file is damaged. Run fastneg verify on it.")

    def _explain(self, index, encoded, error):
        """DALI names only a place in the batch, if at all: find the samples that cannot be decoded."""
        bad = []
        for i, data in zip(index, encoded, strict=True):
            try:
                decoded_size(data.tobytes())
            except BetonError:
                bad.append(self.reader.describe(i))
        if bad:
            listed = ", ".join(bad[:5])
            return f"{len(bad)} of {len(index)} images of a batch cannot be decoded: {listed}. Run fastneg verify on it."
        return f"DALI could not make the batch with samples {index[0]} … of {self.reader.path}: {error}"

    def _label(self, index):
        return None if self.reader.labels is None else torch.from_numpy(self.reader.labels[index])

    def close(self):
        """Stop the feeding thread; the loader cannot be used afterwards."""
        if self._running is not None:
            self._running.close()
        self._pipe = None


def _announced(requests, reader):
    """The requests, each named to the operating system while the one before is worked on."""
    previous = None
    for request in requests:
        reader.will_need(request[0])
        if previous is not None:
            yield previous
        previous = request
    if previous is not None:
        yield previous
