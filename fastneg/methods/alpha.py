"""The weight of each non-semantic negative.

Legend: N queries, M negatives of a query, D feature dimension.
"""

from __future__ import annotations

import torch


class Alphas:
    """The scale alpha_m of the similarity to each negative of a query.

    Args:
        values: one number for each of M negatives.
    """

    def __init__(self, values):
        self.values = tuple(values)

    def extra(self, negatives):
        """The arguments of `info_nce` for negatives (N, M, D).

        Where all scales are equal, they are its scalar `extra_scale`. Else the negatives themselves
        are scaled, for alpha (q·t) = q·(alpha t): the same logits and the same gradients. Under
        half precision alpha t is rounded in place of t: the relative error of a logit has the same
        bound, and is the very same for a power of two.
        """
        if len(set(self.values)) == 1:
            return {"extra_negatives": negatives, "extra_scale": self.values[0]}
        return {"extra_negatives": self.scaled(negatives), "extra_scale": 1.0}

    def share(self, similarity, temperature, lse):
        """How much of the softmax of a query its negatives take, averaged over the queries.

        Args:
            similarity: (N, M), of each query to its negatives.
            lse: (N,), the log-sum-exp of all its logits.
        Returns:
            () in [0, 1].
        """
        logits = self.scaled(similarity.to(lse.dtype)) / temperature
        return (logits - lse[:, None]).exp().sum(1).mean()

    def scaled(self, values):
        """values (N, M, …), each times its alpha."""
        if len(set(self.values)) == 1:
            return values * self.values[0]
        # With numbers of Python: a tensor of the scales would be a copy from the host, which waits.
        return torch.stack(
            [each * alpha for each, alpha in zip(values.unbind(1), self.values, strict=True)], 1
        )
