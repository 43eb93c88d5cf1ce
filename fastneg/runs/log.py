"""The log of a run: metrics.jsonl, TensorBoard events, Weights & Biases, a progress bar on a
terminal and plain lines elsewhere."""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path

from fastneg.files import write_atomically
from fastneg.progress import time_left
from fastneg.runs.paths import METRICS, TENSORBOARD
from fastneg.runs.wandb_log import WandbLog

ACCURACY_MOST = "accuracy_most"
"""The figure of a `start` row that says what acc1 and acc5 are at most in the `train` rows after
it: 1, shares. Earlier versions had no such figure and wrote percent."""
CHARTED = ("train", "knn")
"""Kinds of rows whose figures are drawn over the steps."""


class RunLog:
    """Writes a run's figures; on all processes but the first it does nothing.

    Args:
        run: the run folder.
        total_steps: of the whole run.
        enabled: whether this process writes.
        wandb: a project of Weights & Biases, or "".
        settings: the config as a dict, for Weights & Biases.
    Raises:
        ConfigError: wandb is wanted and not installed.
    """

    def __init__(self, run, total_steps, enabled=True, wandb="", settings=None):
        self.enabled, self.run = enabled, Path(run)
        self._tensorboard = self._bar = self._file = self._wandb = None
        self._total = total_steps
        self._printed = 0.0
        if enabled:
            from torch.utils.tensorboard import SummaryWriter

            if wandb:  # first, for it may be refused
                self._wandb = WandbLog(self.run, wandb, settings)
            self._tensorboard = SummaryWriter(self.run / TENSORBOARD)
            self._file = open(self.run / METRICS, "ab", buffering=0)  # noqa: SIM115

    def begin(self, step):
        """Start showing progress from a step on."""
        if self.enabled and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=self._total, initial=step, unit="step", dynamic_ncols=True)

    def row(self, kind, step, figures):
        """One line of metrics.jsonl, and one point of each figure in TensorBoard and Weights &
        Biases.

        Accuracies called acc1 and acc5 are shares in [0, 1], those called top1 percent.
        """
        if not self.enabled:
            return
        self._append(json.dumps({"kind": kind, "step": step, **figures}) + "\n")
        if kind in CHARTED:
            for name, value in figures.items():
                self._tensorboard.add_scalar(f"{kind}/{name}", value, step)
            if self._wandb is not None:
                self._wandb.scalars(kind, step, figures)
        if kind == "train":
            self._show(step, figures)

    def histograms(self, step, counts, edges):
        """Counts by kind of similarity, each list over the bins between the edges."""
        if not self.enabled:
            return
        self.row("similarities", step, {"low": edges[0], "high": edges[-1], **counts})
        centres = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
        for kind, values in counts.items():
            total = sum(count * centre for count, centre in zip(values, centres, strict=True))
            squares = sum(count * centre**2 for count, centre in zip(values, centres, strict=True))
            self._tensorboard.add_histogram_raw(
                f"similarity/{kind}",
                edges[0],
                edges[-1],
                sum(values),
                total,
                squares,
                edges[1:],
                values,
                step,
            )
        if self._wandb is not None:
            self._wandb.histograms(step, counts, edges)

    def has(self, kind, step):
        """Whether metrics.jsonl has a row of this kind and step."""
        lines = (self.run / METRICS).read_text(encoding="utf-8").splitlines()
        rows = map(json.loads, lines)
        return any(row["kind"] == kind and row["step"] == step for row in rows)

    def _append(self, line):
        left = line.encode()
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            said = (
                f"{error.strerror} (free space there; the same command resumes from the "
                "newest checkpoint)"
            )
            raise OSError(error.errno, said, str(self.run / METRICS)) from error

    def _show(self, step, figures):
        rates = (
            f"{figures['images_per_s']:.0f} images/s · data wait {figures['data_wait_share']:.0%}"
        )
        for name in ("host", "device"):
            if f"{name}_ms" in figures:
                rates += f" · {name} {figures[f'{name}_ms']:.0f} ms"
        if figures.get("eta_s"):
            rates += f" · {time_left(figures['eta_s'])} left"
        # A method without ranks has no accuracy.
        accuracy = f" · acc1 {figures['acc1']:.1%}" if "acc1" in figures else ""
        text = f"loss {figures['loss']:.3f}{accuracy} · {rates}"
        if self._bar is not None:
            self._bar.set_description_str(f"epoch {figures['epoch']}")
            self._bar.set_postfix_str(text)
            self._bar.update(step - self._bar.n)
        elif time.monotonic() - self._printed > 10 or step == self._total:
            self._printed = time.monotonic()
            print(f"step {step}/{self._total} · epoch {figures['epoch']} · {text}", flush=True)

    def say(self, text):
        """A line for a person."""
        if self.enabled:
            self._bar.write(text) if self._bar is not None else print(text, flush=True)

    def close(self):
        if self._bar is not None:
            self._bar.close()
        if self.enabled:
            self._file.close()
            self._tensorboard.close()
        if self._wandb is not None:
            self._wandb.close()


def drop_rows_after(run, step):
    """Cut from metrics.jsonl what an interrupted run logged after its last checkpoint, and a line
    it left unfinished."""
    path = Path(run) / METRICS
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except json.JSONDecodeError:
            continue
    write_atomically(path, lambda file: file.write("".join(line + "\n" for line in kept).encode()))
