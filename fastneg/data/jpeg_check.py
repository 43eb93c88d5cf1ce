"""Whether a JPEG is complete, judged by its markers; the coded data are not decoded.

What the check finds and misses, measured: docs/benchmarks/data.md. Source of the format: ITU-T
T.81, annexes B and G.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastneg.data.errors import BetonError
from fastneg.data.jpeg import DHT, EOI, FRAMES, PROGRESSIVE, RESTARTS, SOS, segments

DQT, DRI = 0xDB, 0xDD
# the four others: DAC, DNL, comments and application data, which are passed over
SEGMENTS = FRAMES | {SOS, DHT, DQT, DRI, 0xCC, 0xDC, 0xFE, *range(0xE0, 0xF0)}


def check_markers(data):
    """Walk a baseline, extended or progressive JPEG from marker to marker, through all scans up to
    the end marker.

    Checked:
    - Every segment lies in the file and has the length that its content needs.
    - Each scan refers to components and tables that are there; every component has a scan.
    - Between scans and in the coded data stands no marker that may not stand there.
    - Restart markers come in turn, as many as the size of the frame needs.
    - The end marker is there.

    Args:
        data: bytes, beginning with the start marker. What follows the end marker (a preview, a
            film) is not looked at.
    Raises:
        BetonError: what is wrong, and at which byte.
    """
    told, marks, begin = _Told(), None, 2
    while True:
        for code, at, stop in segments(data, begin):
            if code == EOI:
                return told.refuse_missing_scan()
            told.take_in(data, code, at, stop)
            if code == SOS:
                break
        else:
            raise _no_end()
        marks = marks or _Marks(data, stop)
        begin = marks.end_of_scan(stop, told.restarts)


class _Told:
    """What the segments of a JPEG have told so far."""

    def __init__(self):
        self.frame, self.interval, self.tables, self.begun = None, 0, set(), set()
        self.restarts = 0
        """Restart markers that the scan that was read last must have."""

    def take_in(self, data, code, at, stop):
        """Check a segment by itself and against those before it."""
        if code not in SEGMENTS:
            raise BetonError(f"damaged JPEG: FF {code:02X} at byte {at}, which no JPEG holds there")
        body = _body(data, code, at, stop)
        if code in FRAMES:
            if self.frame is not None:
                raise BetonError(f"damaged JPEG: a second frame begins at byte {at}")
            self.frame = _frame(code, body, at)
        elif code == DHT:
            self.tables |= _huffman_tables(body, at)
        elif code == DQT:
            self.tables |= _quantization_tables(body, at)
        elif code == DRI:
            if len(body) != 2:
                raise _wrong_length("restart interval", body, at)
            self.interval = int.from_bytes(body, "big")
        elif code == SOS:
            scanned = _scan(self.frame, body, self.tables, self.begun, at)
            # a marker after every interval but the last, which may be shorter
            intervals = -(-self.frame.mcus(scanned) // self.interval) if self.interval else 1
            self.restarts = intervals - 1

    def refuse_missing_scan(self):
        """BetonError if the end came before the frame or before a scan of each component."""
        if self.frame is None:
            raise BetonError("damaged JPEG: it ends before its frame")
        if missing := self.frame.components.keys() - self.begun:
            raise BetonError(
                f"damaged JPEG: it ends before its component {min(missing)} has a scan"
            )


class _Frame(NamedTuple):
    coding: int
    height: int
    width: int
    components: dict[int, tuple[int, int, int]]
    """{id: (horizontal sampling, vertical sampling, quantization table)}"""

    def mcus(self, scanned):
        """Smallest coded units of a scan of some components: the unit in which restart markers
        count."""
        across, down = (max(component[i] for component in self.components.values()) for i in (0, 1))
        if len(scanned) > 1:
            return -(-self.width // (8 * across)) * -(-self.height // (8 * down))
        # alone, a component has its own blocks and no more
        own_across, own_down, _ = self.components[scanned[0]]
        return -(-self.width * own_across // (8 * across)) * -(
            -self.height * own_down // (8 * down)
        )


class _Marks:
    """All places from `start` on where FF is followed by something that makes it a marker."""

    def __init__(self, data, start):
        coded = np.frombuffer(data, np.uint8, offset=start)
        at = np.flatnonzero((coded[:-1] == 0xFF) & (coded[1:] != 0))
        codes = coded[at + 1]
        # of several FF only the last begins a marker
        at, codes = at[codes != 0xFF] + start, codes[codes != 0xFF]
        restart = (codes >= RESTARTS.start) & (codes < RESTARTS.stop)
        self._restarts, self._codes, self._others = at[restart], codes[restart], at[~restart]

    def end_of_scan(self, start, restarts):
        """Where the marker stands that ends the scan whose coded data begin at `start`, after a
        check of its restart markers."""
        place = np.searchsorted(self._others, start)
        if place == len(self._others):
            raise _no_end()
        end = int(self._others[place])
        if end == start:
            raise BetonError(f"damaged JPEG: the scan at byte {start} is empty")
        found = self._codes[slice(*np.searchsorted(self._restarts, (start, end)))]
        # One more than needed is harmless: some writers end a scan with it.
        if (
            len(found) not in (restarts, restarts + 1)
            or (found != RESTARTS.start + np.arange(len(found)) % len(RESTARTS)).any()
        ):
            raise BetonError(
                f"damaged JPEG: the scan at byte {start} has {len(found)} restart markers, "
                f"{restarts} in turn were expected"
            )
        return end


def _no_end():
    return BetonError("no whole JPEG: its end marker (FF D9) is missing, it was cut or overwritten")


def _body(data, code, at, stop):
    if stop < at + 4 or stop > len(data):
        raise BetonError(
            f"no whole JPEG: FF {code:02X} at byte {at} says {stop - at - 2} bytes, "
            f"{len(data) - at - 2} are there"
        )
    return data[at + 4 : stop]


def _wrong_length(what, body, at):
    return BetonError(
        f"damaged JPEG: the {what} at byte {at} has {len(body)} bytes, which does not fit what it "
        "holds"
    )


def _frame(coding, body, at):
    if len(body) < 6 or len(body) != 6 + 3 * body[5]:
        raise _wrong_length("frame", body, at)
    components = {
        body[i]: (body[i + 1] >> 4, body[i + 1] & 15, body[i + 2]) for i in range(6, len(body), 3)
    }
    sampled = all(1 <= factor <= 4 for component in components.values() for factor in component[:2])
    if len(components) != body[5] or not sampled:
        raise BetonError(f"damaged JPEG: the frame at byte {at} has components that cannot be")
    return _Frame(
        coding, int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big"), components
    )


def _huffman_tables(body, at):
    found, place = set(), 0
    while place < len(body):
        found.add(("AC" if body[place] >> 4 else "DC", body[place] & 15))
        place += 17 + sum(body[place + 1 : place + 17])
    if place != len(body):
        raise _wrong_length("Huffman table", body, at)
    return found


def _quantization_tables(body, at):
    found, place = set(), 0
    while place < len(body):
        found.add(("quantization", body[place] & 15))
        place += 129 if body[place] >> 4 else 65
    if place != len(body):
        raise _wrong_length("quantization table", body, at)
    return found


def _scan(frame, body, tables, begun, at):
    """The ids of a scan's components, which are added to those that have `begun`."""
    count = body[0] if body else 0
    if len(body) != 4 + 2 * count or count == 0:
        raise _wrong_length("scan", body, at)
    ids = [body[i] for i in range(1, 1 + 2 * count, 2)]
    if frame is None or not frame.components.keys() >= set(ids) or len(set(ids)) < count:
        raise BetonError(
            f"damaged JPEG: the scan at byte {at} is of components that its frame does not have"
        )
    first, refined = body[-3], body[-1] >> 4
    for number, selected in zip(ids, body[2 : 2 + 2 * count : 2], strict=True):
        needed = [("quantization", frame.components[number][2])]
        if first == 0 and refined == 0:
            needed.append(("DC", selected >> 4))
        if first > 0 or frame.coding != PROGRESSIVE:
            needed.append(("AC", selected & 15))
        if missing := [f"{kind} {table}" for kind, table in needed if (kind, table) not in tables]:
            raise BetonError(
                f"damaged JPEG: the scan at byte {at} needs the table {missing[0]}, which is not "
                "there"
            )
        if first == 0:
            begun.add(number)
    return ids
