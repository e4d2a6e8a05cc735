"""The structure of a JPEG stream (ITU-T T.81, Annex B), read without decoding the picture."""

import re
from typing import NamedTuple

import numpy as np
from PIL.JpegImagePlugin import zigzag_index

from jpeg.tables import BLOCK

SOI, EOI, SOS, DQT = 0xD8, 0xD9, 0xDA, 0xDB
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of frame headers; the three between them are DHT, JPG and DAC."""
ALONE = frozenset([0x01, *range(0xD0, 0xD8)])
"""Markers without a segment: TEM and the restarts."""

_END_OF_SCAN = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")
"""A marker that ends entropy-coded data, in which FF 00 is a byte and FF D0 to FF D7 are restarts."""


class Component(NamedTuple):
    """A component of the frame header.

    Attributes:
        identifier: as scan headers name it.
        horizontal: sampling factor 1..4.
        vertical: sampling factor 1..4.
        table: number of its quantization table.
    """

    identifier: int
    horizontal: int
    vertical: int
    table: int


class Structure(NamedTuple):
    """What the markers of a stream say.

    Attributes:
        width: samples a line.
        height: lines.
        components: of the frame.
        tables: uint16, components x 8 x 8 in natural order: each component's quantization table as its first scan
            found it, whatever thumbnails come before and however tables are redefined between scans.
        scans: how many there are.
        complete: whether the stream ends with EOI.
    """

    width: int
    height: int
    components: tuple[Component, ...]
    tables: np.ndarray
    scans: int
    complete: bool


def read_structure(stream: bytes) -> Structure:
    """Read the markers of the first picture in ``stream``; a stream may break off anywhere after its first scan header.

    Raises:
        ValueError: if it is no JPEG, lacks a frame header, a scan or a quantization table, or breaks off before.
    """
    if stream[:2] != bytes([0xFF, SOI]):
        raise ValueError("it does not start as a JPEG does")
    width = height = scans = 0
    components: tuple[Component, ...] = ()
    slots: dict[int, np.ndarray] = {}
    latched: dict[int, np.ndarray] = {}
    complete = False
    position = 2
    while (found := stream.find(b"\xff", position)) >= 0:
        position = found + 1
        marker = stream[position] if position < len(stream) else 0xFF
        if marker in (0x00, 0xFF):  # padding, or rubbish between segments
            continue
        position += 1
        if marker == EOI:
            complete = True
            break
        if marker in ALONE:
            continue
        length = int.from_bytes(stream[position : position + 2])
        segment = stream[position + 2 : position + length]
        if length < 2 or position + length > len(stream):
            break
        position += length
        if marker == DQT:
            slots |= _tables(segment)
        elif marker in FRAMES and not components:
            width, height, components = _frame(segment)
        elif marker == SOS:
            scans += 1
            for identifier in segment[1 : 1 + 2 * segment[0] : 2] if segment else b"":
                for component in components:
                    if component.identifier == identifier and component.table in slots:
                        latched.setdefault(identifier, slots[component.table])
            end = _END_OF_SCAN.search(stream, position)
            position = end.start() if end else len(stream)
    if not components:
        raise ValueError("it has no frame header")
    if not scans:
        raise ValueError("it breaks off before its picture begins")
    tables = []
    for component in components:
        table = latched.get(component.identifier, slots.get(component.table))
        if table is None:
            raise ValueError(f"it has no quantization table {component.table}")
        tables.append(table)
    return Structure(width, height, components, np.array(tables), scans, complete)


def _tables(segment: bytes) -> dict[int, np.ndarray]:
    """Table number -> uint16, 8 x 8 in natural order, of a DQT segment (several tables of 8 or 16 bits)."""
    tables = {}
    while segment:
        wide, number = segment[0] >> 4, segment[0] & 15
        size = 128 if wide else 64
        if len(segment) < 1 + size:
            raise ValueError("it has a quantization table that breaks off")
        values = np.frombuffer(segment[1 : 1 + size], ">u2" if wide else "u1").astype(np.uint16)
        tables[number] = values[list(zigzag_index)].reshape(BLOCK, BLOCK)
        segment = segment[1 + size :]
    return tables


def _frame(segment: bytes) -> tuple[int, int, tuple[Component, ...]]:
    """Width, height and components of a frame header."""
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        raise ValueError("it has a frame header that breaks off")
    rows = (segment[start : start + 3] for start in range(6, 6 + 3 * segment[5], 3))
    components = tuple(Component(row[0], row[1] >> 4, row[1] & 15, row[2]) for row in rows)
    return int.from_bytes(segment[3:5]), int.from_bytes(segment[1:3]), components
