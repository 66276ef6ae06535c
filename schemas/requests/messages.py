"""Error messages of requests: the provider's code for each, and the path of the member that it is about."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from schemas.error_text import clean


class Message(str):
    """An error message with the provider's code for the error."""

    __slots__ = ("code",)

    code: str

    def __new__(cls, text: str, code: str) -> Self:
        message = super().__new__(cls, text)
        message.code = code
        return message


def coded(text: str, code: str | None) -> str:
    """Return a message, with the provider's code if there is one."""
    return Message(text, code) if code else text


def paths(messages: Any, path: Sequence[str] = ()) -> dict[str, list[str]]:
    """Flatten marshmallow's nested messages to `{"image_list.0.image": [...]}`.

    Messages on an object as a whole are under the object's own path.
    """
    if not isinstance(messages, Mapping):
        return {".".join(path) or "request": list(messages) if isinstance(messages, list) else [messages]}
    flat: dict[str, list[str]] = {}
    for key, value in messages.items():
        step = () if key == "_schema" else (clean(str(key)),)
        for name, texts in paths(value, (*path, *step)).items():
            flat.setdefault(name, []).extend(texts)
    return flat
