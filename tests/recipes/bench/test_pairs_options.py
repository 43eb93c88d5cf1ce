"""What `fastneg bench pairs` is told."""

import pytest

from fastneg.config import ConfigError
from fastneg.recipes.bench.pairs_options import parse_pairs
from fastneg.recipes.bench.registry import bench_config


def test_pairs_are_read():
    assert parse_pairs("4096x512,65536x768") == ((4096, 512), (65536, 768))
    assert bench_config()(name="pairs").pairs is None


@pytest.mark.parametrize("text", ["4096", "4096x512x2", "ax512", ""])
def test_other_text_is_refused(text):
    with pytest.raises(ConfigError, match="as 4096x512, were expected"):
        bench_config()(name="pairs", pairs=text)
