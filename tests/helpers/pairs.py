"""Rows of settings in which every two values that can stand together do so at least once."""

from __future__ import annotations

import itertools
import random


def covering(choices, allowed, seed=0, tries=30):
    """Few rows that cover all pairs, found greedily; the same each time.

    Args:
        choices: {name: its values}, the one first that goes with most others.
        allowed: row → whether these values can stand together.
        seed: of the order of the search.
        tries: rows that are drawn for a pair. Where none can stand, the pair stands beside first
            values and one other before it is taken for impossible.
    Returns:
        list of {name: value}.
    """
    drawn, names = random.Random(seed), list(choices)
    counts = {name: len(values) for name, values in choices.items()}
    stands = lambda places: allowed({name: choices[name][place] for name, place in places.items()})
    left = {
        (one, other, a, b)
        for one, other in itertools.combinations(names, 2)
        for a, b in itertools.product(range(counts[one]), range(counts[other]))
    }
    rows = []
    while left:
        pair = min(left)
        fixed, best, found = dict(zip(pair[:2], pair[2:], strict=True)), None, 0
        for _ in range(tries):
            # Half of the rest at its first value, with which most can stand together.
            draw = {name: drawn.randrange(counts[name]) * drawn.randrange(2) for name in names}
            places = draw | fixed
            gain = len(pairs_of(places) & left)
            if gain > found and stands(places):
                best, found = places, gain
        best = best or next(filter(stands, _plain(counts, fixed)), None)
        left.discard(pair)
        if best is not None:
            free = drawn.sample([name for name in names if name not in fixed], len(names) - 2)
            for name in free * 2:
                best = _improved(best, name, counts[name], left, stands)
            left -= pairs_of(best)
            rows.append({name: choices[name][place] for name, place in best.items()})
    return rows


def pairs_of(places):
    """{(name, other name, place, other place)} of a row of places {name: number of its value}."""
    return {(*names, *map(places.get, names)) for names in itertools.combinations(places, 2)}


def _plain(counts, fixed):
    """Rows of first values beside a pair, and each with one other value."""
    plain = dict.fromkeys(counts, 0)
    for name in counts:
        for place in range(counts[name]):
            yield {**plain, name: place, **fixed}


def _improved(places, name, count, left, stands):
    """The row with the value of `name`, of so many, that covers most of the pairs that are left."""
    gain = lambda row: len(pairs_of(row) & left)
    others = [{**places, name: place} for place in range(count) if place != places[name]]
    for other in sorted(others, key=gain, reverse=True):
        if gain(other) <= gain(places):
            break
        if stands(other):
            return other
    return places
