"""Sessions of model-vs-human tell the category and the condition by the file's name."""

import pytest

from fastneg.config import ConfigError
from fastneg.evaluation.sets.sessions import conditions_of, find_sessions, session_sources
from helpers.encoder_runs import evaluate
from helpers.tinted import make_images


def session_names():
    shown = [("airplane", "a"), ("bear", "c"), ("bicycle", "c"), ("bear", "a"), ("bird", "a")]
    return {
        f"{number:04}_con_dnn_{condition}_{name}_10_n0_{number}.png": look
        for number, (condition, (name, look)) in enumerate(
            (c, s) for c in ("c05", "c100") for s in shown
        )
    }


@pytest.mark.parametrize("below", ["", "dnn", "dnn/session-1"])
def test_sessions_tell_the_category(probed, lines, tmp_path, categories, below):
    root = tmp_path / "contrast"
    make_images({root / "dnn" / "session-1" / name: look for name, look in session_names().items()})
    (root / "dnn" / "session-1" / "notes.txt").write_text("no image")
    name = f"contrast{below.replace('/', '-')}"
    assert evaluate(probed, f"{name}={root / below}", categories=categories) == 0
    row = lines()[0]
    assert row["images"] == 8 and row["classes"] == 3 and row["top1"] == pytest.approx(50)
    assert row["by_condition"] == {
        "c05": {"top1": 50.0, "images": 4},
        "c100": {"top1": 50.0, "images": 4},
    }


def test_several_sessions_and_loose_images(tmp_path):
    names = list(session_names())
    make_images(
        {
            tmp_path / "s" / "dnn" / f"session-{1 + i % 2}" / name: "a"
            for i, name in enumerate(names)
        }
    )
    folder, sessions = find_sessions(tmp_path / "s")
    assert (
        sessions == ["session-1", "session-2"]
        and len(session_sources(folder, sessions).names) == 10
    )
    make_images(dict.fromkeys((tmp_path / "loose" / name for name in names), "a"))
    sources = session_sources(*find_sessions(tmp_path / "loose"))
    assert sources.classes == ["airplane", "bear", "bicycle", "bird"] and sources.labels[:3] == [
        0,
        1,
        2,
    ]
    assert conditions_of(sources.names) == ["c05"] * 5 + ["c100"] * 5
    assert conditions_of([*sources.names, "cat/0.png"]) is None is conditions_of(None)
    make_images({tmp_path / "classes" / "cat" / "1.png": "a"})
    assert find_sessions(tmp_path / "classes") is None
    make_images({tmp_path / "s" / "dnn" / "session-1" / "other.png": "a"})
    with pytest.raises(ConfigError, match=r"other\.png tells no category"):
        session_sources(folder, sessions)
    (tmp_path / "s" / "dnn" / "session-3").mkdir()
    with pytest.raises(ConfigError, match="session-3 holds no images"):
        session_sources(folder, ["session-3"])
