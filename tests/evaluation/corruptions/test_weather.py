"""The plasma of fog fills its range and grows rougher with less decay."""

from fastneg.evaluation.corruptions.draws import Draws
from fastneg.evaluation.corruptions.weather import plasma


def test_plasma_fills_the_range_and_grows_rougher_with_less_decay():
    draw = Draws("cpu", "fog", 1, range(4)).uniform(-1, 1, 64 * 64 - 1)
    rough, smooth = plasma(draw, 64, 1.4), plasma(draw, 64, 3)
    for field in (rough, smooth):
        assert field.amin((1, 2)).eq(0).all() and field.amax((1, 2)).eq(1).all()
    assert (rough[:, 1:] - rough[:, :-1]).abs().mean() > 1.5 * (
        smooth[:, 1:] - smooth[:, :-1]
    ).abs().mean()
