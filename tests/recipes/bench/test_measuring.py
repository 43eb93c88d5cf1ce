"""Contenders take turns, and the first round warms up."""

from fastneg.recipes.bench.measuring import figures_of, take_turns


def test_contenders_take_turns_and_the_first_round_warms_up():
    calls = []
    times = take_turns({name: lambda name=name: calls.append(name) for name in "ab"}, 2, "cpu")
    assert calls == ["a", "b"] * 3 and {name: len(found) for name, found in times.items()} == {
        "a": 2,
        "b": 2,
    }
    assert figures_of([5.0, 1.0, 2.0, 3.0, 4.0, 6.0]) == {
        "ms_median": 3.5,
        "ms_p20": 2.0,
        "ms_p80": 5.0,
    }
