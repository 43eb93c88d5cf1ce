"""The page puts each figure beside its goal (fastneg.recipes.bench.first_hour.goals)."""

import pytest

from fastneg.recipes.bench.first_hour.goals import GOALS
from fastneg.recipes.bench.first_hour.page import as_html, as_markdown, page_blocks, write_page
from fastneg.recipes.bench.first_hour.rows import Rows
from fastneg.recipes.bench.first_hour.stages import STAGES
from fastneg.recipes.bench.gpus import gpu_of

CARD = {
    "device": "cuda",
    "device_name": "NVIDIA H100 80GB HBM3",
    "cores": 16,
    "commit": "abc",
    "versions": {"torch": "2.11"},
}
STEP = {"contender": "fastneg", "N": 256, "ms_median": 80.0, "samples_per_s": 3200.0}


def measured(folder):
    """Rows as a GPU would give them."""
    for stage in ("ceilings", "kernel_tests", "step", "road"):
        Rows(folder, stage=stage).append("begun", **CARD)
    add = lambda stage, **row: Rows(folder, stage=stage).append("measured", job="a", **row)
    add("ceilings", contender="copy", gb_s=1500.0)
    add("step", **STEP)
    add("road", contender="patch", measured="training", samples_per_s=3100.0, data_wait_share=0.2)
    add("kernel_tests", contender="pytest", test="t.py::<odd>|one", outcome="failed", failure="no")
    add("kernel_tests", contender="pytest", test="t.py::two", outcome="passed")
    Rows(folder, stage="kernel_tests").append(
        "measured", contender="pytest", passed=1, failed=1, skipped=0
    )
    return Rows(folder)


def goals_of(rows):
    blocks = list(page_blocks(rows))
    (_, lines) = next(content for kind, content in blocks if kind == "table")
    return {about: (found, wanted, verdict) for about, found, wanted, verdict, *_ in lines}


def test_figures_stand_beside_goals(tmp_path):
    found = goals_of(measured(tmp_path))
    by = {goal.about: goal for goal in GOALS}
    copy = found[next(about for about in by if about.startswith("copy"))]
    assert copy == ("1,500 GB/s", "≥ 3,000 GB/s", "0.50 of it")
    step = found[next(about for about in by if about.startswith("training step"))]
    assert step == ("3,200 samples/s", "≥ 3,070 samples/s", "reached")
    # 0.95 of the step's 3200
    road = found["the real command, .beton to log"]
    assert road == ("3,100 samples/s", "≥ 3,040 samples/s", "reached")
    waits = found["the share of time in which the real command waits for data"]
    assert waits == ("0.2", "≤ 0.05", "4.00 of it")
    assert found["tests that fail"] == ("1", "≤ 0", "missed")
    nothing = next(value for about, value in found.items() if about.startswith("the loss"))
    assert nothing[0] == "–"


def test_the_page_names_what_failed_and_what_was_not_measured(tmp_path):
    blocks = list(page_blocks(measured(tmp_path)))
    markdown, page = as_markdown(blocks), as_html(blocks)
    assert "1 passed, 1 failed, 0 skipped" in markdown
    assert "t.py::<odd>\\|one" in markdown and "t.py::&lt;odd&gt;|one" in page
    assert "NVIDIA H100 80GB HBM3, 16 cores, commit abc; torch 2.11" in markdown
    assert "have not begun: info_nce, kernels, loader, compile_graphs" in markdown
    assert "rehearsal" not in markdown


def test_a_rehearsal_says_so(tmp_path):
    Rows(tmp_path, stage="step").append("begun", **CARD | {"device": "cpu", "device_name": "CPU"})
    Rows(tmp_path, stage="step").append("measured", job="a", **STEP)
    html, markdown = write_page(tmp_path)
    assert "rehearsal" in html.read_text() and "rehearsal" in markdown.read_text()
    step = next(
        value
        for about, value in goals_of(Rows(tmp_path)).items()
        if about.startswith("training step")
    )
    assert step == ("3,200 samples/s", "–", "–"), "no goal of a GPU on a CPU"


def test_without_rows_the_page_says_so(tmp_path):
    assert "Nothing was measured" in write_page(tmp_path)[1].read_text()


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.about[:30])
def test_each_goal_is_of_a_stage_and_has_a_basis(goal):
    assert goal.stage in STAGES and goal.basis
    assert bool(goal.gpus) != (goal.of_rows is not None)


@pytest.mark.parametrize(
    ("name", "gpu"),
    [
        ("NVIDIA H200", "H200"),
        ("NVIDIA GeForce RTX 4090", "RTX4090"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("x86_64 CPU", None),
        (None, None),
    ],
)
def test_the_card_is_told_by_its_name(name, gpu):
    assert gpu_of(name) == gpu
