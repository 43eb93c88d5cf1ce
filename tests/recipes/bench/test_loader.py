"""The loaders are measured beside each other."""

from dataclasses import replace

import pytest
import torch

from fastneg.recipes.bench.loader import bench_images, bench_loader, plot_loader
from fastneg.recipes.bench.loader_contenders import CONTENDERS, missing
from fastneg.recipes.bench.loader_contenders.common import measure
from fastneg.recipes.bench.loader_contenders.dali_reader import (
    dali_file_reader,
    dali_torchvision,
)
from fastneg.recipes.bench.loader_contenders.ffcv_process import ffcv
from fastneg.recipes.bench.loader_contenders.limits import copy_of_ready_tensors, decode_only
from fastneg.recipes.bench.loader_contenders.ours import fastneg, fastneg_patch
from fastneg.recipes.bench.loader_contenders.torchvision_folder import (
    loop_of_patches,
    published_patch,
    solo_learn,
    torchvision_pil,
)


def test_the_loaders_are_measured_beside_each_other(tmp_path):
    # FFCV compiles for half a minute
    names = [name for name in CONTENDERS if name != "ffcv" and missing(name) is None]
    found = list(
        bench_loader(
            rounds=1, images=24, batch_size=8, contenders={name: CONTENDERS[name] for name in names}
        )
    )
    rows = {row["contender"]: row for row in found if row["hw_decoder_load"] is None}
    assert list(rows) == names
    for name, row in rows.items():
        assert row["images_per_s"] > 0 and row["cpu_ms_per_image"] > 0
        assert row["compared_with"] == ("published_patch" if "patch" in name else "torchvision_pil")
        assert row["ratio"] == pytest.approx(
            row["images_per_s"] / rows[row["compared_with"]]["images_per_s"]
        )
    plot_loader(found, tmp_path / "loader.svg")
    assert (tmp_path / "loader.svg").read_text()[:5] == "<?xml"
    with pytest.raises(ValueError, match="no rows"):
        plot_loader([], tmp_path / "empty.svg")


def test_a_contender_that_is_not_installed_is_said_to_be_skipped(monkeypatch):
    monkeypatch.setattr(
        "fastneg.recipes.bench.loader_contenders.importlib.util.find_spec", lambda name: None
    )
    rows = {
        row["contender"]: row
        for row in bench_loader(
            1, 8, 4, {name: CONTENDERS[name] for name in ("decode_only", "ffcv", "lightly")}
        )
    }
    assert "fastneg[ffcv]" in rows["ffcv"]["skipped"] and "skipped" not in rows["decode_only"]
    assert "fastneg[bench]" in rows["lightly"]["skipped"]


def test_dalis_torchvision_makes_views_where_it_asks_for_no_gpu(tmp_path, monkeypatch):
    pytest.importorskip("nvidia.dali.experimental.torchvision")
    monkeypatch.setattr("nvidia.dali.types._get_default_stream_for_array", lambda array: None)
    made, plain = [], torch.stack
    monkeypatch.setattr(torch, "stack", lambda views: made.append(views) or plain(views))
    with bench_images(4, 4) as data:
        assert dali_torchvision(data)(0) == 4
    views = [view for views in made for view in views]
    assert len(views) == 8 and {view.shape for view in views} == {(3, 224, 224)}
    assert len({view.float().mean().item() for view in views}) == 8


def test_solo_learns_transform_is_found_without_its_package(tmp_path, monkeypatch):
    folder = tmp_path / "solo" / "utils"
    folder.mkdir(parents=True)
    (tmp_path / "solo" / "__init__.py").write_text("raise ImportError('torch 1.9')")
    (folder / "pretrain_dataloader.py").write_text(
        "import torch\n"
        "def ImagenetTransform(*jitter, min_scale, crop_size):\n"
        "    return lambda image: torch.full((3, crop_size, crop_size), jitter[0])\n"
        "def NCropAugmentation(view, count):\n"
        "    return lambda image: [view(image) for _ in range(count)]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert missing("solo_learn") is None
    with bench_images(4, 4) as data:
        assert solo_learn(replace(data, threads=0))(0) == 4


def test_the_published_patches_are_patches_of_the_view(monkeypatch):
    folder = "fastneg.recipes.bench.loader_contenders.torchvision_folder"
    monkeypatch.setattr(f"{folder}.PATCH_SIZES", (5, 6))
    view = torch.arange(3 * 24 * 24, dtype=torch.float32).view(3, 24, 24)
    tiled = loop_of_patches(view)
    assert tiled.shape == view.shape
    for top in range(0, 20, 5):
        for left in range(0, 20, 5):
            patch = tiled[:, top : top + 5, left : left + 5]
            row, column = divmod(int(patch[0, 0, 0]), 24)
            assert torch.equal(patch, view[:, row : row + 5, column : column + 5])


def test_contenders_are_called_by_the_names_of_their_functions():
    for contender in (fastneg, fastneg_patch, torchvision_pil, published_patch, ffcv):
        assert CONTENDERS[contender.__name__] is contender
    for contender in (dali_file_reader, decode_only, copy_of_ready_tensors):
        assert CONTENDERS[contender.__name__] is contender


def test_an_epoch_is_measured_in_images_seconds_and_cpu_seconds():
    def epoch(number):
        return 8 + number

    images, seconds, cpu_seconds = measure(epoch, 3)
    assert images == 11 and seconds > 0 and cpu_seconds >= 0

    class Measured:
        def measure(self, number):
            return number, 2.0, 1.0

    assert measure(Measured(), 5) == (5, 2.0, 1.0)
