"""The format and the reader, with fastneg.data.errors and fastneg.data.beton.sidecar.

The writer: test_writer.py; with FFCV itself: tests/data/encode/test_ffcv.py.
"""

import json
import pickle
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastneg.data import BetonError, BetonReader, BetonWriter
from fastneg.data.beton.checksum_block import POINTER
from fastneg.data.beton.format import ALLOCATION, DESCRIPTOR, HEADER, IMAGE
from fastneg.data.beton.sidecar import sidecar_path

RNG = np.random.default_rng(0)
BLOBS = [
    RNG.integers(0, 256, size, dtype=np.uint8).tobytes() for size in (1, 900, 4096, 17, 2500, 3000)
]
PIXELS = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
RAW_AT = len(BLOBS)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Six JPEGs (in name: the format does not look inside) and one raw sample, in pages of 4096
    bytes."""
    path = tmp_path_factory.mktemp("beton") / "small.beton"
    with BetonWriter(
        path, int_fields=("label", "texture"), page_size=4096, classes=["cat", "dog"]
    ) as writer:
        for i, blob in enumerate(BLOBS):
            writer.add(blob, 10 + i, 20 + i, label=i % 2, texture=-i, name=f"cat/{i}.jpg")
        writer.add_raw(PIXELS, label=1, texture=2**63 - 1, name="dog/raw.png")
    return path


def header(data):
    return np.frombuffer(data, HEADER, 1)[0]


def changed(path, where, value, size):
    """The file's bytes with a little-endian number written over a place."""
    data = bytearray(path.read_bytes())
    data[where : where + size] = value.to_bytes(size, "little")
    return bytes(data)


def test_the_layout_is_ffcvs():
    assert [dtype.itemsize for dtype in (HEADER, DESCRIPTOR, IMAGE, ALLOCATION)] == [
        24,
        1041,
        13,
        24,
    ]


def test_what_is_written_is_read(small):
    with BetonReader(small, verify=True) as reader:
        assert (
            len(reader) == 7
            and reader.fields == ["image", "label", "texture"]
            and reader.path == str(small)
        )
        assert list(reader.ints) == ["label", "texture"] and reader.stored_bytes.tolist() == [
            *map(len, BLOBS),
            105,
        ]
        assert [reader.jpeg(i).tobytes() for i in range(6)] == BLOBS
        assert reader.labels.tolist() == [0, 1, 0, 1, 0, 1, 1] and reader.labels.dtype == np.int64
        assert reader.ints["texture"].tolist() == [0, -1, -2, -3, -4, -5, 2**63 - 1]
        assert reader.sizes.tolist() == [[10 + i, 20 + i] for i in range(6)] + [[5, 7]]
        assert reader.checksums.tolist() == [
            zlib.crc32(blob) for blob in [*BLOBS, PIXELS.tobytes()]
        ]
        assert reader.raw.tolist() == [False] * 6 + [True]
        assert reader.classes == ["cat", "dog"] and reader.names == [
            f"cat/{i}.jpg" for i in range(6)
        ] + ["dog/raw.png"]
        assert reader.encoded(RAW_AT).tobytes() == b"P6 7 5 255\n" + PIXELS.tobytes()
        with pytest.raises(BetonError, match=r"sample 6 \(dog/raw.png\) of .* is raw pixels"):
            reader.jpeg(RAW_AT)
        with pytest.raises(IndexError):
            reader.encoded(7)


def test_no_sample_straddles_a_page_and_data_follow_the_records(small):
    data = small.read_bytes()
    head = header(data)
    with BetonReader(small) as reader:
        first = np.array([data.find(reader.stored(i).tobytes(), 4096) for i in range(1, 7)])
        last = first + [len(reader.stored(i)) - 1 for i in range(1, 7)]
    page = int(head["page_size"])
    # the records end in the first page
    assert page == 4096 and (first // page == last // page).all() and (first >= 4096).all()


def test_samples_are_views_of_the_file(small):
    reader = BetonReader(small)
    one, again = reader.jpeg(1), reader.encoded(1)
    assert np.shares_memory(one, again) and not one.flags.writeable and not one.flags.owndata
    reader.will_need(np.arange(7))
    reader.close()
    assert one.tobytes() == BLOBS[1]  # a view outlives the reader
    for use in (lambda: reader.jpeg(0), lambda: reader.will_need([0])):
        with pytest.raises(ValueError, match="is closed"):
            use()


def test_a_reader_travels_to_other_processes(small, monkeypatch):
    monkeypatch.chdir(small.parent)
    packed = pickle.dumps(BetonReader("small.beton"))
    monkeypatch.chdir("/")
    copy = pickle.loads(packed)
    assert copy.jpeg(2).tobytes() == BLOBS[2] and copy.names[0] == "cat/0.jpg"


def test_labels_are_found_by_name_or_by_being_alone(tmp_path):
    for fields, expected in (
        (("label", "other"), 1),
        (("colour", "crc32"), 1),
        (("colour", "other"), None),
        (("crc32",), None),
    ):
        with BetonWriter(
            tmp_path / "x.beton", int_fields=fields, page_size=4096, checksums="crc32" not in fields
        ) as writer:
            writer.add(b"data", 1, 1, **{field: 1 + number for number, field in enumerate(fields)})
        labels = BetonReader(tmp_path / "x.beton").labels
        assert (labels if expected is None else labels.tolist()) == (
            None if expected is None else [expected]
        )


# --- what breaks ----------------------------------------------------------------------------------


def table(path):
    return int(header(path.read_bytes())["alloc_table_ptr"])


RECORDS = HEADER.itemsize + 3 * DESCRIPTOR.itemsize
RECORD = 32  # image 13, padded to 16, and two int64
ARGUMENTS = HEADER.itemsize + 17  # of the first field


def moved(path, sample, pointer):
    """The file's bytes with a sample that begins elsewhere, in its record and in the allocation
    table."""
    data = bytearray(path.read_bytes())
    for where in (RECORDS + sample * RECORD + 5, table(path) + sample * 24 + 8):
        data[where : where + 8] = pointer.to_bytes(8, "little")
    return bytes(data)


def checksums(path):
    return int(np.frombuffer(path.read_bytes(), POINTER, 1, ARGUMENTS)[0]["ptr"])


DAMAGE = {
    "missing": (lambda path: None, "cannot be read.*No such file"),
    "empty": (lambda path: b"", "has 0 bytes"),
    "no beton": (lambda path: b"\xff\xd8\xff\xe0 a photo, and some more of it", "format version"),
    "version": (lambda path: changed(path, 0, 3, 2), "format version 3, 2 was expected"),
    "writer died": (lambda path: changed(path, 16, 0, 8), "is unfinished"),
    "cut at 60%": (
        lambda path: path.read_bytes()[: path.stat().st_size * 6 // 10],
        r"has \d+ bytes, more than \d+ were expected",
    ),
    "table cut": (
        lambda path: path.read_bytes()[:-48],
        "has 5 entries in its allocation table, 7 were expected",
    ),
    "table cut in an entry": (lambda path: path.read_bytes()[:-5], "6 entries and a part of one"),
    "table too long": (lambda path: path.read_bytes() + bytes(24), "has 8 entries"),
    "no samples": (lambda path: changed(path, 8, 0, 8), "holds no samples"),
    "more samples than fit": (
        lambda path: changed(path, 8, 2**63, 8),
        "cannot hold the 9223372036854775808 samples",
    ),
    "page size": (lambda path: changed(path, 4, 4095, 4), "page size of 4095"),
    "no fields": (lambda path: changed(path, 2, 0, 2), "the 0 fields"),
    "more fields than fit": (lambda path: changed(path, 2, 65535, 2), "the 65535 fields"),
    "custom field": (
        lambda path: changed(path, HEADER.itemsize + DESCRIPTOR.itemsize, 255, 1),
        "'label' of a custom type",
    ),
    "unknown field": (
        lambda path: changed(path, HEADER.itemsize + DESCRIPTOR.itemsize, 9, 1),
        "'label' of type 9",
    ),
    "no image field": (
        lambda path: changed(path, HEADER.itemsize, 1, 1),
        "0 image fields.*image, label, texture",
    ),
    "two image fields": (
        lambda path: (
            changed(path, HEADER.itemsize + 1, ord("j"), 1)[: HEADER.itemsize + DESCRIPTOR.itemsize]
            + changed(path, HEADER.itemsize + DESCRIPTOR.itemsize, 2, 1)[
                HEADER.itemsize + DESCRIPTOR.itemsize :
            ]
        ),
        "2 image fields, one was expected, or one named 'image'; its fields: jmage, label",
    ),
    "field name": (lambda path: changed(path, HEADER.itemsize + 1, 0, 1), "a field named ''"),
    "mode": (
        lambda path: changed(path, RECORDS + RECORD, 2, 1),
        "sample 1 is neither a JPEG nor raw",
    ),
    "width 0": (
        lambda path: changed(path, RECORDS + 2 * RECORD + 1, 0, 2),
        "sample 2 has no height or no width",
    ),
    "pointer": (
        lambda path: changed(path, RECORDS + 3 * RECORD + 5, 12345, 8),
        "sample 3 is not in the allocation table",
    ),
    "pointer beyond 2^63": (
        lambda path: changed(path, RECORDS + 3 * RECORD + 5, 2**64 - 1, 8),
        "sample 3 is not in the allocation table",
    ),
    "size": (
        lambda path: changed(path, table(path) + 24 + 16, 2**64 - 8, 8),
        "sample 1 lies outside",
    ),
    "pointer into the records": (lambda path: moved(path, 1, RECORDS), "sample 1 lies outside"),
    "size 0": (
        lambda path: changed(path, table(path) + 24 + 16, 0, 8),
        "sample 1 is not in the allocation table",
    ),
    "size of raw pixels": (
        lambda path: changed(path, table(path) + 6 * 24 + 16, 3, 8),
        "sample 6 has not the size of its pixels",
    ),
    "overlap": (
        lambda path: changed(path, table(path) + 3 * 24 + 16, 18, 8),
        "sample 4 overlaps another",
    ),
    "checksums": (
        lambda path: changed(path, checksums(path) + 9, 1, 1),
        r"the checksums of its samples are damaged \(bytes \d+ to \d+\)",
    ),
    "checksums elsewhere": (
        lambda path: changed(path, ARGUMENTS + 8, checksums(path) - 8, 8),
        "the checksums of its samples are damaged",
    ),
    "checksums nowhere": (
        lambda path: changed(path, ARGUMENTS + 8, 2**64 - 1, 8),
        "the checksums of its samples are damaged",
    ),
    "checksums in the table": (
        lambda path: changed(path, ARGUMENTS + 8, table(path), 8),
        "the checksums of its samples are damaged",
    ),
    "another's bytes": (
        lambda path: changed(path, table(path) + 24, 5, 8),
        "sample 1 is not in the allocation table",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_when_the_file_is_opened(small, tmp_path, name):
    make, said = DAMAGE[name]
    path = tmp_path / "bad.beton"
    if (data := make(small)) is not None:
        path.write_bytes(data)
    with pytest.raises(BetonError, match=said) as caught:
        BetonReader(path)
    assert str(path) in str(caught.value)


def test_a_file_cut_anywhere_is_refused(small, tmp_path):
    path, data = tmp_path / "cut.beton", small.read_bytes()
    for size in [*range(0, len(data), 101), len(data) - 24, len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(BetonError):
            BetonReader(path)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(BetonError, match=f"fastneg encode {tmp_path} OUT.beton"):
        BetonReader(tmp_path)


def test_silent_damage_is_found_by_the_checksums(small, tmp_path):
    path, data = tmp_path / "bad.beton", bytearray(small.read_bytes())
    data[data.find(BLOBS[4]) + 1000] ^= 1
    path.write_bytes(data)
    with BetonReader(path) as reader:
        assert [reader.matches_checksum(i) for i in range(7)] == [True] * 4 + [False] + [True] * 2
    with pytest.raises(
        BetonError, match="1 of 7 samples failed the checksum; the first is sample 4 of"
    ):
        BetonReader(path, verify=True)
    with BetonWriter(tmp_path / "plain.beton", page_size=4096, checksums=False) as writer:
        writer.add(b"data", 1, 1, label=0)
    with pytest.raises(BetonError, match="holds no checksums"):
        BetonReader(tmp_path / "plain.beton", verify=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[1]", "holds a list"),
        ('{"classes": 3}', "classes is not a list"),
        ('{"names": [1, 2]}', "names is not a list"),
        ('{"names": ["a"]}', "names 1 sample, .* holds 7"),
        ('{"fingerprint": "00000000"}', "was written with another file"),
        (b"\xff\xfe\xff", "cannot be read"),
    ],
)
def test_a_sidecar_that_does_not_belong(small, tmp_path, text, said):
    path = tmp_path / "x.beton"
    path.write_bytes(small.read_bytes())
    assert BetonReader(path).classes is None and BetonReader(path).names is None
    sidecar_path(path).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BetonError, match=said):
        BetonReader(path)


def test_a_sidecar_says_more(tmp_path):
    with BetonWriter(tmp_path / "x.beton", page_size=4096) as writer:
        writer.add(b"data", 1, 1, label=0)
        writer.info["source"] = "somewhere"
    assert BetonReader(tmp_path / "x.beton").info == {"samples": 1, "source": "somewhere"}
    assert json.loads((tmp_path / "x.beton.json").read_text())["classes"] is None


# --- any damage -----------------------------------------------------------------------------------

NUMBERS = st.sampled_from(
    [
        0,
        1,
        2,
        3,
        127,
        128,
        255,
        256,
        4096,
        65535,
        2**31,
        2**32 - 1,
        2**62,
        2**63 - 1,
        2**63,
        2**64 - 24,
        2**64 - 1,
    ]
)


@st.composite
def damages(draw):
    """A place, a width in bytes and a number; places are fractions of the parts that hold
    structure."""
    part = draw(st.sampled_from(["header", "descriptors", "records", "table", "anywhere"]))
    return (
        part,
        draw(st.floats(0, 1, exclude_max=True)),
        draw(st.sampled_from([1, 2, 4, 8])),
        draw(NUMBERS | st.integers(0, 2**64 - 1)),
    )


@settings(
    max_examples=500,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(changes=st.lists(damages(), min_size=1, max_size=4), keep=st.none() | st.floats(0, 1))
def test_any_damage_gives_a_beton_error_or_a_reader_that_stays_in_the_file(
    small, tmp_path, changes, keep
):
    data = bytearray(small.read_bytes())
    parts = {
        "header": (0, 24),
        "descriptors": (24, RECORDS),
        "records": (RECORDS, RECORDS + 7 * RECORD),
        "table": (table(small), len(data)),
        "anywhere": (0, len(data)),
    }
    for part, fraction, width, number in changes:
        first, last = parts[part]
        where = first + int(fraction * (last - first))
        data[where : where + width] = (number % 256**width).to_bytes(width, "little")[
            : len(data) - where
        ]
    if keep is not None:
        del data[int(keep * len(data)) :]
    path = tmp_path / "fuzzed.beton"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with BetonReader(path) as reader:
            for i in range(len(reader)):
                stored = reader.stored(i)
                assert 0 < len(stored) <= len(data)
                pnm = b"P6 %d %d 255\n" % tuple(reader.sizes[i][::-1]) if reader.raw[i] else b""
                assert reader.encoded(i).tobytes() == pnm + stored.tobytes()
            reader.will_need(range(len(reader)))
    except BetonError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**20  # the file has 30 kB; what a damaged count asks for would be far more
