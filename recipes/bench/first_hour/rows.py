"""The rows of a first hour: a file of JSON lines that every process appends to, and the table made
of it. Nothing here imports torch.

status of a row: "begun" (a stage or a job), "measured", "skipped", "failed", "stopped" (its time
was out), "ended" (a job or a stage, with its seconds), "left" (for another call).
"""

from __future__ import annotations

import csv
import io
import json
import time
from functools import partial
from pathlib import Path

from fastneg.files import append_json, json_rows, write_atomically

ROWS, TABLE = "rows.jsonl", "rows.csv"
SAID = ("measured", "skipped", "failed", "stopped")
"""The statuses that say something of what was to be measured."""
ORIGIN = ("device", "device_name", "cores", "commit", "versions")
ENDED = ("ended", "stopped")
"""Those after which a job is not tried again."""


class Rows:
    """The rows of one folder.

    Args:
        folder: the folder; it need not exist for reading.
        common: fields of every row that this object appends.
    """

    def __init__(self, folder, **common):
        self.path, self.common = Path(folder) / ROWS, common

    def append(self, status, **fields):
        """Write one row, whole or not at all for a reader; returns it."""
        row = {"bench": "first_hour", **self.common, "status": status, **fields}
        row["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        append_json(self.path, row)
        return row

    def all(self):
        return list(json_rows(self.path))

    def ended_jobs(self, stage):
        """Names of the jobs of a stage that are not to be tried again."""
        return {
            row["job"]
            for row in self.all()
            if row.get("stage") == stage and row.get("job") and row["status"] in ENDED
        }

    def ended_stages(self):
        """Names of the stages whose every job has ended, and none for want of something that
        another call may bring."""
        ended = (row for row in self.all() if row["status"] == "ended" and not row.get("job"))
        return {row["stage"] for row in ended if not row.get("missing")}

    def running_job(self, stage):
        """The row with which a job of a stage was begun that has not ended, or None."""
        running = None
        for row in self.all():
            if row.get("stage") == stage and row.get("job"):
                if row["status"] == "begun" and "test" not in row:
                    running = row
                elif running and row["job"] == running["job"] and _over(row):
                    running = None
        return running

    def latest(self):
        """The rows that say something, each job's of its last try."""
        kept = {}
        for number, row in enumerate(self.all()):
            job = _job_of(row)
            if row["status"] == "begun" and row.get("goes_on") is False:
                kept = {at: one for at, one in kept.items() if _job_of(one) != job}
            elif row["status"] in SAID:
                kept[number] = row
        return list(kept.values())

    def origins(self):
        """{stage: device_name, cores, commit, versions} of its last process."""
        begun = (row for row in self.all() if row["status"] == "begun" and not row.get("job"))
        return {row["stage"]: {name: row.get(name) for name in ORIGIN} for row in begun}


def _over(row):
    return row["status"] in ENDED or row.get("missing")


def _job_of(row):
    return row.get("stage"), row.get("job")


def write_table(folder):
    """Write rows.csv of what was measured, skipped and failed; tests that passed are counted in
    their summary's row and have none of their own. Returns its Path."""
    found = Rows(folder)
    origins = found.origins()
    rows = [
        {**row, **origins.get(row["stage"], {})}
        for row in found.latest()
        if row.get("outcome") != "passed"
    ]
    path = Path(folder) / TABLE
    write_atomically(path, partial(_write_csv, rows))
    return path


def _write_csv(rows, file):
    text = io.StringIO()
    fields = dict.fromkeys(field for row in rows for field in row)
    table = csv.DictWriter(text, fields, lineterminator="\n")
    table.writeheader()
    table.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    file.write(text.getvalue().encode())


def _cell(value):
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return f"{value:.6g}" if isinstance(value, float) else value
