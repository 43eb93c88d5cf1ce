"""RUN/config.json and RUN/environment.json."""

import json

from fastneg.runs import paths
from fastneg.runs.settings import write_settings


def test_both_files_and_nothing_else(tmp_path):
    run = tmp_path / "new" / "run"
    write_settings(run, {"lr": 0.1}, {"cores": 2})
    write_settings(run, {"lr": 0.2}, {"cores": 2})  # of a run that goes on
    assert json.loads((run / paths.CONFIG).read_text()) == {"lr": 0.2}
    assert json.loads((run / paths.ENVIRONMENT).read_text()) == {"cores": 2}
    assert {path.name for path in run.iterdir()} == {paths.CONFIG, paths.ENVIRONMENT}
