"""Damaged files: fastneg.data.beton.reader and fastneg.data.beton.shards refuse them, or hand out
what the damage left alone.

A few hundred examples, always the same ones; FASTNEG_FUZZ_EXAMPLES=20000 draws that many new ones.
"""

import os
import signal
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from fastneg.data import BetonError, BetonReader, BetonSet, BetonWriter
from fastneg.data.beton.format import ALLOCATION, DESCRIPTOR, HEADER, IMAGE, POINTER_TYPES

EXAMPLES = int(os.environ.get("FASTNEG_FUZZ_EXAMPLES", "0"))
TIME_LIMIT_S = 120  # of one example: what takes longer hangs
LEAST_MEMORY = 1 << 16  # bytes; Python's own objects, for files that were cut short
RNG = np.random.default_rng(0)
BLOBS = [
    RNG.integers(0, 256, size, dtype=np.uint8).tobytes()
    for size in (1, 900, 40_000, 17, 2500, 90_000, 3000)
]
PIXELS = [RNG.integers(0, 256, (side, side + 2, 3), dtype=np.uint8) for side in (5, 60)]
KINDS = ("plain", "paired", "foreign")
EXTREMES = (
    0,
    1,
    2,
    3,
    7,
    255,
    256,
    4096,
    2**15,
    2**16 - 1,
    2**31,
    2**32 - 1,
    2**48,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 24,
    2**64 - 1,
)


class Original:
    """A whole file, what its samples are, and where its fields lie."""

    def __init__(self, path):
        self.path, self.data = path, path.read_bytes()
        with BetonReader(path) as reader:
            self.samples = {
                field: [reader.stored(i, field).tobytes() for i in range(len(reader))]
                for field in reader.image_fields
            }
            self.starts = {
                field: [_address(reader, i, field) for i in range(len(reader))]
                for field in reader.image_fields
            }
        head = np.frombuffer(self.data, HEADER, 1)[0]
        self.table, self.count, fields = (
            int(head[name]) for name in ("alloc_table_ptr", "num_samples", "num_fields")
        )
        descriptors = np.frombuffer(self.data, DESCRIPTOR, fields, HEADER.itemsize)
        types = {f"{i}": FIELDS[int(kind)] for i, kind in enumerate(descriptors["type_id"])}
        self.images = {
            each["name"].decode(): f"{i}"
            for i, each in enumerate(descriptors)
            if each["type_id"] == 2
        }
        self.pointers = sum(int(kind) in POINTER_TYPES for kind in descriptors["type_id"])
        self.record, self.records = (
            np.dtype(list(types.items()), align=True),
            HEADER.itemsize + fields * DESCRIPTOR.itemsize,
        )
        self.regions = {
            "header": (0, HEADER.itemsize),
            "descriptors": (HEADER.itemsize, self.records),
            "records": (self.records, self.records + self.count * self.record.itemsize),
            "table": (self.table, len(self.data)),
            "anywhere": (0, len(self.data)),
        }
        entries = (len(self.data) - self.table) // ALLOCATION.itemsize
        self.numbers = {  # (place, width) of each number
            "header": _numbers(HEADER, 0, 1),
            # Its type, and where its checksums lie.
            "descriptors": [
                (HEADER.itemsize + i * DESCRIPTOR.itemsize + at, width)
                for i in range(fields)
                for at, width in ((0, 1), (25, 8))
            ],
            "records": _numbers(self.record, self.records, self.count),
            "table": _numbers(ALLOCATION, self.table, entries),
        }

    def place(self, index, field):
        """(first, last) byte of the image sub-record of a sample."""
        first = (
            self.records + index * self.record.itemsize + self.record.fields[self.images[field]][1]
        )
        return first, first + IMAGE.itemsize

    def entries(self, index, field):
        """Places of a sample's entry in the allocation table, by its address."""
        found = np.frombuffer(self.data, ALLOCATION, -1, self.table)
        return [
            self.table + int(i) * ALLOCATION.itemsize
            for i in np.flatnonzero(found["ptr"] == self.starts[field][index])
        ]


# Written anew here, so that a mistake in the reader's own list shows.
FIELDS = {0: np.dtype("<f8"), 1: np.dtype("<i8"), 2: IMAGE, 3: np.dtype("<u8,<u8")}


def _numbers(dtype, start, count):
    flat = []
    for name in dtype.names:
        part, offset = dtype.fields[name][:2]
        flat += (
            [(offset + at, width) for at, width in _numbers(part, 0, 1)]
            if part.names
            else [(offset, part.itemsize)]
        )
    return [
        (start + i * dtype.itemsize + offset, width) for i in range(count) for offset, width in flat
    ]


def _address(reader, index, field):
    stored = reader.stored(index, field)
    return stored.__array_interface__["data"][0] - reader._bytes.__array_interface__["data"][0]


def _write_foreign(path):
    """A file as FFCV writes it with an image, a bytes and a float field; the second bytes value is
    empty."""
    record = np.dtype([("image", IMAGE), ("note", "<u8,<u8"), ("score", "<f8")], align=True)
    fields = np.array([(2, b"image", b""), (3, b"note", b""), (0, b"score", b"")], DESCRIPTOR)
    records, entries, body = np.zeros(len(BLOBS), record), [], b""
    for i, blob in enumerate(BLOBS):
        note = b"" if i == 1 else b"note %d" % i * 5
        for what, data in (("image", blob), ("note", note)):
            at = 8192 + len(body)
            records[what][i] = (0, 20 + i, 10 + i, at) if what == "image" else (at, len(data))
            entries.append((i, at, len(data)))
            body += data
    table = 8192 + len(body)
    header = np.array((2, 3, 1 << 23, len(BLOBS), table), HEADER)
    head = header.tobytes() + fields.tobytes() + records.tobytes()
    path.write_bytes(head.ljust(8192, b"\0") + body + np.array(entries, ALLOCATION).tobytes())


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    for kind, pairs in (("plain", ()), ("paired", ("texture",))):
        with BetonWriter(folder / f"{kind}.beton", page_size=4096, paired_fields=pairs) as writer:
            for i, blob in enumerate(BLOBS):
                writer.add(
                    blob,
                    10 + i,
                    20 + i,
                    label=i % 2,
                    paired=dict.fromkeys(pairs, (blob[::-1] + b"t", 4, 5)),
                )
            for pixels in PIXELS:
                writer.add_raw(
                    pixels, label=1, paired=dict.fromkeys(pairs, (b"texture of raw pixels", 4, 5))
                )
        # its fingerprint would refuse most damage before the reader is done
        (folder / f"{kind}.beton.json").unlink()
    _write_foreign(folder / "foreign.beton")
    return {kind: Original(folder / f"{kind}.beton") for kind in KINDS}


SHARE = st.floats(0, 1, exclude_max=True)
REGION = st.sampled_from(["header", "descriptors", "records", "table"])
MUTATIONS = st.one_of(
    st.tuples(
        st.just("byte"),
        st.sampled_from(["header", "descriptors", "records", "table", "anywhere"]),
        SHARE,
        st.integers(0, 255),
    ),
    st.tuples(
        st.just("number"), REGION, SHARE, st.sampled_from(EXTREMES) | st.integers(0, 300_000)
    ),
    st.tuples(st.just("nudge"), REGION, SHARE, st.sampled_from([-24, -8, -1, 1, 8, 24])),
    st.tuples(st.just("copy"), REGION, SHARE, SHARE),
    st.tuples(
        st.just("swap"),
        st.sampled_from(["descriptors", "records", "table", "anywhere"]),
        SHARE,
        SHARE,
        st.integers(1, 64),
    ),
    st.tuples(st.just("swap entries"), SHARE, SHARE),
    st.tuples(st.just("copy entry"), SHARE, SHARE, st.integers(0, 100_000)),
    st.tuples(st.just("move sample"), SHARE, SHARE, st.integers(-9000, 200_000)),
    st.tuples(
        st.just("resize sample"), SHARE, SHARE, st.sampled_from(EXTREMES) | st.integers(0, 200_000)
    ),
    st.tuples(st.just("count"), st.integers(-9, 9), st.integers(-3, 3)),
    st.tuples(st.just("truncate"), SHARE),
    st.tuples(st.just("extend"), st.integers(1, 100)),
)


def _put(data, place, width, value):
    data[place : place + width] = (value % 256**width).to_bytes(width, "little")


def _pick(share, items):
    return items[int(share * len(items))]


def _byte(original, data, region, share, value):
    first, last = original.regions[region]
    data[first + int(share * (last - first))] = value


def _number(original, data, kind, share, value):
    _put(data, *_pick(share, original.numbers[kind]), value)


def _nudge(original, data, kind, share, added):
    place, width = _pick(share, original.numbers[kind])
    _put(data, place, width, int.from_bytes(data[place : place + width], "little") + added)


def _copy(original, data, kind, share, other):
    place, width = _pick(share, original.numbers[kind])
    source, taken = _pick(other, [each for each in original.numbers[kind] if each[1] == width])
    data[place : place + width] = data[source : source + taken]


def _swap(original, data, region, one, other, size):
    first, last = original.regions[region]
    one, other = sorted(first + int(share * (last - first)) for share in (one, other))
    size = min(size, last - other, other - one)
    data[one : one + size], data[other : other + size] = (
        data[other : other + size],
        data[one : one + size],
    )


def _swap_entries(original, data, one, other):
    places = range(original.table, len(original.data), ALLOCATION.itemsize)
    one, other = _pick(one, places), _pick(other, places)
    held = data[one : one + 24]
    data[one : one + 24] = data[other : other + 24]
    data[other : other + 24] = held


def _copy_entry(original, data, one, other, size):
    """Two entries for one sample, of different sizes."""
    places = range(original.table, len(original.data), ALLOCATION.itemsize)
    one, other = _pick(one, places), _pick(other, places)
    data[other : other + 24] = data[one : one + 16] + size.to_bytes(8, "little")


def _resize_sample(original, data, field, index, size):
    field, index = _pick(field, list(original.images)), int(index * original.count)
    for entry in original.entries(index, field):
        _put(data, entry + 16, 8, size)


def _move_sample(original, data, field, index, added):
    field, index = _pick(field, list(original.images)), int(index * original.count)
    start = original.starts[field][index] + added
    for entry in original.entries(index, field):
        _put(data, entry + 8, 8, start)
    _put(data, original.place(index, field)[0] + 5, 8, start)


def _count(original, data, added, entries):
    """The table begins where it must for that many samples, but for a few entries."""
    count = max(0, original.count + added)
    _put(data, 8, 8, count)
    table = (count * original.pointers + entries) * ALLOCATION.itemsize
    _put(data, 16, 8, len(original.data) - table)


def _truncate(original, data, share):
    del data[int(share * len(data)) :]


def _extend(original, data, size):
    data += b"\0" * size


DAMAGES = {
    "byte": _byte,
    "number": _number,
    "nudge": _nudge,
    "copy": _copy,
    "swap": _swap,
    "swap entries": _swap_entries,
    "copy entry": _copy_entry,
    "move sample": _move_sample,
    "resize sample": _resize_sample,
    "count": _count,
    "truncate": _truncate,
    "extend": _extend,
}


def damaged(original, mutations):
    """The file's bytes after the mutations, in turn; truncations and extensions come last, so that
    places stay what they are."""
    data = bytearray(original.data)
    for kind, *what in sorted(
        mutations, key=lambda mutation: mutation[0] in ("truncate", "extend")
    ):
        DAMAGES[kind](original, data, *what)
    return bytes(data)


def untouched(original, data, index, field):
    """Whether a sample is as it was: descriptors, its part of the record, its entry in the
    allocation table, its bytes."""
    first, last = original.regions["descriptors"]
    start = original.starts[field][index]
    parts = [
        (2, 4),
        (first, last),
        original.place(index, field),
        (start, start + len(original.samples[field][index])),
    ]
    parts += [(entry, entry + ALLOCATION.itemsize) for entry in original.entries(index, field)]
    return all(data[one:other] == original.data[one:other] for one, other in parts)


@contextmanager
def time_limit():
    """Whoever hangs is told so."""

    def hangs(*_):
        raise AssertionError(f"an example took more than {TIME_LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(TIME_LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def opened(path, size):
    """The reader of a file; to open it, or to refuse it, takes no more memory than the file has
    bytes."""
    tracemalloc.start()
    try:
        return BetonReader(path)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= max(size, LEAST_MEMORY), f"{peak} bytes were allocated for a file of {size}"


def read_all(reader, original, data):
    """Every sample lies in the file, and those that were left alone are what they were."""
    for field in reader.image_fields:
        assert len(reader.sizes_of(field)) == len(reader)
        for index in range(len(reader)):
            stored = reader.stored(index, field)
            start = _address(reader, index, field)
            assert len(stored) > 0 and start >= 0 and start + len(stored) <= len(data)
            if reader.is_raw(index, field):
                assert len(stored) == 3 * reader.sizes_of(field)[index].prod()
                with pytest.raises(BetonError, match="is raw pixels"):
                    reader.jpeg(index, field)
            else:
                assert len(reader.encoded(index, field)) == len(stored)
            if (
                field in original.samples
                and index < original.count
                and untouched(original, data, index, field)
            ):
                assert stored.tobytes() == original.samples[field][index]
        reader.will_need(np.arange(len(reader)), field)


@settings(
    max_examples=EXAMPLES or 400,
    deadline=None,
    derandomize=not EXAMPLES,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(kind=st.sampled_from(KINDS), mutations=st.lists(MUTATIONS, min_size=1, max_size=4))
@example(kind="foreign", mutations=[("copy entry", 0.15, 0.1, 5)])
def test_damage_gives_a_beton_error_or_what_it_left_alone(originals, tmp_path, kind, mutations):
    original = originals[kind]
    data = damaged(original, mutations)
    path = tmp_path / "fuzzed.beton"
    path.write_bytes(data)
    with time_limit():
        try:
            reader = opened(path, len(data))
        except BetonError:
            event("refused")
            return
        event("read")
        with reader:
            read_all(reader, original, data)
        try:
            # what can be opened can be one file of several, or is refused
            both = BetonSet([path, original.path])
        except BetonError:
            return
        with both:
            assert both.stored(len(both) - 1).tobytes() == original.samples["image"][-1]
            assert len(both.pages) == len(both) and (
                both.labels is None or len(both.labels) == len(both)
            )


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_is_read_whole(originals, kind):
    """The checks of the fuzz test hold for files without damage, and see every sample as
    untouched."""
    original = originals[kind]
    with BetonReader(original.path) as reader:
        read_all(reader, original, original.data)
        assert all(
            untouched(original, original.data, i, field)
            for field in reader.image_fields
            for i in range(len(reader))
        )
