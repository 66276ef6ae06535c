"""The size of an image file, and whether the file is whole, found by following its structure once.

The work is bounded however hostile the file is: nothing is decompressed, the segments are counted, and the bytes
between them are searched by compiled code. Pillow's readers decompress text and colour profiles, and step through fill
bytes one by one: a file of 9 KB kept one busy for 25 s.

A search for the end marker is not enough: the thumbnail in a photograph's EXIF data is a whole image with an end marker
of its own, so half of such a file contains one, too. Bytes after the end are allowed: many cameras append some.
"""

import re
import struct
import zlib
from dataclasses import dataclass
from mmap import mmap

#: More segments or chunks than any image of 10 MB needs. Each costs about half a microsecond.
_MOST_SEGMENTS, _MOST_CHUNKS = 20_000, 100_000
#: Bytes between the segments before the pixels, all together. The standard allows fill bytes; encoders write few.
_MOST_FILL = 4096

#: A JPEG marker that a length or the end follows (ITU T.81, B.1.1.3). Neither FF00, which is a data byte of the pixels,
#: nor a restart marker among them.
_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
#: Markers of a frame header, SOF0 to SOF15. Three of the range have other meanings.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: A frame header: length, bits per sample, height, width, number of components; three bytes for each component follow.
_FRAME, _COMPONENT_SIZE = struct.Struct(">HBHHB"), 3
_BITS, _COMPONENTS = 8, (1, 3, 4)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: PNG chunk: length and type before the content, a checksum after it.
_CHUNK, _CHECKSUM = struct.Struct(">I4s"), struct.Struct(">I")
#: IHDR, the first chunk: width, height, bits per sample, colour type, compression, filter, interlacing.
_IHDR = struct.Struct(">IIBBBBB")
#: Bits per sample that each colour type allows (PNG specification, table 11.1).
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


@dataclass(frozen=True, slots=True)
class Header:
    """Width and height in pixels. `whole`: the file has pixels, and its end after them."""

    width: int
    height: int
    whole: bool


def read_jpeg(data: bytes | mmap) -> Header | None:
    """Read a file that begins with a JPEG start marker. Returns None if its header cannot be read."""
    position, fill, frame, has_pixels = 2, 0, None, False
    for _ in range(_MOST_SEGMENTS):
        limit = len(data) if has_pixels else position + 2 + _MOST_FILL - fill
        found = _MARKER.search(data, position, limit)
        if found is None:
            break
        marker, fill, position = found[1][0], fill + found.start() - position, found.end()
        if marker == _END:
            return Header(*frame, has_pixels) if frame else None
        if marker == _START:
            continue
        if marker in _FRAMES and not has_pixels:
            if frame or (frame := _frame(data, position)) is None:
                return None
        elif marker == _SCAN:
            if not frame:
                return None
            has_pixels = True
        # The length includes its own two bytes. The pixels follow a scan's header; the next search skips them.
        position += int.from_bytes(data[position : position + 2], "big")
    return Header(*frame, whole=False) if frame else None


def _frame(data: bytes | mmap, position: int) -> tuple[int, int] | None:
    """Return width and height of a frame header."""
    if len(data) < position + _FRAME.size:
        return None
    length, bits, height, width, components = _FRAME.unpack_from(data, position)
    if bits != _BITS or components not in _COMPONENTS or length != _FRAME.size + _COMPONENT_SIZE * components:
        return None
    return width, height


def read_png(data: bytes | mmap) -> Header | None:
    """Read a file that begins with the PNG signature. Returns None if its header cannot be read."""
    size = _ihdr(data)
    if size is None:
        return None
    position, has_pixels = len(PNG_SIGNATURE), False
    for _ in range(_MOST_CHUNKS):
        if len(data) < position + _CHUNK.size:
            break
        length, kind = _CHUNK.unpack_from(data, position)
        if kind == b"IEND":
            return Header(*size, whole=has_pixels)
        has_pixels = has_pixels or kind == b"IDAT"
        position += _CHUNK.size + length + _CHECKSUM.size
    return Header(*size, whole=False)


def _ihdr(data: bytes | mmap) -> tuple[int, int] | None:
    """Return width and height of the first chunk."""
    begin = len(PNG_SIGNATURE) + _CHUNK.size
    end = begin + _IHDR.size
    if len(data) < end + _CHECKSUM.size or _CHUNK.unpack_from(data, len(PNG_SIGNATURE)) != (_IHDR.size, b"IHDR"):
        return None
    width, height, depth, colour, *methods = _IHDR.unpack_from(data, begin)
    # The checksum covers the type and the content.
    checksum = zlib.crc32(data[begin - 4 : end])
    if checksum != _CHECKSUM.unpack_from(data, end)[0] or depth not in _DEPTHS.get(colour, ()):
        return None
    compression, filters, interlacing = methods
    return (width, height) if compression == filters == 0 and interlacing in (0, 1) else None
