"""The body of a submission, sent in pieces, so that images which many jobs share are not copied into each body."""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from schemas import REFERENCE, GenerationRequest, is_reference, with_images

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_DIGITS = 64


class Pieces:
    """A body in pieces whose total length is known, so that it is not sent chunked."""

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
    """Encode the request as JSON in its `envelope`, with references replaced by images. `images`: hash → base64."""
    if not images:
        return _encode(envelope(request)).encode()
    # A random mark, which no prompt can contain, stands for each image.
    mark = secrets.token_hex(16)

    def marked(_: str, value: str) -> str:
        return mark + value.removeprefix(REFERENCE) if is_reference(value) else value

    first, *others = _encode(envelope(with_images(request, marked))).split(mark)
    pieces = [first.encode()]
    for text in others:
        pieces += [images[text[:_DIGITS]], text[_DIGITS:].encode()]
    return Pieces(pieces)
