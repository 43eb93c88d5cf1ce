"""docs/explanation/architecture.md says what is there: its files exist, and the road of a batch is
short."""

import re

import pytest

from helpers.modules import ROOT

PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
FILES_OF_A_BATCH, LINES_OF_A_BATCH = 7, 1350


def test_one_batch_is_followed_in_few_files_and_lines():
    road = re.findall(r"^\| \d+ \| `([\w/]+\.py)` \|", PAGE, re.MULTILINE)
    lines = [len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in road]
    assert 5 < len(road) <= FILES_OF_A_BATCH and sum(lines) <= LINES_OF_A_BATCH


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w/]+\.py)`", PAGE)) - {"NAME.py"}))
def test_each_file_that_is_named_is_there(name):
    found = [path for path in ROOT.rglob(f"*{name}") if str(path).endswith(f"/{name}")]
    named = [path for path in found if ".venv" not in path.parts and "build" not in path.parts]
    assert named or "NAME" in name, f"docs/explanation/architecture.md names {name}"
