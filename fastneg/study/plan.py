"""What a study trains: its sizes, its stages and their arms.

A dose is alpha / T: what the negatives weigh in the softmax depends on both together.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from fastneg.study.verdict import IN_DOMAIN

PLAIN, TREATMENT, CONTROL = "none", "patch", "random_image"
DOSES = (5.0, 10.0, 12.5, 15.0)
HIGHER = 1.2
"""The stronger arm of the main stage, as a multiple of the dose."""
IN_DOMAIN_COST = 2.0
"""Points in domain that a dose may cost to be taken."""
SHARE = (0.02, 0.4)
"""What the negatives must take of the softmax at the end of training for a dose to be one."""


@dataclass(frozen=True)
class Arm:
    name: str
    negatives: str
    dose: float
    """alpha / T; 0 for an arm without negatives."""
    settings: tuple[tuple[str, object], ...] = ()
    """Further fields of its PretrainConfig."""

    def overrides(self, temperature):
        """Fields of its PretrainConfig, {name: value}."""
        found = {"negatives": self.negatives, **dict(self.settings)}
        return found | ({"alpha": self.dose * temperature} if self.dose else {})


@dataclass(frozen=True)
class Size:
    """How much is trained and tested."""

    train_images: int
    test_images: int
    """Of each test set but the swapped one."""
    swapped_images: int
    epochs: int
    warmup_epochs: int
    batch_size: int
    queue_size: int
    seeds: dict[str, tuple[int, ...]]
    """{stage: seeds}."""


SIZES = {
    "tiny": Size(
        train_images=240, test_images=96, swapped_images=192, epochs=2, warmup_epochs=0,
        batch_size=48, queue_size=192, seeds={"dose": (100,), "main": (0, 1), "explore": (0,)},
    ),
    # 2,400 steps; the swapped set is large enough to see 1.5 to 2.5 points over ten seeds.
    "cpu": Size(
        train_images=6000, test_images=1200, swapped_images=6336, epochs=40, warmup_epochs=2,
        batch_size=100, queue_size=1024,
        seeds={"dose": (100, 101), "main": tuple(range(10)), "explore": tuple(range(5))},
    ),
}  # fmt: skip
SETS = ("in_domain", "decorrelated", "swapped", "unseen_texture", "texture_only")
"""Test sets of the built-in images that every run is evaluated on."""


def arms_of(stage, dose=None):
    """The arms of a stage, in the order in which a block trains them.

    Args:
        stage: "dose", "main" or "explore".
        dose: of main and explore.
    """
    plain = Arm(PLAIN, "none", 0.0)
    if stage == "dose":
        return (plain, *(Arm(f"{TREATMENT}_{each:g}", TREATMENT, each) for each in DOSES))
    if stage == "main":
        higher = Arm(f"{TREATMENT}_higher", TREATMENT, HIGHER * dose)
        return plain, Arm(TREATMENT, TREATMENT, dose), Arm(CONTROL, CONTROL, dose), higher
    return (
        plain,
        Arm("texture", "texture", dose),
        Arm("patch_texture", "patch,texture", dose / 2),
        Arm("small_patches", TREATMENT, dose, (("patch_min", 3), ("patch_max", 8))),
        Arm("large_patches", TREATMENT, dose, (("patch_min", 8), ("patch_max", 16))),
        Arm("blur", "blur", dose),
    )


def choose_dose(rows):
    """The highest dose that does not stop the encoder from learning.

    That is the highest of which in-domain accuracy, averaged over seeds, is at most IN_DOMAIN_COST
    points below the plain arm's, and whose negatives take SHARE of the softmax.

    Args:
        rows: results of the stage dose: "arm", "dose", "in_domain", "negative_share".
    Returns:
        the dose, or None where none is such.
    """
    by_dose = {}
    for row in rows:
        by_dose.setdefault(row["dose"], []).append(row)
    if 0.0 not in by_dose:
        return None
    least = statistics.fmean(row[IN_DOMAIN] for row in by_dose.pop(0.0)) - IN_DOMAIN_COST
    fit = [
        dose
        for dose, found in by_dose.items()
        if statistics.fmean(row[IN_DOMAIN] for row in found) >= least
        and SHARE[0] <= statistics.fmean(row["negative_share"] for row in found) <= SHARE[1]
    ]
    return max(fit, default=None)
