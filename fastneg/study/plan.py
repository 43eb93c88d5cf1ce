"""The plan of a study: its sizes, its stages and their arms.

A dose is alpha / T: what the negatives weigh in the softmax depends on both together.
"""

from __future__ import annotations

import dataclasses
import statistics
from dataclasses import dataclass

from fastneg.study.verdict import IN_DOMAIN

PLAIN, TREATMENT, CONTROL = "none", "patch", "random_image"
LONGER = "none_longer"
"""The plain arm, trained for about as long as the treatment takes: a negative costs a pass."""
DOSES = (5.0, 10.0, 12.5, 15.0)
HIGHER = 1.2
"""The stronger arm of the main stage, as a multiple of the dose."""
IN_DOMAIN_COST = 2.0
"""Points in domain that a dose may cost to be taken."""
SHARE = (0.02, 0.4)
"""What the negatives must take of the softmax at the end of training for a dose to be one."""
SEED_SD = 2.0
"""Standard deviation between seeds of what an arm changes on the swapped set, points: between 1.5
and 2.5 in a pilot of the size cpu."""


@dataclass(frozen=True)
class Arm:
    name: str
    negatives: str
    dose: float
    """alpha / T; 0 for an arm without negatives."""
    settings: tuple[tuple[str, object], ...] = ()
    """Further fields of its PretrainConfig."""
    measured: float = 0.0
    """Of an arm without negatives, the dose at which they are measured; 0: the preset's."""
    length: float = 1.0
    """Its steps, as a multiple of the other arms'."""

    def overrides(self):
        """Fields of its PretrainConfig, {name: value}."""
        dose = self.dose or self.measured
        found = {"negatives": self.negatives, **dict(self.settings)}
        return found | ({"dose": dose} if dose else {})


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
    data: str = "stencils"
    """What is trained on, a name of DATA."""
    steps: int | None = None
    """In place of epochs."""
    dose: float | None = None
    """Where the dose is known beforehand: no stage looks for it."""
    higher: float = HIGHER
    main: tuple[str, ...] = ()
    """Arms of the main stage; (): all."""
    judged: bool = True
    """Whether the rules of the verdict are of this data; else differences stand alone."""


SIZES = {
    "tiny": Size(
        train_images=240, test_images=96, swapped_images=192, epochs=2, warmup_epochs=0,
        batch_size=48, queue_size=192, seeds={"dose": (100,), "main": (0, 1), "explore": (0,)},
    ),
    # The demo's 1,440 steps. Its seed 0 is not among these: its figures had been seen. The swapped
    # set is large enough to see 1.5 to 2.5 points over ten seeds. Explore has seeds of main, so
    # that its longer plain arm and the treatment there are pairs.
    "cpu": Size(
        train_images=6000, test_images=1200, swapped_images=6336, epochs=24, warmup_epochs=2,
        batch_size=100, queue_size=1024,
        seeds={"dose": (100, 101), "main": tuple(range(1, 11)), "explore": tuple(range(1, 6))},
    ),
    # Alpha 2 and 3 at T 0.2, as published.
    "gpu": Size(
        train_images=0, test_images=0, swapped_images=0, epochs=0, warmup_epochs=5,
        batch_size=256, queue_size=16384, data="photographs", steps=20_000, dose=10.0, higher=1.5,
        judged=False, seeds={"dose": (100,), "main": tuple(range(5)), "explore": (0, 1)},
    ),
    "imagenet100": Size(
        train_images=0, test_images=0, swapped_images=0, epochs=200, warmup_epochs=0,
        batch_size=128, queue_size=16384, data="imagenet100", dose=10.0, higher=1.5,
        main=("none", "patch", "patch_higher"), judged=False,
        seeds={"dose": (100,), "main": (0,), "explore": (0,)},
    ),
}  # fmt: skip
EPOCHS = {("cpu", "moco"): 32}
"""{(size, method): epochs} of a method that needs more than the size's own to pass the gate: those
of its preset."""
DATA = {
    "stencils": "built-in set",
    "photographs": "Tiny-ImageNet, 67 classes",
    "imagenet100": "ImageNet-100",
}
"""{what is trained on: in words}."""
SETS = ("in_domain", "decorrelated", "swapped", "unseen_texture", "texture_only")
"""Test sets of the built-in images that every run is evaluated on."""


TRANSFER = ("pacs_art_painting", "pacs_cartoon", "pacs_sketch")
"""Accuracies of photographs: a probe on PACS's photographs, tested on its other domains."""
UNBIASED = ("unbiased_decorrelated", "unbiased_swapped")
"""Accuracies on the built-in images of a second probe. It is trained on images whose texture tells
nothing of the class, so it cannot gain by using texture."""
FIGURES = (*SETS, *UNBIASED, "corrupted", *TRANSFER, "shape_bias", "coverage")
"""All that a row of results may hold in percent, in the order of tables."""


def size_for(name, method):
    """The `Size` of that name, as long as the method needs."""
    size = SIZES[name]
    return dataclasses.replace(size, epochs=EPOCHS.get((name, method), size.epochs))


def figures_of(rows):
    """Those of FIGURES that rows of results have."""
    return tuple(name for name in FIGURES if any(row.get(name) is not None for row in rows))


def arms_of(stage, dose=None, size=None, queue=True):
    """The arms of a stage, in the order in which a block trains them.

    Args:
        stage: "dose", "main" or "explore".
        dose: of main and explore.
        size: `Size`; None: of a size like cpu.
        queue: whether the method has a queue; without one there is no `queue_entry`.
    """
    if stage == "dose":
        plain = Arm(PLAIN, "none", 0.0)
        return (plain, *(Arm(f"{TREATMENT}_{each:g}", TREATMENT, each) for each in DOSES))
    plain = Arm(PLAIN, "none", 0.0, measured=dose)
    if stage == "main":
        times = HIGHER if size is None else size.higher
        higher = Arm(f"{TREATMENT}_higher", TREATMENT, times * dose)
        arms = plain, Arm(TREATMENT, TREATMENT, dose), Arm(CONTROL, CONTROL, dose), higher
        return tuple(arm for arm in arms if not (size and size.main) or arm.name in size.main)
    # Passes through the network, a backward pass counted as two: of MoCo's two views one has a
    # backward pass and its negatives have none; of SimCLR's three images each has one.
    longer = 5 / 4 if queue else 3 / 2
    return (
        plain,
        Arm(LONGER, "none", 0.0, measured=dose, length=longer),
        Arm("texture", "texture", dose),
        Arm("patch_texture", "patch,texture", dose / 2),
        *((Arm("queue_entry", "queue_entry", dose),) if queue else ()),
        Arm("joint_bn", TREATMENT, dose, (("negatives_bn", "joint"),)),
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
