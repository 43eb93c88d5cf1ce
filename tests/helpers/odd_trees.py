"""Trees of images for the tests of sources, and what encode makes of them."""

import numpy as np

from fastneg.config import EncodeConfig
from fastneg.data import BetonReader
from fastneg.data.encode.encode import encode
from helpers.images import jpeg, photo

IMAGE = jpeg(photo(np.random.default_rng(0), 24, 32))


def tree(root, *names):
    """Images at the names that end like one, texts at the others, folders at those ending in /."""
    for name in names:
        path = root / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes(IMAGE if name.lower().endswith((".jpg", ".jpeg")) else b"text")
    return root


def labels(src, out, report=None, **options):
    """({name: label}, classes, summary) of what encode writes."""
    summary = encode(EncodeConfig(str(src), str(out), workers=1, **options), report=report)
    with BetonReader(out) as reader:
        found = (
            dict(zip(reader.names, reader.labels.tolist(), strict=True))
            if reader.labels is not None
            else None
        )
        return found, reader.classes, summary
