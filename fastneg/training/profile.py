"""Profiles some steps: a Chrome trace, and a table of times by part."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict

import torch

from fastneg.counts import counted
from fastneg.files import write_atomically
from fastneg.runs.paths import profile_path

FIRST = 10
"""Steps of a call that are let go by first: in them kernels are compiled and memory is taken."""
HEAD = ("part", "calls a step", "host ms a step", "device ms a step", "share")
_profile = None


def part(name):
    """A context that is one part of a step; it does nothing unless a step is being profiled."""
    return contextlib.nullcontext() if _profile is None else _profile.part(name)


def timed_event(cuda):
    """A CUDA event at this place of the current stream; None where there is no CUDA."""
    if not cuda:
        return None
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


class Profile:
    """Profiles `steps` steps of a training, from the one after `FIRST` on, into RUN/profile/.

    The times of a part are the host's, from its begin to its end, and on CUDA the device's, from
    the first of its kernels to the last, by events of its stream.

    Args:
        run: the run folder.
        steps: how many; 0 profiles nothing.
        device: of the training.
        tell: called with a line for a person.
    """

    def __init__(self, run, steps, device, tell):
        self._run, self._steps, self._device, self._tell = run, steps, device, tell
        self._cuda = device.type == "cuda"
        self._passed, self._trace = 0, None
        self._host, self._events, self._calls = defaultdict(float), [], defaultdict(int)

    def tick(self, step):
        """Say that the training has taken another step.

        Args:
            step: how many it has taken, those of earlier calls among them.
        """
        global _profile
        self._passed += 1
        if self._steps and self._passed == FIRST:
            activities = [torch.profiler.ProfilerActivity.CPU]
            if self._cuda:
                activities.append(torch.profiler.ProfilerActivity.CUDA)
            self._trace = torch.profiler.profile(activities=activities)
            self._trace.start()
            self._began, self._from, _profile = time.perf_counter(), step, self
        elif self._trace is not None and self._passed == FIRST + self._steps:
            self.close(step)

    @contextlib.contextmanager
    def part(self, name):
        began, begin = time.perf_counter(), timed_event(self._cuda)
        with torch.profiler.record_function(name):
            yield
        self._events.append((name, begin, timed_event(self._cuda)))
        self._host[name] += time.perf_counter() - began
        self._calls[name] += 1

    def close(self, step):
        """Write what was profiled; of a run that ends within it, what there is."""
        global _profile
        if self._steps and self._passed <= FIRST:
            self._steps = 0
            self._tell(
                f"Nothing was profiled: this call took {counted(self._passed, 'step')}, and "
                f"--profile begins after the first {FIRST}."
            )
        if self._trace is None:
            return
        _profile = None
        if self._cuda:
            torch.cuda.synchronize(self._device)
        seconds, trace, self._trace = time.perf_counter() - self._began, self._trace, None
        trace.stop()
        if step == self._from:
            return
        name = f"step-{self._from + 1:09d}"
        path = profile_path(self._run, f"{name}.json.gz")
        path.parent.mkdir(exist_ok=True)
        trace.export_chrome_trace(str(path))
        text = self._table(step - self._from, seconds)
        table = profile_path(self._run, f"{name}.md")
        write_atomically(table, lambda file: file.write(text.encode()))
        self._tell(f"{text}\nThe trace is {path}: open it in chrome://tracing or ui.perfetto.dev.")

    def _table(self, steps, seconds):
        """The parts of a step as a Markdown table."""
        device = defaultdict(float)
        for name, begin, end in self._events:
            if begin is not None:
                device[name] += begin.elapsed_time(end)
        whole = 1000 * seconds / steps
        lines = [HEAD, ("---",) * len(HEAD)]
        for name, host in self._host.items():
            of_device = device[name] / steps if device else None
            of_host = 1000 * host / steps
            busy = of_host if of_device is None else of_device
            lines.append(
                (
                    name,
                    f"{self._calls[name] / steps:g}",
                    f"{of_host:.2f}",
                    "–" if of_device is None else f"{of_device:.2f}",
                    f"{busy / whole:.0%}",
                )
            )
        lines.append(("all", "1", f"{whole:.2f}", "–", "100%"))
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
