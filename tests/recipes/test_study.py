"""fastneg study: blocks, what a second call does, pairing, and what is refused."""

import dataclasses
import json
import re

import pytest
import torch

from fastneg.config import ConfigError
from fastneg.config.study import StudyConfig
from fastneg.files import append_json
from fastneg.recipes import study
from fastneg.recipes.cli import main
from fastneg.runs import checkpoint
from fastneg.study.folder import results_of
from fastneg.study.plan import SETS, UNBIASED, Size, arms_of
from helpers.study_folders import row_of

MINI = Size(
    train_images=48, test_images=24, swapped_images=24, epochs=1, warmup_epochs=0, batch_size=24,
    queue_size=48, seeds={"dose": (100,), "main": (0, 1), "explore": (0,)},
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A main stage: two calls, of which the second finds a line that a kill has cut."""
    out = tmp_path_factory.mktemp("study") / "out"
    flags = ["--size", "tiny", "--out", str(out), "--dose", "10", "--device", "cpu"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(study.SIZES, "tiny", MINI)
        assert main(["study", *flags, "--arms", "none,patch", "--seeds", "0"]) == 0
        with open(out / "results.jsonl", "ab") as file:
            file.write(b'{"stage": "main", "arm": "random_im')
        assert main(["study", *flags, "--arms", "none,patch,random_image", "--seeds", "0"]) == 0
    return out


def test_each_run_is_made_once_and_leaves_its_figures(whole):
    rows = results_of(whole)
    assert [row["arm"] for row in rows] == ["none", "patch", "random_image"]
    for row in rows:
        assert {*SETS, "shape_bias", "coverage", "untrained", "commit", "versions"} <= row.keys()
        assert row["steps"] == 2 and row["seed"] == 0 and row["stage"] == "main"
    assert [row["dose"] for row in rows] == [0.0, 10.0, 10.0]
    assert rows[0]["negative_share"] is None and 0 < rows[1]["negative_share"] < 1
    for row in rows:
        curve = row["curve"]
        assert curve["step"] and len(curve["step"]) == len(curve["negative_share"])
    assert "Undecided" in (whole / "report.html").read_text(encoding="utf-8")
    # with the line that was cut
    assert len((whole / "results.jsonl").read_bytes().splitlines()) == 4
    assert (whole / "logs" / "main" / "patch-0.txt").read_text()


def test_one_block_is_no_verdict_yet(whole):
    verdict = json.loads((whole / "verdict.json").read_text())
    assert verdict["word"] == "undecided" and verdict["seeds"] == [0]
    assert "1 whole block" in verdict["sentence"]


def test_the_arms_of_a_block_begin_alike(whole):
    """Initial weights come from the seed alone: both probes of the untrained encoder agree."""
    rows = results_of(whole)
    assert len({row["untrained"] for row in rows}) == 1
    states = [
        checkpoint.load_newest(whole / "runs" / "main" / f"{row['arm']}-0")[1]["method"]
        for row in rows
    ]
    name = "query_encoder.projector.0.weight"
    assert not torch.equal(states[0][name], states[1][name])  # trained, they differ


def test_each_run_has_a_second_probe(whole):
    rows = results_of(whole)
    assert all(0 <= row[name] <= 100 for row in rows for name in UNBIASED)
    # another probe than the first, on the same test sets
    assert any(
        row[name] != row[name.removeprefix("unbiased_")] for row in rows for name in UNBIASED
    )
    assert "unbiased swapped" in (whole / "report.html").read_text(encoding="utf-8")


def test_the_same_command_has_nothing_left_to_do(whole, monkeypatch, capsys):
    """Nor has that of a version with other seeds by default."""
    other = dataclasses.replace(MINI, seeds={**MINI.seeds, "explore": (7,)})
    monkeypatch.setitem(study.SIZES, "tiny", other)
    monkeypatch.setattr(study, "train_and_evaluate", None)
    flags = ["--size", "tiny", "--out", str(whole), "--dose", "10", "--arms", "none,patch"]
    assert main(["study", *flags, "--seeds", "0"]) == 0
    assert "2 of 2 runs are there" in capsys.readouterr().out


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """(folder, flags) of a study whose runs take no time: figures are made up, and a run of seed 7
    is always another process's."""

    def run(task):
        if task.seed == 7:
            return None, None
        helps = 10.0 if task.arm.dose == 10.0 else -10.0
        effect = helps if task.arm.name == "patch" else 0.0
        known = {"size": "tiny", "in_domain": 85.0, "seconds": 200.0 if task.arm.dose else 100.0}
        found = row_of("main", task.arm, task.seed, effect, **known)
        return found, None

    monkeypatch.setitem(study.SIZES, "tiny", MINI)
    monkeypatch.setattr(study, "make_data", lambda *_: None)
    monkeypatch.setattr(study, "train_and_evaluate", run)
    monkeypatch.setattr(study, "write_study_report", lambda folder, out, doses: doses)
    out = tmp_path / "study"
    return out, ["study", "--size", "tiny", "--out", str(out), "--arms", "none,patch,random_image"]


def test_the_page_and_the_verdict_are_of_the_same_dose(made_up, capsys):
    """Also where runs of another dose are newer."""
    out, flags = made_up
    for dose, word in (("10", "supported"), ("5", "not supported"), ("10", "supported")):
        assert main([*flags, "--dose", dose, "--seeds", "0-4"]) == 0
        verdict = json.loads((out / "verdict.json").read_text())
        assert (verdict["word"], verdict["dose"]) == (word, float(dose))
        assert f"dose {dose})" in verdict["sentence"]
        assert f"Report: {{'main': {float(dose)}}}" in capsys.readouterr().out


def test_the_rest_takes_what_such_arms_took(made_up, capsys):
    """A plain run takes half of the time of the others."""
    _, flags = made_up
    assert main([*flags, "--dose", "10", "--seeds", "0-1"]) == 0
    said = capsys.readouterr().out
    left = re.findall(r"(\d) of 6  .*; (.*) left", said)
    # in seconds: 5 × 100; 2 × 150 + 100 + 200; then each arm is known
    times = ["8 min 20 s", "10 min 00 s", "8 min 20 s", "6 min 40 s", "3 min 20 s", "0 s"]
    assert left == list(zip("123456", times, strict=True))
    assert "Begins: none, seed 0; what it prints is in" in said


def test_single_runs_by_name(made_up, capsys):
    out, flags = made_up
    single = ["--dose", "10", "--only", "patch-3, none-3,patch-3"]
    assert main([*flags[:-2], *single]) == 0
    assert [(row["arm"], row["seed"]) for row in results_of(out)] == [("patch", 3), ("none", 3)]
    assert "2 arms on 1 seed, 0 of 2 runs are there" in capsys.readouterr().out
    for wrong, said in (("pach-3", "--only has 'pach'"), ("patch", "--only has 'patch': an arm")):
        assert main([*flags[:-2], "--dose", "10", "--only", wrong]) == 2
        assert said in capsys.readouterr().err
    assert main([*flags[:-2], "--dose", "10", "--seeds", "3", "--only", " , "]) == 0  # none named
    assert "4 arms on 1 seed, 2 of 4 runs are there" in capsys.readouterr().out
    assert main([*flags, *single]) == 2
    assert "leave --arms and --seeds out" in capsys.readouterr().err


def test_runs_of_another_process_are_left_to_it(made_up, capsys):
    out, flags = made_up
    assert main([*flags, "--dose", "10", "--seeds", "0,7"]) == 1
    said = capsys.readouterr().out
    assert "Left out none, seed 7: another process trains it." in said
    assert "3 runs of another process" in said and not (out / "verdict.json").exists()
    assert [row["seed"] for row in results_of(out)] == [0, 0, 0]


def test_what_another_process_has_made_meanwhile_is_not_made_again(made_up, monkeypatch):
    out, flags = made_up
    own = study.train_and_evaluate

    def run(task):
        if task.arm.name == "none":  # the other one's line comes while this one trains
            arm = arms_of("main", 10.0)[1]
            append_json(out / "results.jsonl", row_of("main", arm, task.seed, size="tiny"))
        assert task.arm.name != "patch"
        return own(task)

    monkeypatch.setattr(study, "train_and_evaluate", run)
    assert main([*flags, "--dose", "10", "--seeds", "0"]) == 0
    assert sorted(row["arm"] for row in results_of(out)) == ["none", "patch", "random_image"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--method", "moco"], "another study"),
        (["--arms", "none,pach"], "'pach': none, patch, random_image, patch_higher"),
        ([], "lacks 5 runs of the stage dose"),
    ],
)
def test_what_cannot_be_is_refused(whole, monkeypatch, capsys, flags, said):
    monkeypatch.setitem(study.SIZES, "tiny", MINI)
    dose = [] if not flags else ["--dose", "10"]
    assert main(["study", "--size", "tiny", "--out", str(whole), *dose, *flags]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0-3", (0, 1, 2, 3)), ("5,0, 2-3", (0, 2, 3, 5)), ("3, 1-2,3, ", (1, 2, 3)), ("", ())],
)
def test_seeds_are_numbers_and_ranges(text, expected):
    assert StudyConfig(seeds=text).seed_numbers() == expected


@pytest.mark.parametrize("text", ["a", "3-1", "-1", "1.5"])
def test_seeds_that_are_none_are_refused(text):
    with pytest.raises(ConfigError, match="--seeds"):
        StudyConfig(seeds=text)


def test_a_dose_is_not_given_to_the_stage_that_finds_it():
    with pytest.raises(ConfigError, match="--dose"):
        StudyConfig(stage="dose", dose=5.0)
