"""Samples that cannot be used: kept out of the batches, each with the reason, and replaced by their
neighbours.

The next good sample of the file takes the place of a bad one, whenever the bad one was found. So a
run that is resumed sees the batches of the run that was not interrupted, with the list of bad
samples or without it.
"""

from __future__ import annotations

from fastneg.counts import counted
from fastneg.data.errors import BetonError


class Quarantine:
    """The bad samples of a data set, so far as they are known.

    Args:
        reader: the data set.
        max_share: the share of its samples that may be bad; 0 refuses the first.
        known: {index: reason} of samples that were found before.
    """

    def __init__(self, reader, max_share=0.0, known=None):
        self.reader, self.max_share, self.bad = reader, max_share, dict(known or {})

    def add(self, found):
        """Take in {index: reason}; BetonError, and none of them is taken in, if there were more bad
        samples then than may be."""
        bad = {**self.bad, **found}
        count, total = len(bad), len(self.reader)
        if count > self.max_share * total:
            listed = "; ".join(
                f"{self.reader.describe(index)}: {reason}"
                for index, reason in list(bad.items())[:5]
            )
            more = f"; and {count - 5} more" if count > 5 else ""
            allowed = (
                f", {self.max_share:g} of them may be (--max_bad_share)" if self.max_share else ""
            )
            raise BetonError(
                f"{count} of {counted(total, 'sample')} cannot be used{allowed}: {listed}{more}. "
                "Run fastneg verify on the file."
            )
        self.bad = bad

    def replace(self, index):
        """Put the next good sample in the place of each bad one.

        Args:
            index: (n,) int64.
        Returns:
            (n,) int64, and {index: reason} of the bad samples that were met on the way.
        """
        met = {}
        if self.bad:
            index = index.copy()
            for place, sample in enumerate(index.tolist()):
                while sample in self.bad:
                    if len(met) == len(self.reader):
                        raise BetonError(f"No sample of {self.reader.path} can be used.")
                    met[sample] = self.bad[sample]
                    sample = (sample + 1) % len(self.reader)
                index[place] = sample
        return index, met
