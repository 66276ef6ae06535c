"""A marshmallow schema that reads the provider's answers in one pass, because two are read for each job."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from marshmallow import EXCLUDE, Schema, fields

#: The name of a member, its name in the answer, and its function.
_Reader = tuple[str, str, Callable[[Any], Any] | None]


class ReaderSchema(Schema):
    """A schema of `Function` and `Raw` fields that may be null. Unknown members are dropped."""

    class Meta:
        unknown = EXCLUDE

    @cached_property
    def _readers(self) -> Sequence[_Reader]:
        readers = []
        for name, field in self.load_fields.items():
            if not field.allow_none or not isinstance(field, fields.Function | fields.Raw):
                raise TypeError(f"{type(self).__name__}.{name} must be a Function or Raw field that may be null")
            read = field.deserialize_func if isinstance(field, fields.Function) else None
            readers.append((name, field.data_key or name, read))
        return readers

    def members(self, data: Mapping[Any, Any]) -> dict[str, Any]:
        """Return what `load` returns, in a fraction of the time. Raises what the functions raise."""
        found = {}
        for name, key, read in self._readers:
            if key in data:
                value = data[key]
                found[name] = value if value is None or read is None else read(value)
        return found
