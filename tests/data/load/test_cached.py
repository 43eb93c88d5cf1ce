"""--cache device: the same batches as those of the file, from images that were decoded once."""

import gc

import numpy as np
import pytest
import torch

import fastneg.data.load.cached as cached
from fastneg.config import ConfigError, PretrainConfig
from fastneg.data import BetonError, BetonReader, BetonWriter
from fastneg.data.load import feeding
from fastneg.data.load.quarantine import SampleChecks
from helpers.images import jpeg, photo, saved
from helpers.loading import train_loader

COUNT, HEIGHT, WIDTH = 20, 44, 52


def written(path, broken=(), textures=False, rows=COUNT):
    """JPEGs with little chroma and full, raw pixels, an image in grey: all of one size."""
    rng = np.random.default_rng(0)
    with BetonWriter(path, paired_fields=("texture",) if textures else ()) as writer:
        for i in range(rows):
            pixels = photo(rng, HEIGHT, WIDTH)
            pair = {"paired": {"texture": photo(rng, 30, 40)}} if textures else {}
            if i % 5 == 1 and not textures:
                writer.add_raw(pixels, label=i)
                continue
            data = saved(pixels, "JPEG", quality=90, subsampling=0) if i % 2 else jpeg(pixels)
            data = data[: len(data) // 2] if i in broken else data
            writer.add(data, HEIGHT, WIDTH, label=i, **pair)
    return path


def batches(path, *epochs, start=0, **changes):
    with BetonReader(path) as reader:
        loader = train_loader(reader, **{"augment_with": "kernel", "threads": 2, **changes})
        try:
            return [batch for epoch in epochs for batch in loader.epoch(epoch, start)], loader
        finally:
            loader.close()


def tensors(batch):
    found = [batch.query, batch.key, *batch.more, batch.index, batch.label]
    found += [] if batch.texture is None else [batch.texture]
    if batch.texture_sources is not None:
        sources = batch.texture_sources
        found += [sources.patches, sources.window, *sources.params]
    return found


def same(one, other):
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        pairs = list(zip(tensors(a), tensors(b), strict=True))
        assert all(torch.equal(x, y) for x, y in pairs)
        assert all(x.stride() == y.stride() and x.dtype == y.dtype for x, y in pairs)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"views": 3, "augmentation": ["moco_v2", "crop_flip", "colour_invariant"]},
        {"texture": "image", "texture_patch": 24},
        {"image_size": lambda epoch: (24, 40)[epoch]},
        {"last": "short", "batch_size": 12},
        {"rank": 1, "world_size": 2},
        {"check_crc": True},
    ],
)
def test_its_batches_are_those_of_the_file(tmp_path, changes):
    path = written(tmp_path / "x.beton")
    expected, _ = batches(path, 0, 1, **changes)
    found, _ = batches(path, 0, 1, cache="device", **changes)
    same(found, expected)
    assert not torch.equal(found[0].query, found[0].key)


def test_stored_textures_are_cut_likewise(tmp_path):
    path = written(tmp_path / "x.beton", textures=True)
    options = {"texture": "file"}
    same(batches(path, 0, cache="device", **options)[0], batches(path, 0, **options)[0])


def test_an_epoch_can_start_anywhere_and_nothing_is_overwritten(tmp_path):
    path = written(tmp_path / "x.beton")
    whole, _ = batches(path, 3, cache="device", batch_size=4)
    kept = [batch.query.clone() for batch in whole]
    rest, _ = batches(path, 3, start=2, cache="device", batch_size=4)
    gc.collect()
    same(rest, whole[2:])
    assert all(torch.equal(batch.query, copy) for batch, copy in zip(whole, kept, strict=True))


def test_dali_is_not_asked_once_the_images_are_there(tmp_path, monkeypatch):
    monkeypatch.setattr(feeding, "build_pipeline", None)
    path = written(tmp_path / "x.beton")
    with BetonReader(path) as reader:
        loader = train_loader(reader, augment_with="kernel", cache="device")
        monkeypatch.setattr(cached, "Decoder", None)
        assert len(list(loader.epoch(0))) == len(loader)
        loader.close()
        with pytest.raises(RuntimeError, match="is closed"):
            next(loader.epoch(0))


@pytest.mark.parametrize("share", [0.2, 0.05])
def test_bad_samples_are_replaced_as_in_the_file(tmp_path, monkeypatch, share):
    monkeypatch.setattr(cached, "BATCH", 8)  # bad ones in two batches, and a batch without
    path = written(tmp_path / "x.beton", broken=(2, 3, 14))
    options = {"max_bad_share": share}
    if share < 3 / COUNT:
        with pytest.raises(BetonError, match="3 of 20 samples cannot be used"):
            batches(path, 0, cache="device", **options)
        return
    expected, there = batches(path, 0, 1, **options)
    found, here = batches(path, 0, 1, cache="device", **options)
    same(found, expected)
    assert here.quarantine == there.quarantine and set(here.quarantine) == {2, 3, 14}


def test_the_samples_of_each_batch_are_announced_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(cached, "BATCH", 8)
    calls = []
    with BetonReader(written(tmp_path / "x.beton")) as reader:
        checks = SampleChecks(reader, False, False, torch.device("cpu"))
        checks.refused(np.arange(COUNT))  # it reads too
        will_need, encoded = reader.will_need, reader.encoded

        def announced(indices, field):
            calls.append(("announced", indices.tolist()))
            will_need(indices, field)

        def read(index, field):
            calls.append(("read", index))
            return encoded(index, field)

        monkeypatch.setattr(reader, "will_need", announced)
        monkeypatch.setattr(reader, "encoded", read)
        cached.CachedImages(reader, torch.device("cpu"), checks, threads=1)
    known = set()
    for what, indices in calls:
        if what == "announced":
            assert known.isdisjoint(indices)
            known.update(indices)
        else:
            assert indices in known
    assert known == set(range(COUNT)) == {each for what, each in calls if what == "read"}


def test_a_checksum_is_compared_when_the_images_are_decoded(tmp_path):
    path = written(tmp_path / "x.beton")
    data = bytearray(path.read_bytes())
    with BetonReader(path) as reader:
        place = bytes(data).find(reader.stored(1).tobytes())  # raw pixels: any bytes are an image
    data[place + 100 : place + 108] = bytes(8)
    path.write_bytes(data)
    with pytest.raises(BetonError, match=r"sample 1 .*checksum"):
        batches(path, 0, cache="device", check_crc=True)


def test_images_of_several_sizes_are_refused(beton):
    with pytest.raises(BetonError, match="needs images of one size"):
        batches(beton, 0, cache="device")


def test_images_that_do_not_fit_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cached, "_free_bytes", lambda device: 200_000)
    with pytest.raises(BetonError, match=r"take 0\.00 GiB as pixels, and cpu has"):
        batches(written(tmp_path / "x.beton"), 0, cache="device")


@pytest.mark.parametrize(
    "changes",
    [
        {"cache": "disk"},
        {"cache": "device", "augment_with": "dali"},
        {"cache": "device", "interpolation": "bicubic"},
        {"cache": "device", "hw_decoder_load": 0.5},
    ],
)
def test_what_has_no_effect_is_refused(tmp_path, changes):
    with pytest.raises(ValueError, match="cache is"):
        batches(written(tmp_path / "x.beton"), 0, **changes)


def test_the_config_refuses_dali():
    with pytest.raises(ConfigError, match="leave it out or give --augment_with kernel"):
        PretrainConfig(cache="device", augment_with="dali")
    for chosen in ("auto", "kernel"):
        assert PretrainConfig(cache="device", augment_with=chosen).cache == "device"


@pytest.mark.gpu
def test_a_gpu_cuts_the_views_of_the_cpu(tmp_path):
    path = written(tmp_path / "x.beton")
    host, device = (batches(path, 0, cache="device", device=name)[0] for name in ("cpu", "cuda"))
    for one, other in zip(host, device, strict=True):
        assert other.query.is_cuda and other.query.dtype == torch.float16
        assert (one.query - other.query.float().cpu()).abs().mean() < 0.02
        assert torch.equal(one.index, other.index)
