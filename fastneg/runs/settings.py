"""RUN/config.json and RUN/environment.json: the settings of a run, and its environment."""

from __future__ import annotations

from pathlib import Path

from fastneg.files import write_json
from fastneg.runs import paths


def write_settings(run, config, environment):
    """Write both files; the run folder is made.

    Args:
        run: the run folder.
        config: dict of `PretrainConfig.as_dict`.
        environment: dict of `runs.environment.environment`.
    """
    run = Path(run)
    run.mkdir(parents=True, exist_ok=True)
    for name, content in ((paths.CONFIG, config), (paths.ENVIRONMENT, environment)):
        write_json(run / name, content)
