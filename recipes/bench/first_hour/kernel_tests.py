"""Stage kernel_tests: runs the tests that need a GPU with pytest, and writes each outcome as a row
at once.

With pytest-xdist several processes share the GPU. In a rehearsal a few tests of kernels run
instead.
"""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path

from fastneg import checkout
from fastneg.recipes.bench.first_hour.rows import Rows
from fastneg.recipes.bench.first_hour.stages import Job, Missing
from fastneg.recipes.bench.first_hour.work import FOLDER, Again, spoils_the_process

PROCESSES = 4
REHEARSED = ("tests/kernels/test_info_nce_checks.py",)


def jobs(device):
    yield Job("pytest", lambda: _tests(device), goes_on=True)


def _tests(device):
    root = Path(checkout.__file__).resolve().parents[1]
    if not (root / "tests" / "conftest.py").is_file():
        raise Missing("the tests lie in a checkout, and this fastneg is installed without one")
    if importlib.util.find_spec("pytest") is None:
        raise Missing("pytest is not installed")
    import pytest

    os.chdir(root)
    together = device == "cuda" and importlib.util.find_spec("xdist") is not None
    watcher, began = _Watcher(alone=not together), time.perf_counter()
    watcher.tell_unfinished()
    known = _known()
    arguments = ["-m", "gpu", *_files(root)] if device == "cuda" else list(REHEARSED)
    arguments += ["-v", "--continue-on-collection-errors", "-p", "no:cacheprovider"]
    arguments += [f"--deselect={test}" for test in known]
    if together:
        arguments += ["-n", str(PROCESSES)]
    code = pytest.main(arguments, plugins=[watcher])
    if watcher.spoiled:
        raise Again
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, *_nothing_left(known)):
        raise RuntimeError(f"pytest ended with {code!r}: see kernel_tests.log")
    outcomes = list(_known().values())
    counts = {name: outcomes.count(name) for name in ("passed", "failed", "skipped")}
    yield {
        "status": "measured",
        "contender": "pytest",
        **counts,
        "seconds": time.perf_counter() - began,
    }


def _nothing_left(known):
    import pytest

    return (pytest.ExitCode.NO_TESTS_COLLECTED,) if known else ()


def _files(root):
    """The test files that have such tests: the others would be imported in vain."""
    files = sorted((root / "tests").rglob("test_*.py"))
    return [str(path.relative_to(root)) for path in files if "mark.gpu" in path.read_text("utf-8")]


def _known():
    """{test: outcome} of those that have a row."""
    rows = Rows(os.environ[FOLDER]).all()
    return {row["test"]: row["outcome"] for row in rows if "outcome" in row}


class _Watcher:
    """A plugin of pytest that appends a row for each test.

    A test for which something is not installed counts as skipped.

    Args:
        alone: whether the tests run in this process.
    """

    def __init__(self, alone):
        self.alone, self.spoiled, self.seen = alone, False, set(_known())
        self.rows = Rows(os.environ[FOLDER], stage="kernel_tests", job="pytest")

    def tell_unfinished(self):
        """A row for each test within which an earlier process ended."""
        begun = {row["test"] for row in self.rows.all() if "test" in row and "outcome" not in row}
        for test in sorted(begun - self.seen):
            self.seen.add(test)
            row = {"contender": "pytest", "test": test, "outcome": "failed"}
            self.rows.append("measured", **row, failure="the process ended within it")

    def pytest_runtest_logstart(self, nodeid):
        if self.alone:  # xdist itself says within which test a process of its own ended
            self.rows.append("begun", test=nodeid)

    def pytest_runtest_logreport(self, report):
        self._report(report, over=report.when == "call")

    def pytest_collectreport(self, report):
        self._report(report, over=False)

    def _report(self, report, over):
        if report.nodeid in self.seen or (report.passed and not over):
            return
        self.seen.add(report.nodeid)
        row = {"contender": "pytest", "test": report.nodeid, "outcome": report.outcome}
        row["seconds"] = getattr(report, "duration", None)
        if report.passed:
            self.rows.append("measured", **row)
            return
        reason = _reason(report)
        if report.skipped or reason.startswith("ModuleNotFoundError"):
            self.rows.append("skipped", **row | {"outcome": "skipped", "skipped": reason})
            return
        self.rows.append("measured", **row, failure=reason)
        self.spoiled |= spoils_the_process(report.longreprtext)

    def pytest_runtest_logfinish(self, nodeid):
        if self.spoiled:
            import pytest

            pytest.exit("the GPU takes no more calls from this process", returncode=0)


def _reason(report):
    """The first line of what went wrong, or why a test was skipped."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    said = crash.message if crash is not None else report.longreprtext.strip().splitlines()[-1]
    lines = [line.removeprefix("E").strip() for line in said.splitlines() if line.strip()]
    return (lines or ["?"])[0][:300]
