"""RUN/quarantine.json: the samples that a run could not use."""

from __future__ import annotations

import json
from pathlib import Path

from fastneg.files import write_atomically
from fastneg.runs.paths import QUARANTINE


def write_quarantine(run, samples):
    """Write the list anew, through a temporary name.

    Args:
        samples: [{"index": position in the data, "name": or None, "reason"}, …].
    """
    text = json.dumps(samples, indent=2, ensure_ascii=False) + "\n"
    write_atomically(Path(run) / QUARANTINE, lambda file: file.write(text.encode()))
