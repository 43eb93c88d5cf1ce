"""Damaged JPEGs are kept from the decoder, a GPU's above all, and the others of the batch come as
they come from a whole file."""

import numpy as np
import pytest

from fastneg.data import BetonReader, BetonWriter
from fastneg.data.load import quarantine
from fastneg.data.load.feeding import FeedingLoader
from fastneg.data.load.train_loader import TrainLoader
from helpers.images import jpeg, photo
from helpers.loading import pixels

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
COUNT, SIDE = 64, 48  # more than 32: from there on DALI reads headers in parallel


def damaged(data):
    """Other coded data, without a marker among them."""
    at = len(data) // 2
    changed = bytes(byte ^ 1 if byte < 0xFE else byte for byte in data[at : at + 64])
    return data[:at] + changed + data[at + 64 :]


def cut(data):
    return data[: 2 * len(data) // 3] + bytes(len(data) - 2 * len(data) // 3)


def no_beginning(data):
    return b"\0\0" + data[2:]


def no_frame(data):
    """Its frame says arithmetic coding, of no known kind."""
    at = data.index(b"\xff\xc0")
    return data[:at] + b"\xff\xcb" + data[at + 2 :]


BROKEN = {5: damaged, 12: cut, 40: no_beginning, 51: no_frame}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """{name: a .beton file}: whole; broken on the disk; and written with such images, which have
    their checksums then."""
    folder, rng = tmp_path_factory.mktemp("damaged"), np.random.default_rng(1)
    sound = [jpeg(photo(rng, SIDE, SIDE)) for _ in range(COUNT)]
    written = [BROKEN.get(i, bytes)(data) for i, data in enumerate(sound)]
    paths = {name: folder / f"{name}.beton" for name in ("whole", "on the disk", "written")}
    for name, images in (("whole", sound), ("written", written)):
        with BetonWriter(paths[name], ()) as writer:
            for data in images:
                writer.add(data, SIDE, SIDE)
    content = paths["whole"].read_bytes()
    for i in BROKEN:
        content = content.replace(sound[i], written[i])
    paths["on the disk"].write_bytes(content)
    return paths


def views_of(path, device, **options):
    """(queries, the quarantine, the samples) of an epoch in one batch."""
    with BetonReader(path) as reader:
        settings = {"augmentation": "crop_flip", "seed": 2, "threads": 2, "order": "sequential"}
        loader = TrainLoader(
            reader, COUNT, 32, device=device, max_bad_share=0.2, **settings, **options
        )
        (batch,) = loader.epoch(0)
        loader.close()
    assert len(batch.query) == COUNT and batch.query.isfinite().all()
    return batch.query, loader.quarantine, batch.index.tolist()


@pytest.fixture
def watched(monkeypatch):
    """What is tried alone, by the device that it is tried on, and whether a batch failed."""
    tried, failed = [], []
    alone, mend = quarantine.what_is_wrong, FeedingLoader._mend

    def what_is_wrong(encoded, size, device):
        tried.append(device.type)
        return alone(encoded, size, device)

    monkeypatch.setattr(quarantine, "what_is_wrong", what_is_wrong)
    monkeypatch.setattr(
        FeedingLoader, "_mend", lambda self, *args: (failed.append(1), mend(self, *args))[1]
    )
    yield tried
    assert not failed, "the decoder was given an image that it refused"


@pytest.mark.parametrize("check_crc", [True, False])
@pytest.mark.parametrize("name", ["on the disk", "written"])
@pytest.mark.parametrize("device", DEVICES)
def test_the_decoder_is_not_given_what_is_broken(files, watched, device, name, check_crc):
    whole, nothing, _ = views_of(files["whole"], device)
    found, bad, index = views_of(files[name], device, check_crc=check_crc)
    # Coded data that are others are found by their checksum alone, and decode to some image.
    seen = set(BROKEN) - ({5} if name == "written" or not check_crc else set())
    assert not nothing and set(bad) == seen and set(watched) <= {"cpu"}
    if check_crc and name == "on the disk":
        assert all("checksum" in reason for reason in bad.values()) and not watched
    else:
        assert all("cannot be decoded" in reason for reason in bad.values())
        assert "end marker (FF D9) is missing" in bad[12]
        assert len(watched) == 2  # the headers, alone
    assert index == [i + 1 if i in seen else i for i in range(COUNT)]
    # On a GPU two decoders share a batch, and which takes an image depends on the others.
    bound = 0.0 if device == "cpu" else 2.0
    for i in set(range(COUNT)) - set(BROKEN):
        assert (pixels(found[i]) - pixels(whole[i])).abs().mean() <= bound, i
