"""Bad samples are named, kept out and replaced, wherever they are met; which samples DALI is not
given; what the loader does with real broken files."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from fastneg.data import BetonError, BetonReader, BetonWriter
from fastneg.data.load.batch import Request
from fastneg.data.load.labelled_loaders import CropLoader, EvalLoader
from fastneg.data.load.order import EpochOrder
from fastneg.data.load.quarantine import Quarantine, SampleChecks
from fastneg.data.load.train_loader import TrainLoader
from helpers.images import jpeg, photo, rotated, saved

SIDE = 40


def middle(data, change):
    at = len(data) // 2
    return data[:at] + change(data[at : at + 24]) + data[at + 24 :]


UNUSABLE = {
    "truncated": lambda data: data[: len(data) // 2],
    "cut by two bytes": lambda data: data[:-2],
    "header alone": lambda data: data[:10],
    "one byte": lambda data: data[:1],
    "zeros": lambda data: bytes(len(data)),
    "no SOI": lambda data: b"\0\0" + data[2:],
    "a text": lambda data: b"no image at all",
}
"""What DALI's decoder refuses."""


def file_of(path, samples, **options):
    with BetonWriter(path, **options) as writer:
        for i, (data, height, width) in enumerate(samples):
            writer.add(data, height, width, label=i % 4)
    return path


def photos(count, seed=0):
    rng = np.random.default_rng(seed)
    return [(jpeg(photo(rng, SIDE, SIDE)), SIDE, SIDE) for _ in range(count)]


def with_bad(path, bad, count=16):
    """A file in which the samples of {index: kind} are broken."""
    samples = photos(count)
    return file_of(
        path,
        [
            (UNUSABLE[bad[i]](data), h, w) if i in bad else (data, h, w)
            for i, (data, h, w) in enumerate(samples)
        ],
    )


def loader_of(reader, **changes):
    settings = {
        "batch_size": 4,
        "image_size": 32,
        "augmentation": "moco_v2",
        "seed": 1,
        "threads": 1,
        "max_bad_share": 0.5,
    }
    return TrainLoader(reader, **{**settings, **changes})


def test_the_next_good_one_stands_in(tmp_path):
    with BetonReader(file_of(tmp_path / "x.beton", photos(6))) as reader:
        quarantine = Quarantine(reader, 0.9, {2: "a", 3: "b", 5: "c"})
        index, met = quarantine.replace(np.array([1, 2, 5, 4]))
        assert index.tolist() == [1, 4, 0, 4] and met == {2: "a", 3: "b", 5: "c"}
        untouched = np.array([0, 1])
        index, met = quarantine.replace(untouched)
        assert index.tolist() == [0, 1] and met == {}
        with pytest.raises(
            BetonError,
            match=r"6 of 6 samples cannot be used, 0.9 of them may be .*: sample 2 of .*: d; "
            r".*and 1 more",
        ):
            quarantine.add(dict.fromkeys(range(6), "d"))


@pytest.mark.parametrize("kind", UNUSABLE)
def test_training_goes_on_past_a_bad_sample(tmp_path, kind):
    with BetonReader(with_bad(tmp_path / "x.beton", {5: kind, 6: kind})) as reader:
        loader = loader_of(reader)
        batches = list(loader.epoch(0))
        assert len(batches) == 4
        seen = torch.cat([batch.index for batch in batches]).tolist()
        assert sorted(seen) == sorted([i for i in range(16) if i not in (5, 6)] + [7, 7])
        assert loader.quarantine.keys() == {5, 6} and all(
            "cannot be decoded" in why for why in loader.quarantine.values()
        )
        loader.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_no_kind_of_bad_sample_ends_the_process_where_batches_are_large(tmp_path, threads):
    """DALI reads the headers of 32 images or more in parallel: one that it cannot read was a
    segmentation fault."""
    bad = dict(zip(range(3, 64, 8), UNUSABLE, strict=False))
    with BetonReader(with_bad(tmp_path / "x.beton", bad, count=64)) as reader:
        for _ in range(3):
            loader = loader_of(reader, batch_size=64, threads=threads)
            (batch,) = loader.epoch(0)
            assert sorted(batch.index.tolist()) == sorted(
                [i for i in range(64) if i not in bad] + [i + 1 for i in bad]
            )
            assert loader.quarantine.keys() == bad.keys()
            loader.close()


def test_the_batches_do_not_depend_on_when_a_bad_sample_was_found(tmp_path):
    bad = {0: "zeros", 3: "truncated", 4: "no SOI", 15: "a text"}
    with BetonReader(with_bad(tmp_path / "x.beton", bad)) as reader:
        first = loader_of(reader)
        whole = [list(first.epoch(0)), list(first.epoch(1))]
        known = dict(first.quarantine)
        assert known.keys() == bad.keys()
        for start in (0, 1, 3):
            for quarantine in ({}, known, {3: known[3]}):
                fresh = loader_of(reader, quarantine=quarantine)
                for one, other in zip(whole[1][start:], fresh.epoch(1, start=start), strict=True):
                    assert torch.equal(one.index, other.index) and torch.equal(
                        one.label, other.label
                    )
                    assert torch.equal(one.query, other.query) and torch.equal(one.key, other.key)
                fresh.close()
        first.close()


def test_what_was_met_is_told_with_its_batch_and_not_before(tmp_path):
    """The feeding thread is ahead; what it found must not show before the batch is taken, or a
    resumed run would log otherwise."""
    late = int(EpochOrder(16, 4, seed=3).batch(0, 2)[0])
    with BetonReader(with_bad(tmp_path / "x.beton", {late: "zeros"})) as reader:
        loader = loader_of(reader, seed=3)
        for i, _ in enumerate(loader.epoch(0)):
            assert (late in loader.quarantine) == (i >= 2)
        loader.close()


def test_ranks_replace_alike(tmp_path):
    with BetonReader(with_bad(tmp_path / "x.beton", {2: "zeros", 11: "truncated"})) as reader:
        whole = list(loader_of(reader).epoch(0))
        parts = [list(loader_of(reader, rank=rank, world_size=2).epoch(0)) for rank in range(2)]
        for batch, one, other in zip(whole, *parts, strict=True):
            assert torch.equal(batch.index, torch.cat([one.index, other.index]))
            assert torch.equal(batch.query, torch.cat([one.query, other.query]))


def test_too_many_bad_samples_stop_the_run(tmp_path):
    with BetonReader(
        with_bad(tmp_path / "x.beton", {1: "zeros", 7: "zeros", 12: "zeros"})
    ) as reader:
        loader = loader_of(reader, max_bad_share=2 / 16)
        with pytest.raises(
            BetonError,
            match=r"3 of 16 samples cannot be used, 0.125 of them may be \(--max_bad_share\)",
        ):
            list(loader.epoch(0))
        assert len(list(loader_of(reader, max_bad_share=3 / 16).epoch(0))) == 4
        with pytest.raises(BetonError, match=r"of 16 samples cannot be used: sample \d+ of "):
            list(loader_of(reader, max_bad_share=0.0).epoch(0))


def test_a_file_of_which_no_sample_can_be_used_ends(tmp_path):
    path = with_bad(tmp_path / "x.beton", dict.fromkeys(range(8), "zeros"), count=8)
    with (
        BetonReader(path) as reader,
        pytest.raises(BetonError, match=r"No sample of .* can be used"),
    ):
        list(loader_of(reader, max_bad_share=1.0).epoch(0))


def test_a_loader_that_met_too_many_can_be_used_again(tmp_path):
    with BetonReader(with_bad(tmp_path / "x.beton", {3: "zeros"})) as reader:
        loader = EvalLoader(reader, 8, 32, threads=1)
        for _ in range(2):
            with pytest.raises(BetonError, match="sample 3 of"):
                list(loader)
        loader.close()


def test_evaluation_leaves_bad_samples_out(tmp_path):
    """Where some may be bad.

    The others come once each, as they come without the bad ones; none stands in.
    """
    bad = {0: "zeros", 6: "truncated", 7: "no SOI", 15: "a text"}
    good = [i for i in range(16) if i not in bad]
    with BetonReader(with_bad(tmp_path / "x.beton", bad)) as reader:
        loader, alone = (
            EvalLoader(reader, 2, 32, threads=1, max_bad_share=0.25),
            EvalLoader(reader, 2, 32, threads=1, samples=good),
        )
        for _ in range(2):  # when they are found, and when they are known
            batches = list(loader)
            assert torch.cat([batch.index for batch in batches]).tolist() == good
            assert torch.equal(
                torch.cat([batch.images for batch in batches]),
                torch.cat([batch.images for batch in alone]),
            )
            assert torch.cat([batch.label for batch in batches]).tolist() == [i % 4 for i in good]
            assert (
                all(len(batch.index) for batch in batches)
                and loader.quarantine.keys() == bad.keys()
            )
        for each in (loader, alone):
            each.close()
        with pytest.raises(BetonError, match=r"4 of 16 samples cannot be used, 0.2 of them may be"):
            list(EvalLoader(reader, 2, 32, threads=1, max_bad_share=0.2))


def test_probe_crops_may_go_past_a_bad_sample_too(tmp_path):
    with BetonReader(with_bad(tmp_path / "x.beton", {3: "zeros"})) as reader:
        loader = CropLoader(reader, 8, 32, threads=1, max_bad_share=0.1)
        assert 3 not in torch.cat([batch.index for batch in loader.epoch(0)]).tolist()
        loader.close()


def test_damage_that_decoders_pass_over_is_quarantined_by_its_checksum(tmp_path):
    path = file_of(tmp_path / "x.beton", photos(16))
    with BetonReader(path) as reader:
        sound = reader.jpeg(6).tobytes()
    data = path.read_bytes()
    path.write_bytes(
        data.replace(
            sound,
            middle(sound, lambda part: bytes(b ^ 1 if b not in (0xFE, 0xFF) else b for b in part)),
        )
    )
    with BetonReader(path) as reader:
        loader = loader_of(reader, check_crc=True)
        assert 6 not in torch.cat([batch.index for batch in loader.epoch(0)]).tolist()
        assert "checksum" in loader.quarantine[6]
        loader.close()


def test_a_size_that_is_not_the_images_is_a_bad_sample(tmp_path):
    """The crop would lie outside of the image, or show only a part of it, without a word."""
    samples = photos(8)
    samples[5] = (samples[5][0], SIDE * 2, SIDE)
    with BetonReader(file_of(tmp_path / "x.beton", samples)) as reader:
        loader = loader_of(reader)
        assert 5 not in torch.cat([batch.index for batch in loader.epoch(0)]).tolist()
        assert loader.quarantine == {
            5: f"it decodes to {SIDE}×{SIDE} pixels, the file says {SIDE}×{SIDE * 2}"
        }
        loader.close()


def odd_images():
    """{kind: (bytes, the upright-or-not RGB image a decoder makes of them)} of what decodes, though
    it is no plain colour JPEG."""
    rng = np.random.default_rng(5)
    image, wide = photo(rng, 30, 50), np.repeat(photo(rng, 8, 40), 500, axis=1)
    picture = Image.fromarray(image)
    return {
        "PNG": saved(image, "PNG"),
        "gray": saved(picture.convert("L"), "JPEG", quality=95),
        "CMYK": saved(picture.convert("CMYK"), "JPEG", quality=95),
        "EXIF rotation": rotated(picture, 6),
        "1×1": jpeg(photo(rng, 1, 1)),
        "20,000 px wide": jpeg(wide),
        "progressive": saved(image, "JPEG", quality=95, progressive=True),
    }


@pytest.mark.parametrize("kind", odd_images())
def test_odd_images_train(tmp_path, kind):
    """Files of other writers may hold them; ours changes or refuses what is not a plain JPEG.

    No EXIF rotation is applied here.
    """
    data = odd_images()[kind]
    opened = Image.open(io.BytesIO(data))
    with BetonReader(
        file_of(tmp_path / "x.beton", [(data, opened.height, opened.width), *photos(3)])
    ) as reader:
        loader = EvalLoader(reader, 4, 32, resize=32, threads=1)
        (batch,) = loader
        loader.close()
        side = min(opened.size)
        left, top = (opened.width - side) / 2, (opened.height - side) / 2
        expected = opened.convert("RGB").resize(
            (32, 32), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
        )
        mean, std = (
            torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1),
            torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1),
        )
        found = (batch.images[0] * std + mean) * 255
        assert (found - torch.from_numpy(np.array(expected)).permute(2, 0, 1)).abs().mean() < (
            30.0 if kind == "CMYK" else 2.5
        )
        training = loader_of(reader)
        assert len(list(training.epoch(0))) == 1 and not training.quarantine
        training.close()


CPU = torch.device("cpu")
GOOD = jpeg(photo(np.random.default_rng(0), 24, 32))
CUT = GOOD[:300]  # within its tables: the header cannot be read to its end


def reader(tmp_path, *samples, textures=None, **options):
    paired = ("texture",) if textures else ()
    with BetonWriter(tmp_path / "x.beton", (), paired_fields=paired, **options) as writer:
        for data, texture in zip(samples, textures or samples, strict=True):
            pair = {"texture": (texture, 24, 32)} if textures else None
            writer.add(data, 24, 32, paired=pair)
    return BetonReader(tmp_path / "x.beton")


def test_a_header_that_cannot_be_read_is_refused_and_a_good_one_is_read_once(tmp_path, monkeypatch):
    with reader(tmp_path, GOOD, CUT, GOOD) as data:
        checks = SampleChecks(data, False, False, CPU)
        bad = checks.refused(np.array([0, 1, 2]))
        assert list(bad) == [1] and "cannot be decoded" in bad[1]
        monkeypatch.setattr("fastneg.data.load.quarantine.size_by_header", None)
        assert checks.refused(np.array([2, 0])) == {}


def test_another_size_than_the_file_says(tmp_path):
    wide = jpeg(photo(np.random.default_rng(0), 24, 40))
    with reader(tmp_path, wide) as data:
        said = "it decodes to 40×24 pixels, the file says 32×24"
        assert SampleChecks(data, False, False, CPU).refused(np.array([0])) == {0: said}


def test_a_texture_is_looked_at_too(tmp_path):
    with reader(tmp_path, GOOD, GOOD, textures=[GOOD, CUT]) as data:
        bad = SampleChecks(data, True, False, CPU).refused(np.array([0, 1]))
        assert list(bad) == [1] and bad[1].startswith("its texture: it cannot be decoded")
        request = Request(np.array([0, 1]), [], 8, {})
        encoded = [[data.encoded(i, field) for i in range(2)] for field in data.image_fields]
        assert SampleChecks(data, True, False, CPU).undecodable(request, *encoded) == bad
        assert SampleChecks(data, False, False, CPU).undecodable(request, encoded[0], []) == {}


def test_checksums_are_compared_every_time(tmp_path):
    with reader(tmp_path, GOOD, GOOD) as data:
        checks = SampleChecks(data, False, True, CPU)
        assert checks.refused(np.array([0, 1])) == {}
        data.checksums[1] += 1
        assert "fails its checksum" in checks.refused(np.array([0, 1]))[1]


def test_what_the_file_lacks(tmp_path):
    with reader(tmp_path, GOOD, checksums=False) as data:
        with pytest.raises(BetonError, match="holds no checksums"):
            SampleChecks(data, False, True, CPU)
        with pytest.raises(BetonError, match="holds no textures"):
            SampleChecks(data, True, False, CPU)
