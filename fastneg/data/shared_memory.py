"""Results of worker processes whose large parts go through shared memory instead of a pipe."""

from __future__ import annotations

import mmap
import os
import pickle
from multiprocessing import reduction

SLOTS = 4  # results of a worker that are under way or wait for an earlier one
SLOT_BYTES = 8 << 20  # of address space; only what is used of it takes memory


class SharedMemory:
    """Slots of memory shared with a child process.

    It has no name, so that nothing is left when both are gone, even killed.
    """

    def __init__(self, descriptor=None):
        self._descriptor = os.memfd_create("fastneg") if descriptor is None else descriptor
        if descriptor is None:
            os.ftruncate(self._descriptor, SLOTS * SLOT_BYTES)
        self._bytes = memoryview(mmap.mmap(self._descriptor, SLOTS * SLOT_BYTES))

    def close_descriptor(self):
        """To be called once the child has it; the memory stays."""
        os.close(self._descriptor)

    def pack(self, result, slot):
        """A result as bytes: its `pickle.PickleBuffer`s are copied into the slot as far as there is
        room, the rest is in the bytes."""
        room, sizes = self._slot(slot), []

        def place(buffer):
            raw, used = buffer.raw(), sum(sizes)
            if used + raw.nbytes > len(room):
                return True  # pickle takes it into the bytes
            room[used : used + raw.nbytes] = raw
            sizes.append(raw.nbytes)
            return False

        data = pickle.dumps(result, 5, buffer_callback=place)
        return pickle.dumps((sizes, data))

    def unpack(self, data, slot):
        """The result of `pack`; its buffers are views of the slot, good until that is used
        again."""
        sizes, data = pickle.loads(data)
        room, buffers, used = self._slot(slot), [], 0
        for size in sizes:
            buffers.append(room[used : used + size])
            used += size
        return pickle.loads(data, buffers=buffers)

    def _slot(self, slot):
        return self._bytes[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES]

    def __reduce__(self):  # while a child is started
        return _received, (reduction.DupFd(self._descriptor),)


def _received(descriptor):
    return SharedMemory(descriptor.detach())
