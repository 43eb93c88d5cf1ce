"""RUN/quarantine.json."""

import json

from fastneg.runs import paths
from fastneg.runs.quarantine import write_quarantine


def test_the_list_is_written_anew(tmp_path):
    first = {"index": 3, "name": "ä.jpg", "reason": "cut short"}
    for bad in ([first], [first, {"index": 7, "name": None, "reason": "empty"}]):
        write_quarantine(tmp_path, bad)
        assert json.loads((tmp_path / paths.QUARANTINE).read_text(encoding="utf-8")) == bad
    assert [path.name for path in tmp_path.iterdir()] == [paths.QUARANTINE]
