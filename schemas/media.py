"""What kind of file a result is, by its first bytes, how large its image is, and whether the file is whole.

Neither the type that a server names nor the ending of an address counts: a page that says "not found" with status 200
must not be saved as an image. The work is bounded (schemas.image_header); nothing is decompressed.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from mmap import mmap

from schemas.image_header import PNG_SIGNATURE, Header, read_jpeg, read_png

#: Bytes from which the kind can be told.
ENOUGH = 32
#: Boxes of an MP4 file at its top level. Each costs a few microseconds.
_MOST_BOXES = 100_000
_BOX, _LARGE_SIZE = struct.Struct(">I4s"), struct.Struct(">Q")
#: The size of a RIFF file that was written as a stream.
_STREAMED = (0, 0xFFFFFFFF)
_GIF_SIZE, _GIF_END = struct.Struct("<HH"), b";"
_FILES_END = 1024


@dataclass(frozen=True, slots=True)
class Media:
    """A kind of file. `extension`: of its names, without the dot."""

    content_type: str
    extension: str


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file of a known kind. `width`, `height`: pixels of an image; None where they cannot be read."""

    media: Media
    width: int | None = None
    height: int | None = None


class MediaInvalid(ValueError):
    """A file is of no known kind, or not whole. The message continues "The file …"."""


PNG, JPEG, WEBP, GIF = (
    Media("image/png", "png"), Media("image/jpeg", "jpg"), Media("image/webp", "webp"), Media("image/gif", "gif"),
)  # fmt: skip
AVIF, HEIC, TIFF = Media("image/avif", "avif"), Media("image/heic", "heic"), Media("image/tiff", "tif")
MP4, MOV, WEBM = Media("video/mp4", "mp4"), Media("video/quicktime", "mov"), Media("video/webm", "webm")
AVI, M4A, WAV = Media("video/x-msvideo", "avi"), Media("audio/mp4", "m4a"), Media("audio/wav", "wav")
MP3, OGG, FLAC = Media("audio/mpeg", "mp3"), Media("audio/ogg", "ogg"), Media("audio/flac", "flac")
ALL = (PNG, JPEG, WEBP, GIF, AVIF, HEIC, TIFF, MP4, MOV, WEBM, AVI, M4A, WAV, MP3, OGG, FLAC)
BY_EXTENSION: Mapping[str, Media] = {each.extension: each for each in ALL}

_STARTS: Mapping[bytes, Media] = {
    PNG_SIGNATURE: PNG,
    b"\xff\xd8\xff": JPEG,
    b"GIF87a": GIF,
    b"GIF89a": GIF,
    b"II*\0": TIFF,
    b"MM\0*": TIFF,
    b"\x1a\x45\xdf\xa3": WEBM,
    b"OggS": OGG,
    b"fLaC": FLAC,
    b"ID3": MP3,
    b"\xff\xfb": MP3,
    b"\xff\xf3": MP3,
    b"\xff\xf2": MP3,
}
_RIFF: Mapping[bytes, Media] = {b"WEBP": WEBP, b"WAVE": WAV, b"AVI ": AVI}
#: Major brands of ISO media files (ISO/IEC 14496-12, 4.3). Every other brand is a video.
_BRANDS: Mapping[bytes, Media] = {
    **dict.fromkeys((b"avif", b"avis"), AVIF),
    **dict.fromkeys((b"heic", b"heix", b"mif1"), HEIC),
    **dict.fromkeys((b"M4A ", b"M4B "), M4A),
    b"qt  ": MOV,
}


def recognize(start: bytes) -> Media | None:
    """Return the kind of a file whose first ENOUGH bytes are given; None: it is not known."""
    if start[:4] == b"RIFF":
        return _RIFF.get(start[8:12])
    if start[4:8] == b"ftyp":
        return _BRANDS.get(start[8:12], MP4)
    return next((media for magic, media in _STARTS.items() if start.startswith(magic)), None)


def read_media(data: bytes | mmap) -> MediaFile:
    """Check a whole file. Raises `MediaInvalid`."""
    media = recognize(data[:ENOUGH])
    if media is None:
        raise MediaInvalid(_unknown(data[:_FILES_END]))
    reader = _READERS.get(media)
    if reader is None:
        return MediaFile(media)
    header = reader(data)
    if header is None:
        raise MediaInvalid(f"begins like {media.content_type}, but its header cannot be read")
    if not header.whole:
        raise MediaInvalid(f"is not a whole {media.content_type}")
    return MediaFile(media, header.width or None, header.height or None)


def _unknown(start: bytes) -> str:
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return "is a page of HTML or XML"
    if text.startswith((b"{", b"[")):
        return "is JSON"
    return "is of no kind that is known" if start else "is empty"


def _read_webp(data: bytes | mmap) -> Header | None:
    """Read a WebP (RFC 9649): simple, lossless or extended."""
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:  # noqa: PLR2004 - the longest header
        return None
    if kind == b"VP8X":
        width, height = (int.from_bytes(body[at : at + 3], "little") + 1 for at in (4, 7))
    elif kind == b"VP8L" and body[0] == 0x2F:  # noqa: PLR2004 - the signature
        bits = int.from_bytes(body[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(body[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    else:
        return None
    return Header(width, height, _riff_is_whole(data))


def _read_riff(data: bytes | mmap) -> Header:
    return Header(0, 0, _riff_is_whole(data))


def _riff_is_whole(data: bytes | mmap) -> bool:
    size = int.from_bytes(data[4:8], "little")
    return size in _STREAMED or len(data) >= size + 8


def _read_gif(data: bytes | mmap) -> Header | None:
    if len(data) < 10:  # noqa: PLR2004 - the header
        return None
    width, height = _GIF_SIZE.unpack(data[6:10])
    return Header(width, height, data[-_FILES_END:].rstrip(b"\0\r\n ").endswith(_GIF_END))


def _read_boxes(data: bytes | mmap) -> Header:
    """Follow the boxes of an ISO media file, which must end with the file."""
    position = 0
    for _ in range(_MOST_BOXES):
        head = data[position : position + _BOX.size]
        if len(head) < _BOX.size:
            break
        size, _kind = _BOX.unpack(head)
        if size == 1:
            large = data[position + _BOX.size : position + 2 * _BOX.size]
            size = _LARGE_SIZE.unpack(large)[0] if len(large) == _BOX.size else 0
        elif size == 0:  # to the end of the file
            return Header(0, 0, whole=True)
        if size < _BOX.size:
            return Header(0, 0, whole=False)
        position += size
    return Header(0, 0, whole=position <= len(data))


_READERS: Mapping[Media, Callable[[bytes | mmap], Header | None]] = {
    PNG: read_png,
    JPEG: read_jpeg,
    WEBP: _read_webp,
    GIF: _read_gif,
    **dict.fromkeys((WAV, AVI), _read_riff),
    **dict.fromkeys((AVIF, HEIC, MP4, MOV, M4A), _read_boxes),
}
