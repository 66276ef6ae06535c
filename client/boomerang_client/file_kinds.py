"""Recognise files by their first bytes, and refuse those that cannot hold requests."""

from boomerang_client.errors import UsageError

GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
#: Bytes that are enough to recognise every kind.
HEAD = 512

_TEXT = "Save or export it as .csv (UTF-8) or .xlsx, and pass that."
_UNPACK = "Unpack it, and pass the file in it."
#: What files of other kinds begin with, what they are, and what to do.
_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"%PDF", "a PDF document", _TEXT),
    (0, b"\xd0\xcf\x11\xe0", "an old Excel or Word file (.xls, .doc), or a workbook with a password",
     "Save it as .xlsx without a password, or as .csv (UTF-8)."),
    (0, b"{\\rtf", "an RTF document", "Save it as plain text (UTF-8)."),
    (0, b"\x89PNG", "a PNG image", "Pass images with --image, or name their files in the requests."),
    (0, b"\xff\xd8\xff", "a JPEG image", "Pass images with --image, or name their files in the requests."),
    (0, b"GIF8", "a GIF image", "Pass a file of requests."),
    (0, b"RIFF", "a WebP image or a media file", "Pass a file of requests."),
    (4, b"ftyp", "a HEIC image or a video", "Pass a file of requests."),
    (0, b"PAR1", "a Parquet file", "Write it as .csv or as one JSON object a line."),
    (0, b"ARROW1", "an Arrow file", "Write it as .csv or as one JSON object a line."),
    (0, b"Obj\x01", "an Avro file", "Write it as .csv or as one JSON object a line."),
    (0, b"SQLite format 3\x00", "an SQLite database", "Export the table as .csv."),
    (0, b"BZh", "a bzip2 file", _UNPACK),
    (0, b"\xfd7zXZ", "an xz file", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard file", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"PK\x05\x06", "an empty zip archive", "Pass a file of requests."),
    (0, b"\x7fELF", "a program", "Pass a file of requests."),
    (0, b"MZ\x90", "a program", "Pass a file of requests."),
)  # fmt: skip
_MARKUP: tuple[tuple[bytes, str, str], ...] = (
    (b"<?xml", "an XML document", _TEXT),
    (b"<!doctype html", "a web page (HTML)", f"{_TEXT} Some programs write HTML into a file that they name .xls."),
    (b"<html", "a web page (HTML)", f"{_TEXT} Some programs write HTML into a file that they name .xls."),
    (b"<table", "a web page (HTML)", f"{_TEXT} Some programs write HTML into a file that they name .xls."),
)
_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
#: Control characters that text does not have: all but tab, line feed, form feed, carriage return, Ctrl-Z, escape.
_CONTROLS = bytes(set(range(32)) - {9, 10, 11, 12, 13, 26, 27})
_FEWEST_UNITS = 2


def wide_encoding(head: bytes) -> str | None:
    """Return "utf-16", "utf-32" or a form of it when text begins like this; None for other encodings."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    low, high = head[0::2], head[1::2]
    if min(len(low), len(high)) >= _FEWEST_UNITS:  # text in Latin letters without a byte order mark
        if not any(high) and all(low):
            return "utf-16-le"
        if not any(low) and all(high):
            return "utf-16-be"
    return None


def refuse_other_kinds(head: bytes, name: str = "") -> None:
    """Raise UsageError when a file that begins with `head` is neither text, gzip nor zip."""
    file = name or "The input"
    for offset, magic, what, remedy in _SIGNATURES:
        if head.startswith(magic, offset):
            raise UsageError(f"{file} is {what}. {remedy}")
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for tag, what, remedy in _MARKUP:
        if start.startswith(tag):
            raise UsageError(f"{file} is {what}. {remedy}")
    if wide_encoding(head) is None and not head.startswith((GZIP, ZIP)) and head.translate(None, _CONTROLS) != head:
        raise UsageError(f"{file} is a binary file. Pass requests as JSON lines, .json, .csv, .xlsx or .txt.")
