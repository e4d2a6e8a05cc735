"""The structure of a JPEG stream (ITU-T T.81, Annex B), read without decoding the picture."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL.JpegImagePlugin import zigzag_index

from qgcn.jpeg.tables import BLOCK

SOI, EOI, SOS, DQT, APP0, APP14, COM = 0xD8, 0xD9, 0xDA, 0xDB, 0xE0, 0xEE, 0xFE
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of frame headers; the three between them are DHT, JPG and DAC."""
ALONE = frozenset([0x01, *range(0xD0, 0xD8)])  # markers without a segment: TEM and the restarts

_END_OF_SCAN = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")
"""A marker that ends entropy-coded data, in which FF 00 is a byte and FF D0 to FF D7 are restarts."""


class Segment(NamedTuple):
    """A marker and what follows it.

    Attributes:
        marker: its second byte; none of ALONE.
        content: without the length; empty for EOI.
        scan: entropy-coded data, restart markers included; empty after everything but SOS.
    """

    marker: int
    content: bytes
    scan: bytes


class Component(NamedTuple):
    """A component of the frame header.

    Attributes:
        identifier: as scan headers name it.
        horizontal, vertical: sampling factors 1..4.
        table: number of its quantization table.
    """

    identifier: int
    horizontal: int
    vertical: int
    table: int


class Structure(NamedTuple):
    """What the markers of a stream say.

    Attributes:
        width, height: of the frame, samples.
        components: of the frame.
        tables: uint16, components x 8 x 8 in natural order: each component's quantization table as its first scan
            found it, whatever thumbnails come before and however tables are redefined between scans.
        scans: how many there are.
        complete: whether the stream ends with EOI.
        transformed: whether colour is coded as Y, Cb and Cr (and K); False where each component is a colour or an ink.
    """

    width: int
    height: int
    components: tuple[Component, ...]
    tables: np.ndarray
    scans: int
    complete: bool
    transformed: bool

    @property
    def reduction(self) -> tuple[int, int]:
        """`chroma_reduction` of the components."""
        return chroma_reduction(self.components)


def segments(stream: bytes) -> Iterator[Segment]:
    """The segments of the first picture in ``stream`` up to EOI or to where it breaks off, without rubbish between.

    Raises:
        ValueError: if it is no JPEG.
    """
    if stream[:2] != bytes([0xFF, SOI]):
        raise ValueError("it does not start as a JPEG does")
    position = 2
    while (found := stream.find(b"\xff", position)) >= 0:
        position = found + 1
        marker = stream[position] if position < len(stream) else 0xFF
        if marker in (0x00, 0xFF):  # padding, or rubbish between segments
            continue
        position += 1
        if marker == EOI:
            yield Segment(EOI, b"", b"")
            return
        if marker in ALONE:
            continue
        length = int.from_bytes(stream[position : position + 2])
        content = stream[position + 2 : position + length]
        if length < 2 or position + length > len(stream):
            return
        position += length
        start = position
        if marker == SOS:
            end = _END_OF_SCAN.search(stream, position)
            position = end.start() if end else len(stream)
        yield Segment(marker, content, stream[start:position])


def picture_alone(stream: bytes) -> bytes:
    """The first picture in ``stream`` without comments and application segments: what its coefficients take."""
    parts = [bytes([0xFF, SOI])]
    for marker, content, scan in segments(stream):
        if marker != EOI and marker != COM and not APP0 <= marker < APP0 + 16:
            parts += [bytes([0xFF, marker]), (len(content) + 2).to_bytes(2), content, scan]
    return b"".join([*parts, bytes([0xFF, EOI])])


def read_structure(stream: bytes) -> Structure:
    """Read the markers of the first picture in ``stream``; a stream may break off anywhere after its first scan header.

    Raises:
        ValueError: if it is no JPEG, lacks a frame header, a scan or a quantization table, or breaks off before.
    """
    width, height, components = 0, 0, ()
    slots: dict[int, np.ndarray] = {}  # by table, as defined up to here
    latched: dict[int, np.ndarray] = {}  # by component
    scans, jfif, transform, complete = 0, False, None, False
    for marker, content, _ in segments(stream):
        if marker == DQT:
            slots |= _tables(content)
        elif marker in FRAMES and not components:
            width, height, components = _frame(content)
        elif marker == SOS:
            scans += 1
            for identifier in content[1 : 1 + 2 * content[0] : 2] if content else b"":
                for component in components:
                    if component.identifier == identifier and component.table in slots:
                        latched.setdefault(identifier, slots[component.table])
        elif marker == APP0 and not scans:
            jfif |= len(content) >= 14 and content[:5] == b"JFIF\0"
        elif marker == APP14 and not scans and len(content) >= 12 and content[:5] == b"Adobe":
            transform = content[11]
        complete = marker == EOI
    if not components:
        raise ValueError("it has no frame header")
    if not scans:
        raise ValueError("it breaks off before its picture begins")
    tables = [latched.get(component.identifier, slots.get(component.table)) for component in components]
    for component, table in zip(components, tables, strict=True):
        if table is None:
            raise ValueError(f"it has no quantization table {component.table}")
    transformed = is_transformed(components, jfif=jfif, adobe=transform)
    return Structure(width, height, components, np.array(tables), scans, complete, transformed)


def chroma_reduction(components: Sequence[Component]) -> tuple[int, int]:
    """By how much rows and columns of the second component are reduced, rounded down; (1, 1) of gray."""
    across = max(component.horizontal for component in components)
    down = max(component.vertical for component in components)
    chroma = components[min(1, len(components) - 1)]
    return down // max(chroma.vertical, 1), across // max(chroma.horizontal, 1)


def is_transformed(components: Sequence[Component], *, jfif: bool, adobe: int | None) -> bool:
    """Whether libjpeg (jdapimin.c, default_decompress_parms) takes colour as Y, Cb and Cr, or Y, Cb, Cr and K.

    Args:
        jfif: whether there is a JFIF marker.
        adobe: the transform of Adobe's segment, or None without one.
    """
    if len(components) == 4:
        return adobe not in (None, 0)
    if len(components) != 3 or jfif:
        return True
    return bytes(component.identifier for component in components) != b"RGB" if adobe is None else adobe != 0


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
