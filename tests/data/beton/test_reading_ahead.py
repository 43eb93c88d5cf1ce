"""What the operating system is told to read: BetonReader.will_need and pages."""

import numpy as np

from fastneg.data import BetonReader, BetonWriter
from fastneg.data.beton.reader import WILL_NEED_BYTES


def test_samples_are_announced_in_few_pieces(tmp_path):
    """Neighbours in one go, and no piece larger than what Linux reads of one request."""
    path = tmp_path / "x.beton"
    with BetonWriter(path, page_size=1 << 20) as writer:
        for i in range(40):
            writer.add(bytes(20_000 + i), 10, 10, label=0)
    with BetonReader(path) as reader:
        asked = []
        reader._map = type(
            "Map",
            (),
            {"madvise": lambda self, option, start, size: asked.append((start, start + size))},
        )()
        reader.will_need(np.array([3, 2, 30, 4]))
        assert len(asked) == 2
        reader.will_need(np.empty(0, np.int64))
        assert len(asked) == 2
        asked.clear()
        reader.will_need(np.arange(40))
        assert len(asked) == -(-sum(20_000 + i for i in range(40)) // WILL_NEED_BYTES)
        assert max(last - first for first, last in asked) <= WILL_NEED_BYTES
        for index in range(40):
            first, last = reader._main.start[index], reader._main.stop[index]
            assert sum(max(0, min(last, b) - max(first, a)) for a, b in asked) == last - first
        assert reader.pages.tolist() == [start >> 20 for start in reader._main.start]
