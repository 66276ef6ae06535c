"""Check local images against the generation API's rules. Reads headers only; pixels are not decoded."""

import re
from dataclasses import dataclass

MAX_BYTES = 10 * 1024 * 1024
MIN_SIDE = 300
#: Longest to shortest side, as integers, so that the comparison is exact.
RATIO = (5, 2)

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
#: A JPEG marker that a length or the end follows: neither a data byte of the pixels nor a restart marker among them.
_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")
_START, _END, _SCAN = b"\xd8", b"\xd9", b"\xda"
#: SOF0 to SOF15: the segments with the size.
_FRAMES = frozenset(bytes([marker]) for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC))
#: No image of 10 MB needs more. These bound the time that a hostile file takes.
_MOST_SEGMENTS, _MOST_CHUNKS, _MOST_FILL = 20_000, 100_000, 4096
_OTHERS = {
    b"GIF8": "a GIF", b"RIFF": "a WEBP", b"%PDF": "a PDF", b"BM": "a BMP", b"II*\0": "a TIFF", b"MM\0*": "a TIFF",
    b"<svg": "an SVG", b"<?xm": "an SVG", b"\0\0\0": "a HEIC or AVIF image, or a video",
}  # fmt: skip
_FORMATS = "use a PNG or JPEG file"


@dataclass(frozen=True, slots=True)
class Header:
    """An image's format ("png" or "jpeg") and its size in pixels. `whole`: it has pixels and an end."""

    format: str
    width: int
    height: int
    whole: bool = True


def read_header(data: bytes) -> Header | None:
    """Return the header of a PNG or JPEG, or None when there is none or it cannot be parsed."""
    if data.startswith(_PNG):
        return _read_png(data)
    return _read_jpeg(data) if data.startswith(_JPEG) else None


def problem_of(data: bytes) -> str | None:
    """Say what is wrong with an image and what to do, or return None when the API accepts it.

    The text follows on a name: "is larger than 10 MB; …".
    """
    if len(data) > MAX_BYTES:
        return "is larger than 10 MB; use a smaller file"
    if not data.startswith((_PNG, _JPEG)):
        named = next((f"is {name}" for magic, name in _OTHERS.items() if data.startswith(magic)), "is not an image")
        return f"{named if data else 'is empty'}; {_FORMATS}"
    header = read_header(data)
    if header is None:
        return f"begins like an image, but its header cannot be read; {_FORMATS} that is complete"
    if not header.whole:
        return "is cut short; use the complete file"
    return _size_problem(header.width, header.height)


def _size_problem(width: int, height: int) -> str | None:
    if min(width, height) < MIN_SIDE:
        return f"is {width} × {height} px; each side needs at least {MIN_SIDE} px: use a larger image"
    long, short = RATIO
    if max(width, height) * short > min(width, height) * long:
        return f"is {width} × {height} px; its ratio must be between 1:2.5 and 2.5:1: crop or pad it"
    return None


def _read_jpeg(data: bytes) -> Header | None:
    """Follow the segments (ITU T.81: marker, length, content) to the end of the pixels.

    The end of a thumbnail does not count: it is inside a segment.
    """
    at, fill, sides, has_pixels = 2, 0, None, False
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, at, len(data) if has_pixels else at + 2 + _MOST_FILL - fill)
        if not found:
            break
        marker, fill, at = found[1], fill + found.start() - at, found.end()
        if marker == _END:
            return Header("jpeg", *sides, whole=has_pixels) if sides else None
        if marker == _START:
            continue
        if marker in _FRAMES and not has_pixels:
            height, width = int.from_bytes(data[at + 3 : at + 5], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
            if sides or not (width and height):
                return None
            sides = width, height
        elif marker == _SCAN:
            if not sides:
                return None
            has_pixels = True
        at += int.from_bytes(data[at : at + 2], "big")
    return Header("jpeg", *sides, whole=False) if sides else None


def _read_png(data: bytes) -> Header | None:
    if data[12:16] != b"IHDR" or len(data) < 24:  # noqa: PLR2004 -- signature 8, length 4, name 4, sides 4 each
        return None
    sides = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if not all(sides):
        return None
    at, has_pixels = len(_PNG), False
    for _ in range(_MOST_CHUNKS):
        kind = data[at + 4 : at + 8]
        if not kind or kind == b"IEND":
            return Header("png", *sides, whole=has_pixels and bool(kind))
        has_pixels = has_pixels or kind == b"IDAT"
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return Header("png", *sides, whole=False)
