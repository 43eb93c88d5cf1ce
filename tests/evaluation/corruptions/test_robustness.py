"""Mean accuracy and mCE on tables worked by hand: AlexNet against itself is 100%."""

import pytest
import torch

from fastneg.evaluation.accuracy import share_interval
from fastneg.evaluation.corruptions import ALL_15
from fastneg.evaluation.corruptions.robustness import (
    ALEXNET,
    ALEXNET_CLEAN,
    mean_accuracy,
    mean_corruption_errors,
    summary,
    with_interval,
)


def of(errors):
    """Accuracies in percent that have these errors as their means over the severities, with the
    severities apart."""
    return {
        name: [100 * (1 - error) + step for step in (6, 3, 0, -3, -6)]
        for name, error in errors.items()
    }


def test_the_table_is_whole_and_by_name():
    assert list(ALEXNET) == list(ALL_15)


def test_alexnet_against_itself_is_100():
    mce, relative = mean_corruption_errors(of(ALEXNET), 100 * (1 - ALEXNET_CLEAN))
    assert (mce, relative) == (pytest.approx(100), pytest.approx(100))
    backwards = dict(reversed(of(ALEXNET).items()))
    assert mean_corruption_errors(backwards, 100 * (1 - ALEXNET_CLEAN)) == (
        pytest.approx(100),
        pytest.approx(100),
    ), "by name"


def test_the_published_row_of_resnet_50():
    """Hendrycks and Dietterich 2019, table 1: clean error 23.9%, mCE 76.7%, relative mCE 105.0%;
    its CEs in whole numbers."""
    ces = dict(
        zip(ALL_15, (80, 82, 83, 75, 89, 78, 80, 78, 75, 66, 57, 71, 85, 77, 77), strict=True)
    )
    mce, relative = mean_corruption_errors(
        of({name: ALEXNET[name] * ce / 100 for name, ce in ces.items()}), 76.1
    )
    assert (mce, relative) == (pytest.approx(76.7, abs=0.5), pytest.approx(105.0, abs=1.0))


def test_half_of_alexnets_errors():
    mce, relative = mean_corruption_errors(
        of({name: error / 2 for name, error in ALEXNET.items()}), 100 * (1 - ALEXNET_CLEAN / 2)
    )
    assert (mce, relative) == (pytest.approx(50), pytest.approx(50))


def test_one_corruption_weighs_a_fifteenth():
    errors = {**ALEXNET, "brightness": 0.0}
    mce, _ = mean_corruption_errors(of(errors), 50.0)
    assert mce == pytest.approx(100 * 14 / 15)


def test_a_model_that_corruption_does_not_touch():
    _, relative = mean_corruption_errors(of(dict.fromkeys(ALL_15, 0.3)), 70.0)
    assert relative == pytest.approx(0, abs=1e-9)


def test_the_extra_corruptions_do_not_count():
    table = {**of(ALEXNET), "spatter": [0.0] * 5}
    assert mean_accuracy(table) == pytest.approx(100 * (1 - sum(ALEXNET.values()) / 15))
    assert mean_corruption_errors(table, 50.0) == mean_corruption_errors(of(ALEXNET), 50.0)
    with pytest.raises(ValueError, match="none is of ImageNet-C's 15"):
        mean_accuracy({"spatter": [0.0] * 5})


def test_where_mce_means_nothing_it_is_not_given():
    whole = summary(of(ALEXNET), 100 * (1 - ALEXNET_CLEAN), 1000)
    assert whole["mce"] == pytest.approx(100) and "mce_note" not in whole
    hundred = summary(of(ALEXNET), 50.0, 100)
    assert (
        hundred["mce"] is None
        and "this test has 100" in hundred["mce_note"]
        and hundred["mean_top1"] == whole["mean_top1"]
    )
    without = summary(of(ALEXNET), None, 1000)
    assert (
        without["mce"] == pytest.approx(100)
        and without["relative_mce"] is None
        and "val=PATH" in without["mce_note"]
    )
    fewer = summary(of(ALEXNET), 50.0, 1000, same_images=False)
    assert (
        fewer["mce"] is None is fewer["relative_mce"]
        and "have fewer" in fewer["mce_note"]
        and fewer["mean_top1"] == whole["mean_top1"]
    )
    some = {name: values for name, values in of(ALEXNET).items() if name != "fog"}
    part = summary(some, 50.0, 1000)
    assert part["mce"] is None is part["relative_mce"] and "14 are here" in part["mce_note"]
    assert (
        part["mean_top1"] is None
        and part["partial_mean_top1"] == pytest.approx(mean_accuracy(some))
        and "it lacks fog." in part["mean_note"]
    )
    assert "partial_mean_top1" not in whole and "mean_note" not in whole
    with pytest.raises(ValueError, match="fog"):
        mean_corruption_errors(some, 50.0)


def test_the_interval_of_the_mean_is_over_images_and_not_over_their_versions():
    """Of 100 images each is right always or never: 75 versions of one tell no more than one."""
    shares = (torch.arange(100) < 40).float()
    found = with_interval({"mean_top1": 40.0}, shares)["mean_top1_interval"]
    assert found == pytest.approx(share_interval(0.4, 100), abs=0.01)
    # where they differ, many images: the normal interval of a mean
    shares = torch.linspace(0.2, 0.6, 4000)
    found = with_interval({"mean_top1": 40.0}, shares)["mean_top1_interval"]
    half = 196 * shares.std().item() / 4000**0.5
    assert found == pytest.approx([40 - half, 40 + half], abs=0.01)
    for share in (0.0, 1.0):  # an interval of no width would claim too much
        row = with_interval({"mean_top1": 100 * share}, torch.full((30,), share))
        assert row["mean_top1_interval"] == [*share_interval(share, 30)]
    part = with_interval({"mean_top1": None, "partial_mean_top1": 1.0}, torch.tensor([0.0, 0.02]))
    assert part["partial_mean_top1_interval"][0] >= 0.0
    assert with_interval({"mean_top1": 40.0}, shares[:1]) == {"mean_top1": 40.0}
