"""Images in requests: find them, and replace them by references to stored images.

An image in base64 is stored once, under the hash of its bytes, and the job contains only its reference (the claim-check
pattern). A request with the image and one with its reference are therefore the same request.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from marshmallow import Schema, fields

from schemas.errors import RequestInvalid
from schemas.images import REFERENCE, ImageFile, from_base64, is_inline, is_reference
from schemas.requests.base import MODELS
from schemas.requests.fields import Image
from schemas.requests.record import GenerationRequest

#: Every entry of an array.
_EACH = None
_ABSENT = "is not stored, or no longer; upload the file with POST /v1/images, or send the image itself"
_CAME_BACK = "referred to an image that was missing, but is stored now; send it again"
_Steps = tuple[str | None, ...]


def checked_in(request: GenerationRequest, put: Callable[[ImageFile], object]) -> GenerationRequest:
    """Replace each base64 image by its reference, after `put` has stored it. Raises what `put` raises."""

    def exchange(_: str, value: str) -> str:
        if not is_inline(value):
            return value
        file = from_base64(value)
        put(file)
        return REFERENCE + file.hash

    return with_images(request, exchange)


def images_in(request: GenerationRequest) -> Mapping[str, str]:
    """Return each image of a request, a URL or a reference, by its path. Raises `KeyError` for an unknown model."""
    found: dict[str, str] = {}

    def note(path: str, value: str) -> str:
        found[path] = value
        return value

    with_images(request, note)
    return found


def references(request: GenerationRequest) -> Mapping[str, str]:
    """Return the hash of each reference by its path. Raises `KeyError` for an unknown model."""
    images = images_in(request).items()
    return {path: value.removeprefix(REFERENCE) for path, value in images if is_reference(value)}


def without_images(request: GenerationRequest, absent: Callable[[Iterable[str]], Collection[str]]) -> RequestInvalid:
    """Return the error for a request that refers to missing images. `absent(hashes)` returns those that are missing."""
    named = references(request)
    gone = absent(named.values())
    errors = {path: [_ABSENT] for path, digest in named.items() if digest in gone}
    return RequestInvalid(errors or {"request": [_CAME_BACK]})


def with_images(request: GenerationRequest, exchange: Callable[[str, str], str]) -> GenerationRequest:
    """Replace each image by `exchange(path, value)`. Raises `KeyError` for an unknown model."""
    params: Any = request.params
    for steps in _places(request.model):
        params = _exchanged(params, steps, (), exchange)
    return request if params is request.params else replace(request, params=params)


def _exchanged(value: Any, steps: _Steps, path: tuple[str, ...], exchange: Callable[[str, str], str]) -> Any:
    if not steps:
        return exchange(".".join(path), value)
    step, rest = steps[0], steps[1:]
    if step is _EACH:
        return [_exchanged(entry, rest, (*path, str(place)), exchange) for place, entry in enumerate(value)]
    if step not in value:
        return value
    return {**value, step: _exchanged(value[step], rest, (*path, step), exchange)}


@cache
def _places(model: str) -> tuple[_Steps, ...]:
    """Return where a model's requests may contain images, from its schema."""
    return tuple(_of_schema(MODELS[model]()))


def _of_schema(schema: Schema) -> Iterator[_Steps]:
    for name, field in schema.fields.items():
        for steps in _of_field(field):
            yield (name, *steps)


def _of_field(field: Any) -> Iterator[_Steps]:
    match field:
        case Image():
            yield ()
        case fields.List():
            for steps in _of_field(field.inner):
                yield (_EACH, *steps)
        case fields.Nested():
            yield from _of_schema(field.schema)
