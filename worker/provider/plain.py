"""Make the body of an answer plain: not compressed, and in UTF-8, whatever the provider has made of it.

The client asks for `identity` and sends no Accept-Charset. Some gateways compress or transcode nevertheless.
"""

import re
import zlib
from collections.abc import Mapping

from schemas.tolerant_body import text_of

#: Compressed bytes that are expanded at once. What an error leaves behind it is lost, so it should be little.
_PIECE = 64 * 1024
#: Gzip in gzip, when both the application and a proxy compress.
_MOST_LAYERS = 2
#: Members of one gzip file that are expanded. Each costs a copy of a piece.
_MOST_MEMBERS = 1000
#: Bits of the window: gzip or zlib, as its first bytes say; or deflate without a header.
_BY_HEADER, _RAW = 32 + zlib.MAX_WBITS, -zlib.MAX_WBITS
_GZIP, _ZLIB = b"\x1f\x8b", b"\x78"
#: Charsets that providers use beside UTF-8. Python also has some that are no charsets, or slow.
_CHARSET = re.compile(
    r"charset\s*=\s*[\"']?((?:iso-?8859|windows|cp|latin|big5|gb|shift_jis|euc-|koi8|utf-?(?:16|32))[\w-]*)",
    re.IGNORECASE,
)


def plain(body: bytes, headers: Mapping[str, str], most: int) -> bytes:
    """Return the body expanded, to at most `most` bytes, and in UTF-8. Never raises.

    A body that is damaged, cut off or compressed in another way is returned as far as it could be read.
    """
    if body[:1] == b"{" and body.isascii() and b"\0" not in body[:4]:
        return body
    for _ in range(_MOST_LAYERS):
        if not body.startswith((_GZIP, _ZLIB)):
            break
        body = _expanded(body, _BY_HEADER, most) or body
    if body[:1] not in (b"{", b"[") and "deflate" in headers.get("Content-Encoding", "").lower():
        body = _expanded(body, _RAW, most) or body
    return _in_utf8(body, headers.get("Content-Type", ""))


def _expanded(body: bytes, bits: int, most: int) -> bytes:
    """Expand as much as can be read. Memory is bounded by `most`."""
    expander = zlib.decompressobj(bits)
    out = bytearray()
    start = members = 0
    try:
        while start < len(body) and len(out) < most:
            piece = body[start : start + _PIECE]
            out += expander.decompress(piece, most - len(out))
            start += len(piece) - len(expander.unused_data)
            if expander.eof:
                # Gzip may have several members (RFC 1952, 2.2), of which each is expanded by itself.
                members += 1
                if members == _MOST_MEMBERS or not body.startswith(_GZIP, start):
                    break
                expander = zlib.decompressobj(bits)
    except zlib.error:
        pass
    return bytes(out)


def _in_utf8(body: bytes, content_type: str) -> bytes:
    try:
        if b"\0" not in body[:4]:
            body.decode()
            return body
    except UnicodeDecodeError:
        pass
    if declared := _CHARSET.search(content_type):
        try:
            return body.decode(declared[1], "replace").encode()
        except (LookupError, UnicodeError):
            pass
    return text_of(body).encode()
