"""Recognise what a person uploads by its first bytes, and read it."""

import gzip
import io
import re
import zlib

from webhook.drafts.draft import LARGER, MOST_CHARACTERS, Draft
from webhook.drafts.errors import FileRefused
from webhook.drafts.texts import kind_of, read_text
from webhook.drafts.workbook import is_workbook, read_workbook

#: Bytes of an uploaded file, and of a text that is decompressed.
MOST_FILE, MOST_TEXT = 20 * 1024 * 1024, 2 * MOST_CHARACTERS
#: Encodings that a person may choose: those that programs write beside UTF-8.
ENCODINGS = {
    "": "UTF-8", "cp1252": "Windows, Western (cp1252)", "cp1250": "Windows, Central European (cp1250)",
    "cp1251": "Windows, Cyrillic (cp1251)", "mac_roman": "Mac (Roman)", "cp932": "Japanese (Shift JIS)",
    "gb18030": "Chinese (GB 18030)", "big5": "Chinese (Big 5)", "cp949": "Korean (cp949)",
}  # fmt: skip
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_HEAD = 512
_SAVE = "Save or export it as .csv (UTF-8) or .xlsx."
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF", f"a PDF document. {_SAVE}"),
    (0, b"\xd0\xcf\x11\xe0", "an old Excel or Word file, or a workbook with a password. Save it as .xlsx without one."),
    (0, b"{\\rtf", "an RTF document. Save it as plain text (UTF-8)."),
    (0, b"\x89PNG", "an image. Choose a file of requests; they name images by URL."),
    (0, b"\xff\xd8\xff", "an image. Choose a file of requests; they name images by URL."),
    (0, b"GIF8", "an image. Choose a file of requests; they name images by URL."),
    (0, b"RIFF", "an image or media file. Choose a file of requests."),
    (4, b"ftyp", "an image or a video. Choose a file of requests."),
    (0, b"PAR1", f"a Parquet file. {_SAVE}"),
    (0, b"SQLite format 3\x00", f"an SQLite database. {_SAVE}"),
    (0, b"PK\x05\x06", "an empty zip archive. Choose a file of requests."),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive. Unpack it."),
    (0, b"Rar!", "a RAR archive. Unpack it."),
    (0, b"BZh", "a bzip2 file. Unpack it."),
    (0, b"\xfd7zXZ", "an xz file. Unpack it."),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard file. Unpack it."),
)
_MARKUP = (b"<?xml", b"<!doctype html", b"<html", b"<table")
_WIDE = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
#: Control characters that text does not have: all but tab, line feed, form feed, carriage return, Ctrl-Z, escape.
_CONTROLS = re.compile(rb"[^\x09-\x0d\x1a\x1b\x20-\xff]")


def read_file(data: bytes, name: str, *, kind: str = "", encoding: str = "", sheet: str = "") -> Draft:
    """Return the draft of an uploaded file. `kind` and `encoding`: what the person chose, "" to find out.

    Raises FileRefused for a file that cannot hold requests, is too large, or must be described better.
    """
    label = name or "The file"
    if not data:
        raise FileRefused(f"{label} is empty. Choose another one.")
    if len(data) > MOST_FILE:
        raise FileRefused(f"{label} has {len(data):,} bytes, more than {MOST_FILE:,}. {LARGER}")
    if data.startswith(_ZIP):
        if not is_workbook(data):
            raise FileRefused(
                f"{label} is a zip archive or a document of another kind. Unpack it, or save it as .xlsx."
            )
        if kind not in ("", "xlsx"):
            raise FileRefused(f"{label} is a workbook (.xlsx). Leave the format open.")
        return read_workbook(data, label, sheet)
    if kind == "xlsx":
        raise FileRefused(f"{label} is not a workbook (.xlsx). Leave the format open.")
    if data.startswith(_GZIP):
        data, name = _unpack(data, label), name.removesuffix(".gz")
    _refuse_other_kinds(data[:_HEAD], label)
    text = _decode(data, encoding, label)
    return read_text(text, kind or kind_of(text, name, pasted=False), name)


def read_pasted(text: str, kind: str = "") -> Draft:
    """Return the draft of a text that was pasted into a form. Raises FileRefused."""
    if not text.strip():
        raise FileRefused("Choose a file, or paste the lines.")
    if kind == "xlsx":
        raise FileRefused("A workbook cannot be pasted. Choose it as a file, or paste its cells with their heading.")
    text = text.replace("\r\n", "\n")  # browsers send these
    return read_text(text, kind or kind_of(text, "", pasted=True), "")


def _unpack(data: bytes, label: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            text = file.read(MOST_TEXT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FileRefused(f"{label} is no valid gzip, or is cut off ({error}). Choose another copy.") from error
    if len(text) > MOST_TEXT:
        raise FileRefused(f"{label} unpacks to more than {MOST_TEXT:,} bytes. {LARGER}")
    return text


def _refuse_other_kinds(head: bytes, label: str) -> None:
    for offset, magic, what in _SIGNATURES:
        if head.startswith(magic, offset):
            raise FileRefused(f"{label} is {what}")
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_MARKUP):
        raise FileRefused(f"{label} is an XML document or a web page. {_SAVE}")
    if _wide(head) is None and _CONTROLS.search(head):
        raise FileRefused(f"{label} is a binary file. Choose NDJSON, .csv, .xlsx or .txt.")


def _wide(head: bytes) -> str | None:
    for mark, name in _WIDE:
        if head.startswith(mark):
            return name
    low, high = head[0:64:2], head[1:64:2]
    if len(high) > 1 and not any(high) and all(low):
        return "utf-16-le"
    return "utf-16-be" if len(high) > 1 and not any(low) and all(high) else None


def _decode(data: bytes, chosen: str, label: str) -> str:
    marked = _wide(data[:_HEAD]) or ("utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "")
    encoding = marked or (chosen if chosen in ENCODINGS and chosen else "utf-8-sig")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        begin = max(data.rfind(b"\n", 0, error.start) + 1, error.start - 30)
        reading = data[begin : error.start + 30].split(b"\n")[0].decode("cp1252", "replace").strip()
        name = "UTF-8" if encoding == "utf-8-sig" else encoding
        raise FileRefused(
            f'{label}, line {line:,}, is not {name}. As Windows text it reads "{reading}". If that is right, choose '
            "this encoding; otherwise save the file as UTF-8."
        ) from error
