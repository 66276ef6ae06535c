"""The body of a submission. Its images, which many share, are not copied into it: it is sent in pieces."""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from schemas import REFERENCE, GenerationRequest, is_reference, with_images

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_DIGITS = 64


class Pieces:
    """Bytes in pieces; the length of all is known, so that it needs not be sent chunked."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self._length = sum(map(len, pieces))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


def body_of(
    request: GenerationRequest,
    envelope: Callable[[GenerationRequest], Mapping[str, Any]],
    images: Mapping[str, bytes],
) -> bytes | Pieces:
    """The request as JSON in its `envelope`, each reference replaced by its image; `images`: hash → base64."""
    if not images:
        return _encode(envelope(request)).encode()
    # What no prompt can hold stands where an image is to stand.
    mark = secrets.token_hex(16)

    def marked(_: str, value: str) -> str:
        return mark + value.removeprefix(REFERENCE) if is_reference(value) else value

    first, *others = _encode(envelope(with_images(request, marked))).split(mark)
    pieces = [first.encode()]
    for text in others:
        pieces += [images[text[:_DIGITS]], text[_DIGITS:].encode()]
    return Pieces(pieces)
