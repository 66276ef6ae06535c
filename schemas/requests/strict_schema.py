"""An object of a request: unknown members are refused, with the name that was probably meant."""

from collections.abc import Mapping
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, pre_load

from schemas.error_text import nearest

#: Members of an object beyond those that its schema knows. With more it is refused before its members are read.
_MOST_UNKNOWN = 20
#: Unknown names of an object for which a similar one is looked up: each look-up takes longer than to read a request.
_HINTS = 3


class StrictSchema(Schema):
    """An object that refuses unknown members, and suggests the most similar known name."""

    class Meta:
        unknown = RAISE

    @pre_load
    def refuse_too_many_members(self, data: Any, **_: Any) -> Any:
        """Refuse an object with far more members than the schema knows, before marshmallow makes an error of each."""
        if self._has_too_many(data):
            raise ValidationError(f"has {len(data):,} members; known are {', '.join(sorted(self.load_fields))}")
        return data

    def _has_too_many(self, data: Any) -> bool:
        return isinstance(data, Mapping) and len(data) > len(self.load_fields) + _MOST_UNKNOWN

    def handle_error(self, error: ValidationError, data: Any, **_: Any) -> None:
        """Say of each unknown member what was probably meant. They come last, in the order in which they were sent."""
        if not isinstance(data, Mapping) or not isinstance(error.messages, dict) or self._has_too_many(data):
            return
        known = self.load_fields
        for number, name in enumerate(name for name in data if name not in known):
            guess = nearest(str(name), known) if number < _HINTS else None
            remedy = f'did you mean "{guess}"?' if guess else f"known are {', '.join(sorted(known))}"
            error.messages.pop(name, None)
            error.messages[name] = [f"is not a known parameter; {remedy}"]
