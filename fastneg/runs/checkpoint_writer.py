"""Writes checkpoints while training continues: a thread writes a copy of the state.

The training waits for the copy alone. On CUDA it does not wait for that either: the copies into
pinned memory are work of the stream like any other, which the steps after it come behind, and the
thread waits for them.
"""

from __future__ import annotations

import threading

import torch


class CheckpointWriter:
    """Writes states one after the other, each in a thread, never two at once."""

    def __init__(self):
        self._thread = self._error = None

    def begin(self, state, write):
        """Call write(copy of `state`) in a thread, when the one before is written.

        Args:
            state: dicts, lists and tuples of tensors and plain values; it may change as soon as
                this returns.
            write: called with the copy, whose tensors are on the CPU.
        Raises:
            whatever the write before this one raised.
        """
        self.wait()
        copy, device = _Copies(), None
        state = copy.of(state)
        if copy.cuda is not None:
            device, copied = copy.cuda, torch.cuda.Event()
            copied.record(torch.cuda.current_stream(device))

        def work():
            try:
                if device is not None:
                    # A thread begins on the first GPU, where it would take memory.
                    torch.cuda.set_device(device)
                    copied.synchronize()
                write(state)
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=work, name="fastneg-checkpoint")
        self._thread.start()

    def look(self):
        """Raise what a write raised that has ended; waits for nothing."""
        if self._thread is not None and not self._thread.is_alive():
            self.wait()

    def wait(self):
        """Wait until nothing is being written, and raise what the last write raised."""
        error = self.close()
        if error is not None:
            raise error

    def close(self):
        """Wait until nothing is being written; returns what the last write raised, or None. It is
        told once."""
        if self._thread is not None:
            self._thread.join()
        error, self._thread, self._error = self._error, None, None
        return error


class _Copies:
    """Copies of a state on the CPU: tensors that share memory, or are one, have copies that do."""

    def __init__(self):
        self.cuda = None
        """The CUDA device of the tensors, if there are any."""
        # with the tensors that they are of, whose names stay theirs so
        self._made, self._memory = {}, {}

    def of(self, value):
        if isinstance(value, torch.Tensor):
            return self._once(self._made, id(value), value, self._tensor)
        if isinstance(value, dict):
            made = type(value)((key, self.of(each)) for key, each in value.items())
            # torch keeps the versions of modules so, with the dict of their weights
            for name, each in getattr(value, "__dict__", {}).items():
                setattr(made, name, each)
            return made
        if isinstance(value, (list, tuple)):
            return type(value)(self.of(each) for each in value)
        return value

    def _tensor(self, tensor):
        memory = tensor.untyped_storage()._cdata, tensor.storage_offset()
        place = *memory, tensor.dtype, tuple(tensor.shape), tensor.stride()
        return self._once(self._memory, place, tensor, self._copied).detach()

    def _once(self, made, name, tensor, make):
        if name not in made:
            made[name] = make(tensor), tensor
        return made[name][0]

    def _copied(self, tensor):
        if tensor.device.type != "cuda":
            return tensor.detach().clone()
        self.cuda = tensor.device
        made = torch.empty_strided(
            tensor.shape, tensor.stride(), dtype=tensor.dtype, pin_memory=True
        )
        return made.copy_(tensor.detach(), non_blocking=True)
