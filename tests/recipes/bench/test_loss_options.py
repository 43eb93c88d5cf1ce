"""What `fastneg bench info_nce` and `fastneg bench pairs` are told."""

import pytest

from fastneg.config import ConfigError
from fastneg.kernels.info_nce_tiles import Tiles, options_of, sweep_tiles, use_tiles
from fastneg.recipes.bench import info_nce_contenders
from fastneg.recipes.bench.loss_options import SWEEP, parse_pairs, parse_shapes, parse_tiles
from fastneg.recipes.bench.registry import bench_config


def test_shapes_and_tiles_are_read():
    assert parse_shapes("512x65536x128,8x64x16") == ((512, 65536, 128), (8, 64, 16))
    assert parse_tiles("128x64x8x3x0x1") == (Tiles(128, 64, 8, 3, None, 1),)
    assert len(parse_tiles("sweep")) == len(SWEEP) == len(set(SWEEP)) and parse_tiles(None) == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tiles": "12x3"}, "--tiles is 12x3: 6 whole numbers"),
        ({"shapes": "512x65536"}, "--shapes is 512x65536: 3 whole numbers"),
        ({"shapes": "512xax3"}, "--shapes is 512xax3"),
        ({"name": "step", "tiles": "sweep"}, "--tiles is 'sweep', which has no effect"),
    ],
)
def test_other_texts_are_refused_before_anything_runs(options, message):
    with pytest.raises(ConfigError, match=message):
        bench_config()(**{"name": "info_nce", **options})


def test_each_tile_size_makes_contenders_that_run_with_it(monkeypatch):
    sizes, seen = parse_tiles("sweep")[:2], []
    found = lambda: sweep_tiles(64, 128, "bfloat16", None, None)
    monkeypatch.setattr(
        info_nce_contenders, "info_nce", lambda *args, **options: seen.append(found())
    )
    functions, _ = info_nce_contenders.contenders("cpu", sizes)
    for each in sizes:
        functions[f"fastneg_no_ranks {each}"](None, None, None, 0.2)
    assert seen == list(sizes)


def test_tiles_become_launch_options():
    assert options_of(Tiles(128, 64, 8, 3)) == {"num_warps": 8, "num_stages": 3}
    assert options_of(Tiles(128, 64, 8, 3, registers=128))["maxnreg"] == 128
    with use_tiles(one := Tiles(16, 16, 4, 2)), use_tiles(Tiles(32, 16, 4, 2)) as _:
        assert sweep_tiles(64, 128, "bfloat16", None, None).rows == 32
    assert one.resident == 1


def test_pairs_are_read():
    assert parse_pairs("4096x512,65536x768") == ((4096, 512), (65536, 768))
    assert bench_config()(name="pairs").pairs is None


@pytest.mark.parametrize("text", ["4096", "4096x512x2", "ax512", "x"])
def test_other_text_is_refused(text):
    with pytest.raises(ConfigError, match="as 4096x512, were expected"):
        bench_config()(name="pairs", pairs=text)
