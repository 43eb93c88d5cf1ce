"""Rows of unit length, in any dtype and of any size.

Legend: N rows, D feature dimension.
"""

from __future__ import annotations

import torch

SAFE = (1e-15, 1e15)
"""Largest elements of a row between which its squares neither vanish nor overflow in float32."""


def unit_rows(features):
    """Each row divided by its length; a row of zeros stays one.

    The length is taken in float32 at least, for float16 has neither the squares of 300 nor the
    1e-12 by which a short length is usually bounded: there a row of zeros is 0 / 0. A row that is
    out of float32's reach too is brought there first.

    Args:
        features: (…, D), floating-point.
    Returns:
        (…, D) of the same dtype. A row that holds a NaN or an infinity gives NaNs.
        The gradient of a row of zeros is the one of its result: its direction could be any.
    """
    if not isinstance(features, torch.Tensor) or not features.is_floating_point():
        return features  # what is no feature is refused, with its dtype, by who takes it
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    if wide.shape[-1] == 0:
        return features
    largest = wide.detach().abs().amax(-1, keepdim=True)
    out_of_reach = (largest > SAFE[1]) | ((largest < SAFE[0]) & (largest > 0))
    wide = wide / torch.where(out_of_reach, largest, 1.0)
    length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    return (wide / torch.where(length == 0, 1.0, length)).to(features.dtype)
