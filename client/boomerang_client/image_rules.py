"""The generation API's rules for reference images, held to a local file by its header: nothing is decoded."""

from dataclasses import dataclass

MAX_BYTES = 10 * 1024 * 1024
MIN_SIDE = 300
#: Longest side to shortest side, as 5 to 2: integers need no tolerance.
RATIO = (5, 2)

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
#: Where the pixels begin, and the end that the format writes after them.
_PNG_ENDS, _JPEG_ENDS = (b"IDAT", b"IEND"), (b"\xff\xda", b"\xff\xd9")
_OTHERS = {
    b"GIF8": "a GIF", b"RIFF": "a WEBP", b"%PDF": "a PDF", b"BM": "a BMP", b"II*\0": "a TIFF", b"MM\0*": "a TIFF",
    b"<svg": "an SVG", b"<?xm": "an SVG", b"\0\0\0": "a HEIC or AVIF, or a film",
}  # fmt: skip
_FORMATS = "give a .jpg, .jpeg or .png"


@dataclass(frozen=True, slots=True)
class Header:
    """What the first bytes of an image say: "png" or "jpeg", and its size in pixels."""

    format: str
    width: int
    height: int


def read_header(data: bytes) -> Header | None:
    """The header of a PNG or JPEG; None where there is none, or none that can be read."""
    if data.startswith(_PNG):
        if data[12:16] != b"IHDR" or len(data) < 24:  # noqa: PLR2004 -- signature 8, length 4, name 4, sides 4 each
            return None
        sides = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
        return Header("png", *sides) if all(sides) else None
    return _jpeg_header(data) if data.startswith(_JPEG) else None


def problem_of(data: bytes) -> str | None:
    """What is wrong with the file's content, with the remedy; None when the API takes it."""
    if len(data) > MAX_BYTES:
        return "is larger than 10 MB; give a smaller file"
    if not data.startswith((_PNG, _JPEG)):
        named = next((f"is {name}" for magic, name in _OTHERS.items() if data.startswith(magic)), "is no image")
        return f"{named if data else 'is empty'}; {_FORMATS}"
    header = read_header(data)
    if header is None:
        return f"begins like an image but its header cannot be read; {_FORMATS} that is whole"
    start, end = _PNG_ENDS if header.format == "png" else _JPEG_ENDS
    if data.rfind(end) <= data.find(start):
        return "is cut short; give the whole file"
    return _size_problem(header.width, header.height)


def _size_problem(width: int, height: int) -> str | None:
    if min(width, height) < MIN_SIDE:
        return f"is {width} × {height} px; each side needs at least {MIN_SIDE} px: give a larger image"
    long, short = RATIO
    if max(width, height) * short > min(width, height) * long:
        return f"is {width} × {height} px; its ratio must be between 1:2.5 and 2.5:1: crop or pad it"
    return None


def _jpeg_header(data: bytes) -> Header | None:
    """ITU T.81: segments of a marker, a length and a content, until the one that begins a frame has the size."""
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:  # noqa: PLR2004 -- what each marker begins with
        marker = data[at + 1]
        if marker == 0xFF:  # noqa: PLR2004 -- filling
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # noqa: PLR2004 -- SOF0 to SOF15
            height, width = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
            return Header("jpeg", width, height) if width and height else None
        elif marker == 0xDA:  # noqa: PLR2004 -- pixels before any frame
            return None
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
