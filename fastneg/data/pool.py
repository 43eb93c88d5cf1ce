"""Work distributed over processes, with the results in order. Large parts of them come through
shared memory instead of a pipe."""

from __future__ import annotations

import itertools
import mmap
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import traceback
from collections import deque
from multiprocessing import reduction

from fastneg.config import default_workers
from fastneg.data.errors import BetonError

CHUNK = 32  # images a task
FITS_A_PIPE = 1 << 15  # bytes that a worker can be sent though it does not read yet
END_S = 5.0  # seconds that a worker whose pipe was closed may take to end
SLOTS = 4  # results of a worker that are under way or wait for an earlier one
SLOT_BYTES = 8 << 20  # of address space; only what is used of it takes memory


def in_order(function, tasks, workers=0, context=None):
    """Yield function(task) for each task of a sequence in turn, computed by worker processes.

    What a worker raises is raised here. Workers end with the generator, however it ends. They also
    end when this process is gone, even killed.

    What a result holds as `pickle.PickleBuffer` comes as a view of shared memory, which is good
    until the next result is asked for. What does not fit there comes as bytes, and with one worker
    as it is. `memoryview` takes all of these.

    Args:
        workers: processes; 0: one a core. With one, the work is done in this process.
        context: a multiprocessing context that starts them. None: a fork server that has loaded
            what decoding needs; a script that calls this then needs `if __name__ == "__main__":`.
    """
    workers = min(workers or default_workers(), len(tasks))
    if workers <= 1:
        yield from map(function, tasks)
        return
    context, pool = context or process_context(), []
    try:
        for _ in range(workers):
            pool.append(_Worker(function, context))
        sent, done = 0, {}
        for number in range(len(tasks)):
            while number not in done:
                # A second task keeps a worker busy while its first result is taken. The limit of
                # four tasks a worker bounds the results that wait for an earlier one.
                for depth, worker in itertools.product((1, 2), pool):
                    if (
                        sent < min(len(tasks), number + 4 * workers)
                        and worker.has_room(depth)
                        and worker.offer(sent, tasks[sent])
                    ):
                        sent += 1
                ready = multiprocessing.connection.wait(
                    [worker.pipe for worker in pool if worker.numbers]
                )
                done.update(worker.receive() for worker in pool if worker.pipe in ready)
            worker, slot, (ended, result, trace) = done.pop(number)
            if not ended:
                raise result from RuntimeError(f"in a worker process:\n{trace}")
            yield result
            worker.free.append(slot)
    finally:
        for worker in pool:
            # all before the first is waited for: forked workers hold the pipes of those that came
            # before them
            worker.pipe.close()
        for worker in pool:
            worker.end()


class _Worker:
    """A process with a pipe of its own.

    No lock or queue is shared, so a process that dies leaves none behind that others wait for.
    """

    def __init__(self, function, context):
        self.pipe, theirs = context.Pipe()
        # of the tasks that were sent and not answered, each with the slot for its result
        self.numbers = deque()
        self.free = list(range(SLOTS))
        self._memory = SharedMemory()
        self._process = context.Process(
            target=_work, args=(function, theirs, self.pipe, self._memory), daemon=True
        )
        try:
            self._process.start()
        finally:
            theirs.close()
            self._memory.close_descriptor()

    def has_room(self, depth):
        """Whether the worker has less than `depth` tasks, and a slot for the result of another."""
        return len(self.numbers) < depth and bool(self.free)

    def offer(self, number, task):
        """Send a task unless the worker would have to read first; returns whether it was sent."""
        data = pickle.dumps((self.free[-1], task))
        if self.numbers and len(data) > FITS_A_PIPE:
            return False
        try:
            self.pipe.send_bytes(data)
        except OSError as error:
            raise self._died() from error
        self.numbers.append((number, self.free.pop()))
        return True

    def receive(self):
        """(number, (this worker, slot, (whether it ended well, result or exception, traceback))) of
        the oldest task."""
        try:
            number, slot = self.numbers.popleft()
            return number, (self, slot, self._memory.unpack(self.pipe.recv_bytes(), slot))
        except (EOFError, OSError) as error:
            raise self._died() from error

    def _died(self):
        self._process.join(END_S)
        return BetonError(
            f"A worker process died ({self._process.exitcode}), perhaps for want of memory: try "
            "fewer --workers."
        )

    def end(self):
        """Wait for the end of the process, whose pipe is closed, or bring it about."""
        if self.numbers:  # nobody wants the result of what it is doing
            self._process.terminate()
        self._process.join(END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _work(function, pipe, ours, memory):
    """The life of a worker: a task is read, its result is written, until the other end of the pipe
    is closed."""
    # Ctrl-C reaches all processes: what it means is the parent's business
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ours.close()  # a forked worker holds the other end too, and would never see it closed
    while True:
        try:
            slot, task = pickle.loads(pipe.recv_bytes())
        except EOFError:
            return
        try:
            answer = memory.pack((True, function(task), None), slot)
        except Exception as error:
            trace = traceback.format_exc()
            try:
                answer = memory.pack((False, error, trace), slot)
            except Exception:  # an exception that cannot travel
                answer = memory.pack(
                    (False, BetonError(f"{type(error).__name__}: {error}"), trace), slot
                )
        try:
            pipe.send_bytes(answer)
        except OSError:  # the parent is gone
            return


def process_context():
    # A fork of a process with threads may deadlock. A fork server has none, and imports what the
    # workers need once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["fastneg.data.encode.encode", "fastneg.data.beton.verify", "PIL.Image"]
    )
    return context


def chunks(items, size):
    """Slices of at most `size` items."""
    return [items[first : first + size] for first in range(0, len(items), size)]


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
