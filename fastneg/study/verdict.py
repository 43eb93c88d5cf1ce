"""The verdict of a study from the figures of its runs, by rules that were fixed before any run.

The rules:

1. Only whole blocks count: seeds of which every arm of the comparison has a run.
2. *not trained*: the plain arm is below `GATE` percent in domain, or below `TIMES` times the
   untrained encoder, on average. Whatever the arms do then says nothing about the method.
3. *invalid arm*: the treatment or the control is at or below the untrained encoder. Its dose has
   stopped it from learning.
4. *supported*: the treatment is above the plain arm and above the control in both outcomes, each
   with an interval above zero after Holm's correction over the two outcomes, and not inferior to
   the plain arm in domain by `MARGIN` points.
5. *not supported*: an interval of those effects lies below `MEANINGFUL` points, or the treatment is
   inferior in domain by more than `MARGIN` points.
6. *undecided*: anything else; more seeds may tell. Also where a run of a block has no shape bias,
   because no answer names either cue: its seed is not dropped.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from fastneg.counts import counted
from fastneg.study.statistics import LEVEL, Paired, detectable, holm, paired

SWAPPED, BIAS = "swapped", "shape_bias"
OUTCOMES = (SWAPPED, BIAS)
"""Primary outcomes, in percent: accuracy on images that wear another class's texture, and the share
of answers by shape among those that name either cue."""
IN_DOMAIN = "in_domain"
GATE, TIMES = 80.0, 2.0
MARGIN = 1.0
"""Points in domain that the treatment may cost and still count as not inferior."""
MEANINGFUL = 1.0
"""Points: an effect whose whole interval lies below is not what the method promises."""
WORDS = ("supported", "not supported", "undecided", "invalid arm", "not trained")


@dataclass(frozen=True)
class Comparison:
    """One arm against another in one outcome."""

    treatment: str
    against: str
    outcome: str
    paired: Paired
    adjusted_p: float | None = None
    """Holm's, over the primary outcomes; None for an outcome that is not primary."""

    @property
    def positive(self):
        """Whether the effect is above zero after the correction."""
        p = self.paired.p if self.adjusted_p is None else self.adjusted_p
        return self.paired.mean > 0 and p < 1 - self.paired.level


@dataclass(frozen=True)
class Verdict:
    word: str
    """One of WORDS."""
    reason: str
    """Why, in one sentence."""
    seeds: tuple[int, ...]
    """The seeds of the whole blocks."""
    comparisons: tuple[Comparison, ...]
    untrained: float | None
    """In-domain percent of the same probe on untrained encoders, averaged; None where not known."""


def judge(rows, treatment="patch", plain="none", control="random_image"):
    """The verdict on one treatment.

    Args:
        rows: one dict a run: "arm", "seed", and in percent "in_domain", "swapped", "shape_bias";
            "untrained" (in-domain percent of the run's encoder before training) where known.
        treatment, plain, control: names of arms.
    Returns:
        `Verdict`. It is undecided, without comparisons, where there are fewer than two whole
        blocks, or where a run in them has no shape bias, because no answer names either cue. The
        seed is not left out: which seeds count would then depend on what came out.
    Raises:
        ValueError: a run of an arm comes twice for one seed, or lacks an accuracy.
    """
    arms = (plain, treatment, control)
    found = _by_arm(rows, arms)
    seeds = tuple(sorted(set.intersection(*(set(found[arm]) for arm in arms))))
    if len(seeds) < 2:
        reason = f"{counted(len(seeds), 'whole block')} of runs: two or more were expected."
        return Verdict("undecided", reason, seeds, (), None)
    runs = ((arm, seed) for seed in seeds for arm in arms)
    lacking = next(((arm, seed) for arm, seed in runs if found[arm][seed].get(BIAS) is None), None)
    if lacking is not None:
        arm, seed = lacking
        reason = f"the run of {arm}, seed {seed} has no shape bias: no answer names either cue."
        return Verdict("undecided", reason, seeds, (), None)
    values = {
        (arm, outcome): [found[arm][seed][outcome] for seed in seeds]
        for arm in arms
        for outcome in (IN_DOMAIN, *OUTCOMES)
    }
    before = [
        row["untrained"]
        for arm in arms
        for seed, row in found[arm].items()
        if seed in seeds and row.get("untrained") is not None
    ]
    untrained = statistics.fmean(before) if before else None
    comparisons = _comparisons(values, treatment, (plain, control))
    means = {arm: statistics.fmean(values[arm, IN_DOMAIN]) for arm in arms}
    word, reason = (
        _not_trained(means[plain], plain, untrained)
        or _invalid({arm: means[arm] for arm in (treatment, control)}, untrained)
        or _weigh(comparisons, plain, len(seeds))
    )
    return Verdict(word, reason, seeds, comparisons, untrained)


def sentence(verdict, conditions):
    """The verdict in words with n, conditions and what it does not show.

    Args:
        verdict: `Verdict`.
        conditions: what was trained on what, such as "SimCLR, Stencils 64 px, 2,400 steps".
    """
    return (
        f"{verdict.word.capitalize()} ({counted(len(verdict.seeds), 'seed')}; {conditions}): "
        f"{verdict.reason} It says nothing of other data, networks, sizes or lengths of training."
    )


def _by_arm(rows, arms):
    found = {arm: {} for arm in arms}
    for row in rows:
        own = found.get(row["arm"])
        if own is None:
            continue
        if row["seed"] in own:
            raise ValueError(f"arm {row['arm']} has seed {row['seed']} twice: one was expected.")
        if missing := [name for name in (IN_DOMAIN, SWAPPED) if row.get(name) is None]:
            raise ValueError(f"arm {row['arm']}, seed {row['seed']} has no {missing[0]}.")
        own[row["seed"]] = row
    return found


def _comparisons(values, treatment, others):
    """In-domain against each other arm, then the primary outcomes with Holm's p-values."""
    made = []
    for other in others:
        differences = {
            outcome: paired(
                a - b
                for a, b in zip(values[treatment, outcome], values[other, outcome], strict=True)
            )
            for outcome in (IN_DOMAIN, *OUTCOMES)
        }
        adjusted = holm([differences[outcome].p for outcome in OUTCOMES])
        made.append(Comparison(treatment, other, IN_DOMAIN, differences[IN_DOMAIN]))
        made += [
            Comparison(treatment, other, outcome, differences[outcome], p)
            for outcome, p in zip(OUTCOMES, adjusted, strict=True)
        ]
    return tuple(made)


def _not_trained(mean, plain, untrained):
    if mean < GATE:
        reason = f"the arm {plain} reaches {mean:.1f}% in domain, below the gate of {GATE:g}%."
    elif untrained is not None and mean < TIMES * untrained:
        reason = (
            f"the arm {plain} reaches {mean:.1f}% in domain, below {TIMES:g} times the "
            f"{untrained:.1f}% of an untrained encoder."
        )
    else:
        return None
    return "not trained", reason


def _invalid(means, untrained):
    for arm, mean in means.items():
        if untrained is not None and mean <= untrained:
            return (
                "invalid arm",
                f"the arm {arm} reaches {mean:.1f}% in domain, no more than the {untrained:.1f}% "
                "of an untrained encoder.",
            )
    return None


def _weigh(comparisons, plain, count):
    domain = next(c for c in comparisons if c.outcome == IN_DOMAIN and c.against == plain)
    primary = [c for c in comparisons if c.outcome in OUTCOMES]
    if domain.paired.high < -MARGIN:
        return "not supported", f"in domain it costs {_points(domain)}."
    if low := [c for c in primary if c.paired.high < MEANINGFUL]:
        return "not supported", f"{_named(low[0])} is {_points(low[0])}, below {MEANINGFUL:g}."
    if unclear := [c for c in primary if not c.positive]:
        smallest = detectable(unclear[0].paired.sd, count) if unclear[0].paired.sd else 0.0
        return (
            "undecided",
            f"{_named(unclear[0])} is {_points(unclear[0])}; {counted(count, 'seed')} would show "
            f"a true effect of {smallest:.1f} points four times in five.",
        )
    if domain.paired.low <= -MARGIN:
        return "undecided", f"in domain {_points(domain)}: a cost above {MARGIN:g} is possible."
    least = min(primary, key=lambda c: c.paired.low)
    return (
        "supported",
        f"both outcomes rise against both arms, the least of them {_named(least)} by "
        f"{_points(least)}; in domain {_points(domain)}.",
    )


def _named(comparison):
    return f"{comparison.outcome.replace('_', ' ')} against {comparison.against}"


def _points(comparison):
    found = comparison.paired
    return f"{found.mean:+.1f} points ({LEVEL:.0%} interval {found.low:+.1f} to {found.high:+.1f})"
