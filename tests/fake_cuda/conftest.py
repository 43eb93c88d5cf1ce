import numpy as np
import pytest

from fastneg.data import BetonWriter
from helpers.images import jpeg, photo

IMAGES, SIDE = 128, 48


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A .beton file of 128 JPEGs of one size, each with a texture and a label."""
    path, rng = tmp_path_factory.mktemp("fake_cuda") / "images.beton", np.random.default_rng(0)
    pictures = [jpeg(photo(rng, SIDE, SIDE)) for _ in range(8)]
    with BetonWriter(path, classes=["a", "b"], paired_fields=("texture",)) as writer:
        for i in range(IMAGES):
            paired = {"texture": (pictures[i // 8 % 8], SIDE, SIDE)}
            writer.add(pictures[i % 8], SIDE, SIDE, label=i % 2, paired=paired)
    return path
