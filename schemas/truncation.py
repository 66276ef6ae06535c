"""Whether an image file is whole, found by following its structure to the end of the image.

A search for the end marker is not enough: the thumbnail in a photograph's EXIF data is a whole image with an end marker
of its own, so half of such a file contains one, too. Bytes after the end are allowed: many cameras append some.
"""

import re

#: More segments or chunks than any image of 10 MB needs. It bounds the work for a file made of tiny ones.
_MOST_SEGMENTS = 100_000

#: A JPEG marker that a length or the end follows (ITU T.81, B.1.1.3). Neither FF00, which is a data byte of the pixels,
#: nor a restart marker among them.
_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")
_START, _END, _SCAN = b"\xd8", b"\xd9", b"\xda"
_PNG_SIGNATURE_SIZE = 8
#: Length, type and checksum of a PNG chunk.
_PNG_CHUNK_OVERHEAD = 12


def is_whole_jpeg(data: bytes) -> bool:
    """Return whether a JPEG has pixels, and the end marker after them."""
    position, has_pixels = len(_START) + 1, False
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, position)
        if found is None:
            return False
        marker, position = found[1], found.end()
        if marker == _END:
            return has_pixels
        if marker != _START:
            # The length includes its own two bytes. The pixels follow a scan's header; the next search skips them.
            position += int.from_bytes(data[position : position + 2], "big")
            has_pixels = has_pixels or marker == _SCAN
    return False


def is_whole_png(data: bytes) -> bool:
    """Return whether a PNG has pixels, and the end chunk after them."""
    position, has_pixels = _PNG_SIGNATURE_SIZE, False
    for _ in range(_MOST_SEGMENTS):
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        if kind == b"IEND":
            return has_pixels
        if not kind:
            return False
        has_pixels = has_pixels or kind == b"IDAT"
        position += _PNG_CHUNK_OVERHEAD + length
    return False
