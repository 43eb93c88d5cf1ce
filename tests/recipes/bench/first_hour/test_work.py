"""The process of a stage: a job that fails or lacks something takes no other with it
(fastneg.recipes.bench.first_hour.stages says what a job is)."""

import importlib

import pytest

from fastneg.recipes.bench.first_hour.rows import Rows
from fastneg.recipes.bench.first_hour.stages import STAGES, Job, Missing
from fastneg.recipes.bench.first_hour.work import Again, run_job, spoils_the_process


def run(tmp_path, measure):
    """(whether the job had what it needs, its rows without the time)"""
    rows = Rows(tmp_path, stage="dummy")
    had = run_job(Job("one", measure), rows)
    return had, rows.all()


def test_rows_are_there_before_the_next_is_measured(tmp_path):
    def measure():
        yield {"ms": 1.0}
        assert Rows(tmp_path).all()[-1]["ms"] == 1.0
        yield {"contender": "peer", "skipped": "not installed"}
        yield {"contender": "other", "failed": "ValueError: no"}

    had, rows = run(tmp_path, measure)
    assert had
    assert [row["status"] for row in rows] == ["begun", "measured", "skipped", "failed", "ended"]
    assert {row["job"] for row in rows} == {"one"} and {row["stage"] for row in rows} == {"dummy"}


def raising(error):
    def measure():
        yield {"ms": 1.0}
        raise error

    return measure


def test_a_job_that_fails_says_why_and_is_over(tmp_path):
    had, rows = run(tmp_path, raising(ValueError("no such thing\nand more")))
    assert had and rows[-2]["failed"] == "ValueError: no such thing"
    assert Rows(tmp_path).ended_jobs("dummy") == {"one"}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Missing("needs a CUDA device"), "needs a CUDA device"),
        (ModuleNotFoundError("No module named 'nvidia'", name="nvidia"), "nvidia is not installed"),
    ],
)
def test_what_is_missing_is_said_and_tried_again_by_the_next_call(tmp_path, error, said):
    had, rows = run(tmp_path, raising(error))
    assert not had and rows[-1]["skipped"] == said and rows[-1]["missing"]
    assert Rows(tmp_path).ended_jobs("dummy") == set()


def test_a_missing_module_of_ours_is_a_fault(tmp_path):
    error = ModuleNotFoundError("No module named 'fastneg.kernel'", name="fastneg.kernel")
    had, rows = run(tmp_path, raising(error))
    assert had and "fastneg.kernel" in rows[-2]["failed"]


def test_a_spoiled_gpu_asks_for_a_new_process(tmp_path):
    error = RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(Again):
        run(tmp_path, raising(error))
    assert Rows(tmp_path).ended_jobs("dummy") == {"one"}, "the job is not tried in the new one"


@pytest.mark.parametrize(
    ("said", "spoiled"),
    [
        ("AcceleratorError: CUDA error: device-side assert triggered", True),
        ("RuntimeError: Triton Error [CUDA]: an illegal memory access was encountered", True),
        ("OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", False),
        ("RuntimeError: CUDA error: out of memory", False),
        ("AssertionError: tensors are not close", False),
    ],
)
def test_which_errors_spoil_a_process(said, spoiled):
    assert spoils_the_process(said) == spoiled


def test_each_stage_names_what_there_is():
    for stage in STAGES.values():
        module, _, function = stage.jobs.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
        assert stage.about.endswith(".") and stage.limit_s > 0
