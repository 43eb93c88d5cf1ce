"""Four processes of which one is killed: the others stop, all start anew from the last checkpoint,
and end as if undisturbed, bit for bit. All phases with all ranks: `helpers.elastic_kills`."""

import json
import os
import subprocess

from fastneg import distributed
from helpers.processes import TESTS
from helpers.ready import TAKEN_FROM, ready_python

CASES = ("backward:1",)
PLAIN = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)}


def test_a_killed_process_is_replaced_and_nothing_is_lost(beton, tmp_path):
    ran = subprocess.run(
        [ready_python(), "-m", "helpers.elastic_kills", str(beton), str(tmp_path), *CASES],
        env={**os.environ, TAKEN_FROM: ready_python(), **PLAIN},
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    found = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert [f"{row['phase']}:{row['rank']}" for row in found] == list(CASES)
    for row in found:
        assert row["died"] and row["resumed"], row
        assert row["same_weights"] and row["same_log"], row
        assert row["seconds"] < distributed.TIMEOUT.total_seconds()
