"""Rows of settings in which every two values that can stand together do so at least once."""

from __future__ import annotations

import itertools
import random


def covering(choices, allowed, seed=0, tries=80):
    """Rows that cover all pairs, found greedily; the same each time.

    Args:
        choices: {name: its values}, the one first that goes with most others.
        allowed: row → whether these values can stand together.
        seed: of the order of the search.
        tries: rows that are tried for a pair before it is taken for impossible.
    Returns:
        list of {name: value}.
    """
    drawn, names = random.Random(seed), list(choices)
    left = {
        (one, other, a, b)
        for one, other in itertools.combinations(names, 2)
        for a, b in itertools.product(range(len(choices[one])), range(len(choices[other])))
    }
    rows = []

    def pairs_of(places):
        return {
            (one, other, places[one], places[other])
            for one, other in itertools.combinations(names, 2)
        }

    while left:
        pair = min(left)
        best, found = None, 0
        for _ in range(tries):
            # Half of the rest at its first value, with which most can stand together.
            places = {
                name: drawn.randrange(len(choices[name])) * drawn.randrange(2) for name in names
            }
            places[pair[0]], places[pair[1]] = pair[2:]
            gain = len(pairs_of(places) & left)
            row = {name: choices[name][place] for name, place in places.items()}
            if gain > found and allowed(row):
                best, found = places, gain
        left.discard(pair)
        if best is not None:
            left -= pairs_of(best)
            rows.append({name: choices[name][place] for name, place in best.items()})
    return rows
