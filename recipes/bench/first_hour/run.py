"""fastneg bench first_hour: everything that a new GPU can show, the most useful stages first, and a
page with goals and model.

Each stage is a process of its own with a time-out. A kill at any moment loses nothing that was
measured, and a call with --resume goes on from there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from fastneg import checkout
from fastneg.files import output_folder
from fastneg.recipes.bench.first_hour.options import chosen
from fastneg.recipes.bench.first_hour.page import write_page
from fastneg.recipes.bench.first_hour.rows import Rows, write_table
from fastneg.recipes.bench.first_hour.stages import STAGES
from fastneg.recipes.bench.first_hour.work import AGAIN

LOOK_EVERY_S = 0.2
TRIES = 6
"""Processes of one stage: a new one goes on behind a job that ended the one before."""
KEPT_S = 3.0
"""Of the budget, for the page."""


def bench_first_hour(out, stages=None, budget=None, resume=False, page=False):
    """Measure the stages and yield their rows as they come; the last row names the page.

    Args:
        out, stages, budget, resume, page: as of `FirstHourOptions`.
    """
    folder, began = output_folder(out, "--out"), time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    rows = Rows(folder)
    for name in () if page else chosen(stages):
        if name in rows.ended_stages():
            continue
        limit, whose = STAGES[name].limit_s, "stage"
        if budget is not None:
            left = budget - KEPT_S - (time.monotonic() - began)
            limit, whose = min((limit, whose), (left, "budget"))
        if limit <= 0:
            yield rows.append("left", stage=name, left=f"the budget of {budget:g} s is used up")
            continue
        with contextlib.closing(StageRun(name, rows, limit, whose).run()) as found:
            yield from found
        _write(folder)  # each time: whatever ends this program leaves a page behind
    yield {"bench": "first_hour", "stage": "page", "status": "ended", **_write(folder)}


def _write(folder):
    table, pages = write_table(folder), write_page(folder)
    return {"csv": str(table), **{path.suffix[1:]: str(path) for path in pages}}


class StageRun:
    """One stage, in as many processes as it takes.

    Args:
        name: of STAGES.
        rows: `Rows` of the folder.
        limit: seconds.
        whose: "stage" or "budget", by what the limit was set.
    """

    def __init__(self, name, rows, limit, whose):
        self.name, self.rows, self.limit, self.whose = name, rows, limit, whose
        self.ends = time.monotonic() + limit
        """The moment at which it is stopped."""
        self.seen = len(rows.all())

    def run(self):
        """Yield the rows that its processes append, and those about how they ended."""
        for _ in range(TRIES):
            with self._process() as process:
                while process.poll() is None and time.monotonic() < self.ends:
                    yield from self._new_rows()
                    time.sleep(LOOK_EVERY_S)
                code = process.poll()
            yield from self._new_rows()
            if code == 0:
                return
            if code != AGAIN and not self._explain(code):
                break
        yield from self._new_rows()

    @contextlib.contextmanager
    def _process(self):
        command = [sys.executable, "-m", f"{__package__}.work", self.name, self.rows.path.parent]
        root = str(Path(checkout.__file__).resolve().parents[1])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        with open(self.rows.path.parent / f"{self.name}.log", "ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with all that it started
            process.wait()

    def _new_rows(self):
        rows = self.rows.all()
        new, self.seen = rows[self.seen :], len(rows)
        return [row for row in new if row["status"] != "begun" or "device" in row]

    def _explain(self, code):
        """Append why a process ended; whether another may go on behind its job."""
        begun = self.rows.running_job(self.name)
        where = {"stage": self.name, **({"job": begun["job"]} if begun else {})}
        if code is None and self.whose == "budget":
            self.rows.append("left", **where, left="the budget is used up")
        elif code is None:
            reason = f"the stage's {self.limit:g} s were over"
            self.rows.append("stopped", **where, stopped=reason)
        else:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            reason = f"the process ended with {how}: see {self.name}.log"
            self.rows.append("failed", **where, failed=reason)
            if begun is not None and not begun["goes_on"]:
                self.rows.append("ended", **where)
        return code is not None and begun is not None
