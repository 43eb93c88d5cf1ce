"""What a .beton file and a set of them tell about their samples, with its types."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Attributes:
    """Set by `BetonReader` and `BetonSet`, whose docstrings explain them."""

    path: str
    files: list[str]
    fields: list[str]
    kinds: dict[str, str]
    image_fields: list[str]
    sizes: NDArray[np.int64]
    raw: NDArray[np.bool_]
    ints: dict[str, NDArray[np.int64]]
    stored_bytes: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    checksums: NDArray[np.int64] | None
    classes: list[str] | None
    names: list[str] | None
    info: dict[str, Any]
    pages: NDArray[np.int64]
