"""The images that a request names: where they stand in its parameters, and how they are exchanged for references.

An image that comes as base64 is stored once, by the hash of its bytes, and only its reference goes into the job (a
claim check): the same request with the image itself or with its reference is the same request.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from marshmallow import Schema, fields

from schemas.errors import RequestInvalid
from schemas.images import REFERENCE, Picture, from_base64, is_inline, is_reference
from schemas.requests.base import MODELS
from schemas.requests.fields import Image
from schemas.requests.record import GenerationRequest

#: Stands for every entry of an array.
_EACH = None
_ABSENT = "is not here (any more); upload the file with POST /v1/images, or give the image itself"
_CAME_BACK = "named an image that was not here a moment ago and is now; send it again"
_Steps = tuple[str | None, ...]


def checked_in(request: GenerationRequest, put: Callable[[Picture], object]) -> GenerationRequest:
    """The request with a reference in the place of each image that it holds; `put` is given those to store.

    Raises what `put` raises.
    """

    def exchange(_: str, value: str) -> str:
        if not is_inline(value):
            return value
        picture = from_base64(value)
        put(picture)
        return REFERENCE + picture.hash

    return with_images(request, exchange)


def references(request: GenerationRequest) -> Mapping[str, str]:
    """The path of each image that is a reference, and the hash that it names. Raises KeyError: no such model."""
    found: dict[str, str] = {}

    def note(path: str, value: str) -> str:
        if is_reference(value):
            found[path] = value.removeprefix(REFERENCE)
        return value

    with_images(request, note)
    return found


def without_images(request: GenerationRequest, absent: Callable[[Iterable[str]], Collection[str]]) -> RequestInvalid:
    """The refusal of a request that was not accepted since images are not there; `absent(hashes)`: those of them."""
    named = references(request)
    gone = absent(named.values())
    errors = {path: [_ABSENT] for path, digest in named.items() if digest in gone}
    return RequestInvalid(errors or {"request": [_CAME_BACK]})


def with_images(request: GenerationRequest, exchange: Callable[[str, str], str]) -> GenerationRequest:
    """The request with what `exchange(path, value)` makes of each of its images. Raises KeyError: no such model."""
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
    """Where a model's requests may name images, by its schema."""
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
