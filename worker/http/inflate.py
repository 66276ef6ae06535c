"""Expand a compressed body piece by piece, in bounded memory."""

import zlib
from collections.abc import Iterator
from typing import Any

#: Most bytes of one piece.
PIECE = 256 * 1024
#: Bytes that zlib gets at once.
_STEP = 4096
#: Content-Encodings that can be expanded.
CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
#: Bits of the window: gzip or zlib, as its first bytes say; or deflate without a header.
_BY_HEADER, _RAW = 32 + zlib.MAX_WBITS, -zlib.MAX_WBITS
_GZIP = b"\x1f\x8b"
#: The bits of the first byte that name zlib's method, and the only method.
_METHOD, _DEFLATE = 0x0F, 8


class Inflater:
    """Expands gzip and deflate (RFC 9110, 8.4.1). The caller stops when it has enough. Raises `zlib.error`."""

    def __init__(self) -> None:
        self._expander: Any = None

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what the next bytes of the body expand to."""
        # zlib copies the rest of its input at the end of each member, so that it gets little at once.
        for start in range(0, len(data), _STEP):
            yield from self._expand(data[start : start + _STEP])

    def _expand(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._expander is None or self._expander.eof:
                # Gzip may have several members (RFC 1952, 2.2). Zeros after the last one are padding.
                data = data if self._expander is None else data.lstrip(b"\0")
                if not data:
                    return
                self._expander = zlib.decompressobj(_window(data))
            yield self._expander.decompress(data, PIECE)
            data = self._expander.unconsumed_tail or self._expander.unused_data

    def end(self) -> bytes:
        """Return the last bytes."""
        if self._expander is None:
            return b""
        rest: bytes = self._expander.flush()
        if not self._expander.eof:
            raise zlib.error("the compressed body is cut off")
        return rest


def _window(start: bytes) -> int:
    is_gzip = _GZIP.startswith(start[:2])
    return _BY_HEADER if is_gzip or start[0] & _METHOD == _DEFLATE else _RAW
