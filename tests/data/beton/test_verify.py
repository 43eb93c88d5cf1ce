import numpy as np
import pytest

from fastneg.config import VerifyConfig
from fastneg.data import BetonError, BetonReader, BetonWriter
from fastneg.data.beton.verify import verify
from fastneg.recipes.verify import run_verify
from helpers.images import jpeg, photo, saved

RNG = np.random.default_rng(0)
IMAGES = [photo(RNG, 30 + i, 40) for i in range(150)]


def written(path, checksums=True, broken=()):
    with BetonWriter(path, checksums=checksums, page_size=65536) as writer:
        for i, image in enumerate(IMAGES):
            data = jpeg(image)
            if i % 10 == 9:
                writer.add_raw(image, label=0, name=f"{i}.png")
            elif (i, "truncated") in broken:
                writer.add(data[:-200], *image.shape[:2], label=0, name=f"{i}.jpg")
            elif (i, "size") in broken:
                writer.add(data, 7, 8, label=0, name=f"{i}.jpg")
            else:
                writer.add(data, *image.shape[:2], label=0, name=f"{i}.jpg")
    return path


def test_a_good_file_is_good(tmp_path):
    path = written(tmp_path / "x.beton")
    assert verify(VerifyConfig(str(path), workers=1)) == {
        "files": 1, "samples": 150, "bad": [], "checked_crc": True
    }  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2])
def test_every_bad_sample_is_listed_with_its_reason(tmp_path, workers):
    path = written(tmp_path / "x.beton", broken=((3, "truncated"), (140, "size")))
    data = bytearray(path.read_bytes())
    with BetonReader(path) as reader:
        # within raw pixels, and near the end of a JPEG, where decoders say nothing
        for i, place in ((69, 100), (71, -20)):
            stored = reader.stored(i).tobytes()
            data[data.find(stored) + place % len(stored)] ^= 1
    path.write_bytes(data)
    result = verify(VerifyConfig(str(path), workers=workers))
    assert result["samples"] == 150 and [(bad["index"], bad["name"]) for bad in result["bad"]] == [
        (3, "3.jpg"), (69, "69.png"), (71, "71.jpg"), (140, "140.jpg")
    ]  # fmt: skip
    reasons = (
        "cannot be decoded (OSError",
        "CRC32",
        "CRC32",
        "decodes to 40×170 pixels, the file says 8×7",
    )
    assert all(said in bad["reason"] for bad, said in zip(result["bad"], reasons, strict=True))


@pytest.mark.parametrize("workers", [1, 2])
def test_several_files_are_checked_one_by_one(tmp_path, workers, capsys):
    written(tmp_path / "a.beton")
    written(tmp_path / "b.beton", broken=((3, "truncated"), (140, "size")))
    cut = written(tmp_path / "c.beton", checksums=False)
    written(tmp_path / "d.beton", checksums=False, broken=((71, "truncated"),))
    cut.write_bytes(cut.read_bytes()[:-24])
    config = VerifyConfig(f"{tmp_path}/?.beton", workers=workers)
    result = verify(config)
    assert (result["files"], result["samples"], result["checked_crc"]) == (4, 450, False)
    found = sorted(
        (bad["file"][-7], bad["index"], bad["name"])
        for bad in result["bad"]
        if bad["index"] is not None
    )
    assert found == [("b", 3, "3.jpg"), ("b", 140, "140.jpg"), ("d", 71, "71.jpg")]
    assert ["149 entries" in bad["reason"] for bad in result["bad"] if bad["index"] is None] == [
        True
    ]
    assert run_verify(config) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "450 samples, 4 bad; checked: decode (not every file" in lines[0] and len(lines) == 5
    assert any(
        line.startswith(f"  {tmp_path}/b.beton: sample 3 3.jpg: it cannot be decoded")
        for line in lines
    )
    assert run_verify(VerifyConfig(str(tmp_path / "a.beton"), workers=1)) == 0


def test_paired_images_are_checked_too(tmp_path):
    path, texture = tmp_path / "x.beton", jpeg(IMAGES[0])
    with BetonWriter(path, paired_fields=("texture",)) as writer:
        for i in range(8):
            pair = {
                "texture": (
                    texture[:-100] if i == 2 else texture,
                    *((9, 9) if i == 5 else IMAGES[0].shape[:2]),
                )
            }
            writer.add(jpeg(IMAGES[i]), *IMAGES[i].shape[:2], label=0, paired=pair)
    data = bytearray(path.read_bytes())
    with BetonReader(path) as reader:
        data[data.find(reader.stored(6).tobytes() + texture) + len(reader.stored(6)) + 100] ^= 1
    path.write_bytes(data)
    bad = {bad["index"]: bad["reason"] for bad in verify(VerifyConfig(str(path), workers=1))["bad"]}
    assert list(bad) == [2, 5, 6] and all(
        reason.startswith("its texture: it") for reason in bad.values()
    )
    assert "cannot be decoded" in bad[2] and "the file says 9×9" in bad[5] and "CRC32" in bad[6]


def test_without_checksums_the_decode_is_what_is_left(tmp_path):
    path = written(tmp_path / "x.beton", checksums=False, broken=((3, "truncated"),))
    (tmp_path / "x.beton.json").unlink()
    result = verify(VerifyConfig(str(path), workers=1))
    assert result["checked_crc"] is False and [
        (bad["index"], bad["name"]) for bad in result["bad"]
    ] == [(3, None)]


def test_a_file_that_is_not_whole_raises(tmp_path):
    path = written(tmp_path / "x.beton")
    path.write_bytes(path.read_bytes()[:-24])
    with pytest.raises(BetonError, match="149 entries in its allocation table, 150"):
        verify(VerifyConfig(str(path)))


def test_damage_that_a_decoder_passes_over_is_found_without_checksums(tmp_path):
    data = saved(IMAGES[0], "JPEG", restart_marker_blocks=1)
    with BetonWriter(tmp_path / "x.beton", checksums=False) as writer:
        for bad in (data, data[: data.index(b"\xff\xd1")] + data[data.index(b"\xff\xd2") :]):
            writer.add(bad, *IMAGES[0].shape[:2], label=0)
    (found,) = verify(VerifyConfig(str(tmp_path / "x.beton"), workers=1))["bad"]
    assert found["index"] == 1 and "restart markers" in found["reason"]
