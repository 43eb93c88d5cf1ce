"""Logs the figures of a run to Weights & Biases, with --wandb."""

from __future__ import annotations

import secrets
from pathlib import Path

from fastneg.config import UnfitError
from fastneg.runs.paths import WANDB_ID


class WandbLog:
    """One run of Weights & Biases for one run folder, over all its resumptions.

    Its id is kept in RUN/wandb-id. Where it goes to (a server, nowhere, WANDB_MODE=offline) is
    wandb's own matter.

    Args:
        run: the run folder.
        project: the project's name.
        settings: the config as a dict.
    Raises:
        ConfigError: wandb is not installed.
    """

    def __init__(self, run, project, settings):
        try:
            import wandb
        except ImportError as error:
            raise UnfitError(
                f"--wandb is {project!r}, but wandb is not installed: pip install 'fastneg[wandb]'."
            ) from error
        run = Path(run)
        run.mkdir(parents=True, exist_ok=True)
        place = run / WANDB_ID
        if not place.exists():
            place.write_text(secrets.token_hex(4), encoding="utf-8")
        self._wandb = wandb
        self._run = wandb.init(
            project=project,
            name=run.name,
            id=place.read_text(encoding="utf-8"),
            dir=str(run),
            config=settings,
            resume="allow",
        )
        # Steps of ours, not wandb's own count: a run that goes on from a checkpoint repeats some of
        # them.
        self._run.define_metric("*", step_metric="step")

    def scalars(self, kind, step, figures):
        """One point of each figure, named kind/figure."""
        self._run.log(
            {"step": step, **{f"{kind}/{name}": value for name, value in figures.items()}}
        )

    def histograms(self, step, counts, edges):
        """{kind of similarity: counts}, over the bins between the edges."""
        drawn = {
            f"similarity/{kind}": self._wandb.Histogram(np_histogram=(values, edges))
            for kind, values in counts.items()
        }
        self._run.log({"step": step, **drawn})

    def close(self):
        self._run.finish()
