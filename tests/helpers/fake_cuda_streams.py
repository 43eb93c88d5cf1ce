"""Streams and events of a fake GPU: who has seen whose work.

Each stream counts its operators. It has a clock, {stream: count}, of the work that is surely done
before its next operator; so has the host. An event carries the clock of the moment at which it was
recorded. So a use that nothing orders is found whatever the timing.
"""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from helpers.fake_cuda_tensor import storage_of


class Fault(AssertionError):
    """What would fail, race or wait on a GPU; `kind` names the rule."""

    def __init__(self, kind, text):
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class Clock(defaultdict):
    """{stream: operators of it that are done}."""

    def __init__(self):
        super().__init__(int)

    def merge(self, other):
        for stream, count in other.items():
            self[stream] = max(self[stream], count)


class Stream:
    """In place of torch.cuda.Stream."""

    names = 0

    def __init__(self, device=None, priority=0, name=None):
        self.device = torch.device("cuda" if device is None else device)
        Stream.names += 1
        self.name, self.clock = name or f"stream {Stream.names}", Clock()
        self.priority, self.cuda_stream = priority, Stream.names

    def __repr__(self):
        return self.name

    def tick(self):
        """Count one operator."""
        self.clock[self] += 1
        return self.clock[self]

    def wait_stream(self, other):
        self.clock.merge(other.clock)

    def wait_event(self, event):
        self.clock.merge(event.clock)

    def record_event(self, event=None):
        event = event or Event()
        event.record(self)
        return event

    def synchronize(self):
        HOST.wait(self, self.clock[self], self.clock)

    def is_capturing(self):
        return HOST.capturing is not None


class Event:
    """In place of torch.cuda.Event."""

    def __init__(self, *_, **__):
        self.clock, self.stream, self.count = Clock(), None, 0

    def record(self, stream=None):
        self.stream = stream or HOST.stream()
        self.count = self.stream.clock[self.stream]
        self.clock = Clock()
        self.clock.merge(self.stream.clock)

    def wait(self, stream=None):
        (stream or HOST.stream()).wait_event(self)

    def query(self):
        return True

    def elapsed_time(self, other):
        return 1.0

    def synchronize(self):
        if self.stream is not None:
            HOST.wait(self.stream, self.count, self.clock)


class Host:
    """What each thread of the host holds: its device, its stream, whether it may wait; `asks`
    counts how often one did."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.clock, self._local, self._default = Clock(), threading.local(), {}
        self.capturing, self.asks = None, 0

    @property
    def device(self):
        return getattr(self._local, "device", 0)

    @device.setter
    def device(self, index):
        self._local.device = index

    @property
    def strict(self):
        return getattr(self._local, "strict", False)

    @contextlib.contextmanager
    def may_wait(self, may):
        """Within it this thread may wait for the device, or may not."""
        before, self._local.strict = self.strict, not may
        try:
            yield
        finally:
            self._local.strict = before

    def stream(self, device=None):
        index = self.device if device is None else torch.device(device).index
        index = self.device if index is None else index
        chosen = getattr(self._local, "stream", None)
        if chosen is not None and chosen.device.index in (None, index):
            return chosen
        if index not in self._default:
            self._default[index] = Stream(f"cuda:{index}", name=f"default stream of cuda:{index}")
        return self._default[index]

    @contextlib.contextmanager
    def on(self, stream):
        before = getattr(self._local, "stream", None)
        self._local.stream = stream if stream is not None else before
        try:
            yield
        finally:
            self._local.stream = before

    def wait(self, stream, count, clock):
        """Wait for the first `count` operators of a stream.

        With work queued behind them the device does not idle meanwhile, and nobody minds; nor where
        a thread waits for a stream of its own.
        """
        own = threading.current_thread() is not threading.main_thread() and stream.name[0] == "s"
        if self.strict and not own and stream.clock[stream] <= count:
            raise Fault("host waits", f"for all that {stream} holds, so it idles afterwards")
        self.clock.merge(clock)

    def sync(self, what):
        """The host asks for a value that the device computes."""
        if self.strict:
            raise Fault("host waits", what)
        if self.capturing is not None:
            raise Fault("capture", f"{what} within the recording of a CUDA graph")
        self.asks += 1
        self.clock.merge(self.stream().clock)


HOST = Host()


class Memory:
    """Who allocated, wrote, read and recorded each piece of memory."""

    def __init__(self):
        self._found, self._apart, self._lent = {}, [], []

    def of(self, tensor):
        storage = storage_of(tensor)
        entry = self._found.get(storage._cdata)
        if entry is None:
            entry = self._found[storage._cdata] = Entry(storage, HOST.stream(tensor.place))
        return entry

    def use(self, tensors, written):
        """An operator of the current stream reads `tensors` and writes `written`."""
        self.look_for_freed()
        if not tensors and not written:
            return
        stream = HOST.stream((tensors or written)[0].place)
        count = stream.tick()
        for tensor in tensors:
            self._check(self.of(tensor), stream, count, False, tensor)
        for tensor in written:
            self._check(self.of(tensor), stream, count, True, tensor)

    def _check(self, entry, stream, count, writes, tensor):
        clock = stream.clock
        by, at = entry.write
        if by is not stream and clock[by] < at:
            raise Fault("stream", f"{stream} uses {tensor}, which {by} may still be writing")
        if writes:
            for other, seen in entry.reads.items():
                if other is not stream and clock[other] < seen:
                    raise Fault("stream", f"{stream} writes {tensor}, which {other} still reads")
            entry.write, entry.reads = (stream, count), {}
        entry.reads[stream] = count
        if stream is not entry.owner and stream not in entry.recorded and not entry.lent:
            self._apart.append((entry, stream, count))

    def lend(self, tensor):
        """Memory of a library, which writes it anew once nothing refers to it, whatever the streams
        still do."""
        entry = self.of(tensor)
        entry.lent = True
        self._lent.append(entry)

    def look_for_freed(self):
        """Memory that was freed while a stream other than its own may still use it is handed out
        again too early, unless that stream was recorded."""
        kept = []
        for entry in self._lent:
            if not entry.ref.expired():
                kept.append(entry)
                continue
            for stream, count in entry.reads.items():
                if HOST.clock[stream] < count:
                    raise Fault("lent", f"{entry.owner} writes memory that {stream} may still read")
        self._lent, left = kept, []
        for entry, stream, count in self._apart:
            if stream in entry.recorded or entry.owner.clock[stream] >= count:
                continue
            if entry.ref.expired():
                raise Fault(
                    "record_stream",
                    f"memory of {entry.owner} ({entry.told}) was freed while {stream} may use it",
                )
            left.append((entry, stream, count))
        self._apart = left


class Entry:
    """What is known of one piece of memory."""

    def __init__(self, storage, owner):
        self.ref, self.owner = StorageWeakRef(storage), owner
        self.write, self.reads = (owner, 0), {}
        self.recorded, self.lent = set(), False
        self.told = f"{storage.nbytes()} bytes"
