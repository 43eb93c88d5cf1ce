"""The promises of the loaders: what a batch holds, in which order, and what is told of bad data."""

import gc
import io
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from fastneg.config.augmentation import augmentation_of
from fastneg.data import BetonError, BetonReader, BetonWriter
from fastneg.data.load.batch import ViewBatch
from fastneg.data.load.labelled_loaders import EvalLoader
from fastneg.data.load.train_loader import recipes_of
from helpers.images import jpeg, photo
from helpers.loading import MEAN, STD, picture, pixels, train_loader


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(flat(one), flat(other), strict=True))


def flat(batch):
    """The tensors of a batch."""
    return [*batch[:4], *batch[4]] if isinstance(batch, ViewBatch) else list(batch)


def test_batches_are_as_contracted(reader):
    loader = train_loader(reader)
    batches = list(loader.epoch(0))
    assert len(batches) == len(loader) == 5
    for batch in batches:
        assert isinstance(batch, ViewBatch)
        for view in (batch.query, batch.key):
            assert (
                view.shape == (8, 3, 32, 32)
                and view.dtype == torch.float32
                and view.is_contiguous(memory_format=torch.channels_last)
            )
        assert batch.index.dtype == batch.label.dtype == torch.int64
        assert torch.equal(batch.label, torch.from_numpy(reader.labels)[batch.index])
        assert not torch.equal(batch.query, batch.key)
    assert sorted(torch.cat([batch.index for batch in batches]).tolist()) == list(range(40))
    loader.close()


@pytest.mark.parametrize("texture", [None, "image"])
def test_a_short_last_batch_holds_what_is_left(reader, texture):
    loader, whole = (
        train_loader(reader, batch_size=12, last=last, texture=texture)
        for last in ("short", "drop")
    )
    batches = list(loader.epoch(0))
    assert (
        [len(batch.index) for batch in batches] == [12, 12, 12, 4]
        and len(loader) == 4
        and len(whole) == 3
    )
    assert all(
        len(batch.query) == len(batch.key) == len(batch.label) == len(batch.index)
        for batch in batches
    )
    assert sorted(torch.cat([batch.index for batch in batches]).tolist()) == list(range(40))
    assert all(
        equal(one[:4], other[:4]) for one, other in zip(batches, whole.epoch(0), strict=False)
    )
    if texture:
        sources = batches[-1].texture_sources
        assert len(sources.patches) == len(sources.window) == len(sources.params.flip) == 4
    loader.close(), whole.close()
    for wrong in ({"last": "pad"}, {"last": "short", "rank": 0, "world_size": 2}):
        with pytest.raises(ValueError, match="'short' in one process"):
            train_loader(reader, **wrong)


def test_the_same_seed_gives_the_same_views_and_another_seed_others(reader):
    one, same, other = (list(train_loader(reader, seed=seed).epoch(1)) for seed in (3, 3, 4))
    assert all(equal(a, b) for a, b in zip(one, same, strict=True))
    assert not any(torch.equal(a.query, b.query) for a, b in zip(one, other, strict=True))


def test_more_views_and_a_recipe_for_each(reader):
    recipes = ["moco_v2", "crop_flip", augmentation_of("crop_flip"), "moco_v2"]
    loader = train_loader(reader, views=4, augmentation=recipes)
    batch = next(iter(loader.epoch(0)))
    views = [batch.query, batch.key, *batch.more]
    assert len(views) == 4 and not any(
        torch.equal(one, other) for i, one in enumerate(views) for other in views[:i]
    )
    # the first views are those of a loader that makes no more
    two = next(iter(train_loader(reader, views=2, augmentation=recipes[:2]).epoch(0)))
    assert equal(two, batch._replace(more=()))
    loader.close()
    with pytest.raises(ValueError, match="one for each of 3 views"):
        train_loader(reader, views=3, augmentation=recipes)
    with pytest.raises(ValueError, match="at least 2"):
        train_loader(reader, views=1)


def test_options_that_cannot_be_are_refused(reader):
    for name, value in (("augment_with", "torch"), ("texture", "all"), ("cache", "disk")):
        with pytest.raises(ValueError, match=f"{name} is '{value}'"):
            train_loader(reader, **{name: value})
    assert recipes_of("moco_v2", 2) == [augmentation_of("moco_v2")] * 2


def test_the_size_may_change_with_the_epoch(reader):
    loader = train_loader(reader, image_size=lambda epoch: 32 + 9 * epoch)
    for epoch in (0, 2, 1):
        batches = list(loader.epoch(epoch))
        assert {batch.key.shape[-1] for batch in batches} == {32 + 9 * epoch}
        fixed = train_loader(reader, image_size=32 + 9 * epoch)
        assert all(
            equal(one, other) for one, other in zip(batches, fixed.epoch(epoch), strict=True)
        )
        fixed.close()
    loader.close()


@pytest.mark.parametrize("order", ["page", "sequential"])
def test_other_orders_give_the_same_views_of_other_batches(tmp_path, order):
    path, rng = tmp_path / "pages.beton", np.random.default_rng(1)
    with BetonWriter(path, page_size=4096) as writer:  # few samples a page
        for i in range(24):
            writer.add(jpeg(photo(rng, 40, 40)), 40, 40, label=i)
    with BetonReader(path) as opened:
        assert len(set(opened.pages.tolist())) > 4
        loader = train_loader(opened, order=order, batch_size=6)
        index = torch.cat([batch.index for batch in loader.epoch(1)]).tolist()
        assert sorted(index) == list(range(24)) and (index == list(range(24))) == (
            order == "sequential"
        )
        rest = list(loader.epoch(1, start=2))
        assert all(
            equal(one, other) for one, other in zip(list(loader.epoch(1))[2:], rest, strict=True)
        )
        loader.close()


@pytest.mark.parametrize("augment", ["dali", "kernel"])
def test_an_epoch_can_start_anywhere(reader, augment):
    loader = train_loader(reader, augment_with=augment)
    whole = list(loader.epoch(4))
    for start in (1, 4, 5):
        rest = list(loader.epoch(4, start=start))
        assert len(rest) == 5 - start
        assert all(equal(a, b) for a, b in zip(whole[start:], rest, strict=True))
    loader.close()


def test_the_kernel_is_the_default_on_a_cpu(reader):
    batches = {
        name: next(iter(train_loader(reader, **changes).epoch(0)))
        for name, changes in (
            ("default", {}),
            ("kernel", {"augment_with": "kernel"}),
            ("dali", {"augment_with": "dali"}),
        )
    }
    assert equal(batches["default"], batches["kernel"])
    assert not torch.equal(batches["default"].query, batches["dali"].query)
    assert torch.equal(batches["default"].index, batches["dali"].index)


@pytest.mark.parametrize(("world_size", "augment"), [(2, "dali"), (4, "dali"), (4, "kernel")])
def test_processes_share_the_batches_of_one(reader, world_size, augment):
    whole = list(train_loader(reader, augment_with=augment).epoch(0))
    shares = [
        list(train_loader(reader, augment_with=augment, rank=rank, world_size=world_size).epoch(0))
        for rank in range(world_size)
    ]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert equal(batch, [torch.cat(columns) for columns in zip(*map(flat, parts), strict=True)])


def test_tensors_are_not_overwritten_later(reader):
    loader = train_loader(reader, batch_size=4)
    kept = [(batch, batch.query.clone(), batch.key.clone()) for batch in loader.epoch(0)]
    list(loader.epoch(1))
    gc.collect()
    for batch, query, key in kept:
        assert torch.equal(batch.query, query) and torch.equal(batch.key, key)
    loader.close()
    assert torch.equal(kept[0][0].query, kept[0][1])


def test_leaving_an_epoch_early_leaves_no_thread_and_no_stale_batch(reader):
    loader = train_loader(reader, batch_size=4)
    expected = list(loader.epoch(1))
    before = threading.active_count()
    for taken in (0, 1, 3):
        batches = loader.epoch(0)
        for _ in range(taken):
            next(batches)
        batches.close()
        assert threading.active_count() <= before
        assert all(equal(a, b) for a, b in zip(loader.epoch(1), expected, strict=True))
    loader.close()


def test_raw_and_gray_samples_and_files_without_labels(tmp_path):
    path, rng = tmp_path / "mixed.beton", np.random.default_rng(1)
    images = [photo(rng, 50, 60) for _ in range(6)]
    file = io.BytesIO()
    Image.fromarray(images[2]).convert("L").save(file, "JPEG", quality=95)
    with BetonWriter(path, int_fields=()) as writer:
        for i, image in enumerate(images):
            if i == 2:
                writer.add(file.getvalue(), 50, 60)
            elif i % 2:
                writer.add_raw(image)
            else:
                writer.add(jpeg(image), 50, 60)
    with BetonReader(path) as opened:
        loader = EvalLoader(opened, 6, 48, resize=48, threads=1)
        (batch,) = loader
        assert batch.label is None
        for i in range(6):
            side = (
                picture(opened, i).crop((5, 0, 55, 50)).resize((48, 48), Image.Resampling.BILINEAR)
            )
            assert (
                pixels(batch.images[i]) - torch.from_numpy(np.array(side)).permute(2, 0, 1)
            ).abs().mean() < 1.5
        assert (batch.images[2] * STD + MEAN).std(0).max() < 0.01  # gray stays gray
        loader.close()


def test_a_sample_that_cannot_be_decoded_is_named(tmp_path):
    path, rng = tmp_path / "bad.beton", np.random.default_rng(1)
    with BetonWriter(path) as writer:
        for i in range(8):
            data = jpeg(photo(rng, 40, 40))
            writer.add(data[: len(data) // 2] if i == 5 else data, 40, 40, label=0)
    said = r"1 of 8 samples cannot be used: sample 5 of .*: it cannot be decoded .no whole JPEG"
    with BetonReader(path) as opened, pytest.raises(BetonError, match=said):
        list(EvalLoader(opened, 4, 32, threads=1))


def test_silent_damage_is_found_when_checksums_are_checked(tmp_path, beton):
    path = tmp_path / "damaged.beton"
    data = bytearray(beton.read_bytes())
    with BetonReader(beton) as opened:
        place = bytes(data).find(opened.jpeg(7).tobytes())
        middle = place + len(opened.jpeg(7)) // 2
    data[middle : middle + 8] = bytes(8)
    path.write_bytes(data)
    with BetonReader(path) as opened:
        with pytest.raises(BetonError, match="sample 7"):
            list(train_loader(opened, check_crc=True).epoch(0))
        # without the check nobody notices: that is what it is for
        list(train_loader(opened).epoch(0))


def test_checksums_of_raw_samples_are_checked_too(tmp_path):
    path = tmp_path / "raw.beton"
    with BetonWriter(path) as writer:
        for i in range(4):
            writer.add_raw(photo(np.random.default_rng(i), 40, 40), label=i)
    with BetonReader(path) as opened:
        assert len(list(train_loader(opened, batch_size=4, check_crc=True).epoch(0))) == 1


def test_checks_that_cannot_be_made_are_refused(tmp_path):
    path = tmp_path / "plain.beton"
    with BetonWriter(path, checksums=False) as writer:
        for i in range(4):
            writer.add(jpeg(photo(np.random.default_rng(i), 40, 40)), 40, 40, label=i)
    with BetonReader(path) as opened, pytest.raises(BetonError, match="no checksums"):
        train_loader(opened, batch_size=4, check_crc=True)


@pytest.mark.gpu
def test_a_gpu_makes_the_views_of_the_cpu(reader):
    host, device = (
        next(iter(train_loader(reader, device=name).epoch(0))) for name in ("cpu", "cuda")
    )
    for one, other in ((host.query, device.query), (host.key, device.key)):
        assert (
            other.is_cuda
            and other.dtype == torch.float16
            and other.is_contiguous(memory_format=torch.channels_last)
        )
        assert (pixels(one) - pixels(other)).abs().mean() < 2.5
    assert torch.equal(host.index, device.index)
