"""Arms, doses, and the rule that takes one."""

import pytest

from fastneg.study.plan import DATA, DOSES, SIZES, arms_of, choose_dose, figures_of


@pytest.mark.parametrize("stage", ["dose", "main", "explore"])
def test_each_stage_has_the_plain_arm_first_and_arms_of_one_name(stage):
    arms = arms_of(stage, 10.0)
    # where a dose is known, what negatives would weigh is measured at it
    measured = {} if stage == "dose" else {"dose": 10.0}
    assert arms[0].name == "none" and arms[0].overrides() == {"negatives": "none", **measured}
    assert arms[0].dose == 0
    assert len({arm.name for arm in arms}) == len(arms)
    assert all(SIZES[size].seeds[stage] for size in SIZES)


def test_the_control_has_the_treatments_dose():
    none, patch, control, higher = arms_of("main", 12.5)
    assert none.dose == 0 and patch.dose == control.dose == 12.5 and higher.dose == 15.0
    assert patch.overrides() == {"negatives": "patch", "dose": 12.5}
    assert control.overrides() == {"negatives": "random_image", "dose": 12.5}
    joint = next(arm for arm in arms_of("explore", 12.5) if arm.name == "joint_bn")
    assert joint.overrides() == {"negatives": "patch", "dose": 12.5, "negatives_bn": "joint"}


def test_an_arm_without_negatives_trains_as_long_as_they_cost():
    for queue, times in ((True, 1.25), (False, 1.5)):
        longer = [arm for arm in arms_of("explore", 12.5, queue=queue) if arm.length != 1]
        assert [(arm.name, arm.negatives, arm.length) for arm in longer] == [
            ("none_longer", "none", times)
        ]


def test_sizes_have_arms_and_doses_of_their_own():
    paper = SIZES["imagenet100"]
    arms = arms_of("main", paper.dose, paper)
    # alpha 2 and 3 at T 0.2
    assert [(arm.name, arm.dose) for arm in arms] == [
        ("none", 0),
        ("patch", 10),
        ("patch_higher", 15),
    ]
    assert len(arms_of("main", 10.0, SIZES["gpu"])) == 4
    names = [{arm.name for arm in arms_of("explore", 1.0, queue=queue)} for queue in (True, False)]
    assert names[0] - names[1] == {"queue_entry"} and all(
        size.data in DATA for size in SIZES.values()
    )


def test_the_figures_of_rows_stand_in_the_order_of_tables():
    rows = [{"swapped": 1.0, "in_domain": 2.0, "other": 3.0}, {"corrupted": 4.0, "coverage": None}]
    assert figures_of(rows) == ("in_domain", "swapped", "corrupted")


def test_the_seeds_of_the_dose_are_no_seeds_of_the_verdict():
    for size in SIZES.values():
        assert not set(size.seeds["dose"]) & set(size.seeds["main"])


def rows(in_domain, shares, plain=83.0):
    made = [{"dose": 0.0, "in_domain": plain, "negative_share": None}]
    for dose, accuracy, share in zip(DOSES, in_domain, shares, strict=True):
        for wobble in (-0.1, 0.1):  # two seeds
            made.append({"dose": dose, "in_domain": accuracy + wobble, "negative_share": share})
    return made


@pytest.mark.parametrize(
    ("in_domain", "shares", "expected"),
    [
        ((83.0, 83.0, 82.5, 75.0), (0.03, 0.1, 0.2, 0.3), 12.5),  # the last costs too much
        ((83.0, 83.0, 83.0, 83.0), (0.001, 0.01, 0.05, 0.5), 12.5),  # the last takes too much
        ((83.0, 83.0, 83.0, 83.0), (0.001, 0.001, 0.001, 0.01), None),  # none is a dose
        ((60.0, 60.0, 60.0, 60.0), (0.1, 0.1, 0.1, 0.1), None),
    ],
)
def test_the_highest_dose_within_the_rules_is_taken(in_domain, shares, expected):
    assert choose_dose(rows(in_domain, shares)) == expected


def test_without_the_plain_arm_no_dose_is_taken():
    assert choose_dose(rows((83.0,) * 4, (0.1,) * 4)[1:]) is None and choose_dose([]) is None
