"""Samples that a run could not use: reported, counted in the log, and stored in the run folder and
the checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

from fastneg import distributed
from fastneg.files import write_atomically
from fastneg.runs.paths import QUARANTINE


class BadSamples:
    """Follows what a loader quarantines.

    Each process meets its own bad samples; at a checkpoint they tell each other. Every line of the
    log counts those of all processes. The log names those of the first process when they are met,
    and those of the others at the next checkpoint.

    Args:
        loader: `TrainLoader`.
        world: `World`.
        log: `RunLog`.
    """

    def __init__(self, loader, world, log):
        self._loader, self._world, self._log = loader, world, log
        self._told = set(loader.quarantine)
        self._shared = len(loader.quarantine)

    def tell(self, step):
        """A row of kind "bad_sample" and a line for each one that is new."""
        if len(self._told) == len(self._loader.quarantine):
            return
        for index, reason in sorted(self._loader.quarantine.items()):
            if index not in self._told:
                self._told.add(index)
                self._log.row(
                    "bad_sample",
                    step,
                    {"index": index, "name": self._name(index), "reason": reason},
                )
                self._log.say(
                    f"{self._loader.reader.describe(index)} is left out, {reason}; the next good "
                    "sample takes its place."
                )

    def count(self):
        """How many are known in all processes. One that two processes met since the last checkpoint
        counts twice until the next."""
        return self._shared + distributed.total(
            len(self._loader.quarantine) - self._shared, self._world
        )

    def share(self, step):
        """Tell all processes, and the log what the others met; returns {index: reason} of all."""
        known = distributed.union(self._loader.quarantine, self._world)
        self._loader.know(known)
        self.tell(step)
        self._shared = len(known)
        return known

    def write(self, run):
        """RUN/quarantine.json: index, name and reason of each, where there is any."""
        if self._loader.quarantine:
            bad = [
                {"index": i, "name": self._name(i), "reason": why}
                for i, why in sorted(self._loader.quarantine.items())
            ]
            write_quarantine(run, bad)

    def _name(self, index):
        names = self._loader.reader.names
        return names[index] if names else None


def write_quarantine(run, samples):
    """Write the list anew, through a temporary name.

    Args:
        samples: [{"index": position in the data, "name": or None, "reason"}, …].
    """
    text = json.dumps(samples, indent=2, ensure_ascii=False) + "\n"
    write_atomically(Path(run) / QUARANTINE, lambda file: file.write(text.encode()))
