"""Figures are means over the steps since the last reading, and survive an interruption in order."""

import json

import pytest

from fastneg.runs.log import RunLog, drop_rows_after


def test_rows_after_a_checkpoint_and_half_lines_are_dropped(tmp_path):
    lines = [json.dumps({"kind": "train", "step": step}) for step in (10, 20, 30)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"kind": "tra')
    drop_rows_after(tmp_path, 20)
    assert (tmp_path / "metrics.jsonl").read_text().splitlines() == lines[:2]
    drop_rows_after(tmp_path / "elsewhere", 20)


def test_the_log_writes_json_lines_and_tensorboard_events(tmp_path, capsys):
    log = RunLog(tmp_path, total_steps=10)
    log.begin(0)
    figures = {
        "epoch": 0,
        "loss": 1.5,
        "acc1": 0.2,
        "images_per_s": 100.0,
        "data_wait_share": 0.25,
    }
    log.row("train", 10, figures)
    log.close()
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [
        {"kind": "train", "step": 10, **figures}
    ]
    assert (
        capsys.readouterr().out
        == "step 10/10 · epoch 0 · loss 1.500 · acc1 20.0% · 100 images/s · data wait 25%\n"
    )
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert (
        events.Scalars("train/loss")[0].value == 1.5 and events.Scalars("train/loss")[0].step == 10
    )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, ""),
        (42.4, " · 42 s left"),
        (125.0, " · 2 min 05 s left"),
        (7500, " · 2 h 05 min left"),
    ],
)
def test_the_line_says_where_the_time_goes_and_how_much_is_left(tmp_path, capsys, seconds, said):
    log = RunLog(tmp_path, total_steps=10)
    figures = {"epoch": 0, "loss": 1.5, "images_per_s": 100.0, "data_wait_share": 0.25}
    log.row("train", 10, {**figures, "host_ms": 12.3, "device_ms": 87.6, "eta_s": seconds})
    log.close()
    times = f"data wait 25% · host 12 ms · device 88 ms{said}\n"
    assert capsys.readouterr().out.endswith(times)


def test_histograms_reach_json_lines_and_tensorboard(tmp_path):
    log = RunLog(tmp_path, total_steps=10)
    log.histograms(7, {"positive": [1, 0, 3]}, [-1.0, -0.5, 0.5, 1.0])
    log.row("knn", 7, {"top1": 12.5})
    assert log.has("knn", 7) and not log.has("knn", 8) and not log.has("train", 7)
    log.close()
    first = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert first == {
        "kind": "similarities",
        "step": 7,
        "low": -1.0,
        "high": 1.0,
        "positive": [1, 0, 3],
    }
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    drawn = events.Histograms("similarity/positive")[0]
    assert (
        drawn.step == 7
        and drawn.histogram_value.num == 4
        and drawn.histogram_value.sum == pytest.approx(3 * 0.75 - 0.75)
    )
    assert events.Scalars("knn/top1")[0].value == 12.5


def test_other_processes_write_nothing(tmp_path):
    log = RunLog(tmp_path / "run", total_steps=10, enabled=False)
    log.row("train", 10, {"loss": 1.0})
    log.say("nothing")
    log.close()
    assert not (tmp_path / "run").exists()
