"""Find out whether a text is in the encoding that it is read in. A guess is only ever suggested, never used."""

import codecs
import re
from typing import BinaryIO

from charset_normalizer import from_bytes

from boomerang_client.errors import UsageError

#: Encodings that people's programs write, beside UTF-8 and UTF-16.
_CANDIDATES = ["cp1252", "cp1250", "cp1251", "cp1253", "mac_roman", "cp932", "gb18030", "big5", "cp949"]
_ASCII = frozenset(map(chr, range(128)))
#: What texts in Western languages have beside ASCII. Other alphabets have long runs of such bytes instead.
_WESTERN = frozenset("äöüßéèêëàâçîïôûùñáíóúìòãõåæøœÄÖÜÉÈÊËÀÂÇÎÏÔÛÙÑÁÍÓÚÌÒÃÕÅÆØŒ–—‘’‚“”„…«»‹›€£°©®™·½¼¿¡§\xa0")
_LONG_RUN = re.compile(rb"[\x80-\xff]{3}")
_ALL_BYTES = bytes(range(256))
#: Bytes that an encoding of one byte a letter may leave undefined. UTF-8 and ASCII have 128 that are no letter.
_MOST_UNDEFINED = 64
_CHUNK = 1024 * 1024
_SAMPLE = 64 * 1024
_HIGH = re.compile(rb"[^\n]{0,30}[\x80-\xff][^\n]{0,30}")
_UTF8 = "utf-8-sig"


def check_name(encoding: str) -> None:
    """Raise UsageError when there is no text encoding of this name."""
    try:
        codecs.lookup(encoding)
        "".encode(encoding)
        b"".decode(encoding)
    except (LookupError, ValueError, TypeError) as error:
        raise UsageError(f"There is no encoding {encoding!r}. Try utf-8 or cp1252.") from error


def check_text(file: BinaryIO, encoding: str, name: str) -> None:
    """Read a whole text. Raises UsageError when it is not in this encoding, before anything of it is sent."""
    decoder = codecs.getincrementaldecoder(encoding)()
    utf8 = codecs.getincrementaldecoder("utf-8")() if _has_one_byte_a_letter(encoding) else None
    is_ascii, lines = True, 1
    while chunk := file.read(_CHUNK):
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError as error:
            line = lines + error.object.count(b"\n", 0, error.start)
            raise not_decodable(error, encoding, f"{name}, line {line:,}") from error
        lines += chunk.count(b"\n")
        is_ascii = is_ascii and chunk.isascii()
        try:
            _ = utf8 and utf8.decode(chunk)
        except UnicodeDecodeError:
            utf8 = None
    try:
        decoder.decode(b"", final=True)
        _ = utf8 and utf8.decode(b"", final=True)
    except UnicodeDecodeError as error:
        if utf8 is None or error.encoding != "utf-8":
            raise not_decodable(error, encoding, f"{name}, line {lines:,}") from error
        utf8 = None
    if utf8 is not None and not is_ascii:
        raise UsageError(
            f'{name} is UTF-8, not {encoding}: "é" would be sent as "{_as_read("é", encoding)}". Leave --encoding out.'
        )


def not_decodable(error: UnicodeDecodeError, encoding: str, where: str) -> UsageError:
    """Return the error for bytes that are not in this encoding. It shows how a likely encoding would read them."""
    encoding_name = "UTF-8" if encoding == _UTF8 else encoding
    place = max(0, error.start - _SAMPLE // 2)
    sample = b"\n".join(_HIGH.findall(error.object[place : place + _SAMPLE])) or error.object[error.start :][:80]
    guess = _guess(sample)
    begin = max(error.object.rfind(b"\n", 0, error.start) + 1, error.start - 30)
    reading = error.object[begin : error.start + 30].splitlines()[0].decode(guess, "replace").strip()
    return UsageError(
        f'{where}: this is not {encoding_name}. In {guess} it reads "{reading}". If that is right, name the encoding: '
        f"--encoding {guess}. Otherwise save the file as UTF-8."
    )


def _guess(sample: bytes) -> str:
    western = set(sample.decode("cp1252", "replace")) - _ASCII
    if western <= _WESTERN and not _LONG_RUN.search(sample):
        return "cp1252"
    best = from_bytes(sample, cp_isolation=_CANDIDATES, enable_fallback=False).best()
    return best.encoding if best else "cp1252"


def _has_one_byte_a_letter(encoding: str) -> bool:
    """Return whether any bytes are text in this encoding, so that a wrong one is never noticed."""
    letters = _ALL_BYTES.decode(encoding, "replace")
    return len(letters) == len(_ALL_BYTES) and letters.count("\N{REPLACEMENT CHARACTER}") < _MOST_UNDEFINED


def _as_read(text: str, encoding: str) -> str:
    return text.encode().decode(encoding, "replace")
