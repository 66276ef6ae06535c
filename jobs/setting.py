"""Declarations of settings: each is a field of a frozen dataclass, from which schema and documentation are derived.

deadline: float = setting("BOOMERANG_DEADLINE", ma.Float, 7200.0, "When a job expires.", validate=AT_LEAST_1)
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, Protocol

from marshmallow import EXCLUDE, Schema, ValidationError, validates_schema
from marshmallow import fields as ma

_METADATA = "setting"
#: Values that mean "not set".
_UNSET: tuple[Any, ...] = (None, (), {}, "")


@dataclass(frozen=True)
class Setting:
    """One environment variable: how it is read, its default, and its meaning (Markdown)."""

    variable: str
    reader: type[ma.Field[Any]]
    options: Mapping[str, Any]
    default: Any
    meaning: str

    @property
    def default_text(self) -> str | None:
        """The default as a value of the environment variable; None if there is none."""
        if self.default in _UNSET:
            return None
        if isinstance(self.default, bool):
            return str(self.default).lower()
        return f"{self.default:.15g}" if isinstance(self.default, float) else str(self.default)


class Checked(Protocol):
    """A dataclass of settings."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """Yield problems of settings that are valid by themselves but not together: (field, message)."""


def setting(
    variable: str, reader: type[ma.Field[Any]], default: Any, meaning: str, *, secret: bool = False, **options: Any
) -> Any:
    """Declare a setting. A `secret` stays out of the repr; `options` go to the marshmallow field `reader`."""
    return field(
        default=default, repr=not secret, metadata={_METADATA: Setting(variable, reader, options, default, meaning)}
    )


def settings_of(owner: type[Checked], without: type[Checked] | None = None) -> dict[str, Setting]:
    """Return field name -> setting, in the order of declaration, without those that `owner` inherits from `without`."""
    inherited = {each.name for each in fields(without)} if without else set()
    return {
        each.name: each.metadata[_METADATA]
        for each in fields(owner)
        if _METADATA in each.metadata and each.name not in inherited
    }


def schema_of(owner: type[Checked]) -> Schema:
    """Return the schema that reads a class's variables from the environment. An unset variable gives the default."""
    declared = settings_of(owner)
    made = {
        name: each.reader(data_key=each.variable, load_default=each.default, **each.options)
        for name, each in declared.items()
    }

    def check(_: Schema, data: Mapping[str, Any], **__: Any) -> None:
        messages: dict[str, list[str]] = {}
        for name, message in owner.problems(data):
            messages.setdefault(declared[name].variable, []).append(message)
        if messages:
            raise ValidationError(messages)

    members = {
        "Meta": type("Meta", (), {"unknown": EXCLUDE}),
        "check": validates_schema(skip_on_field_errors=False)(check),
    }
    schema: Schema = type(f"{owner.__name__}Schema", (Schema,), {**made, **members})()
    return schema


def read(owner: type[Checked], env: Mapping[str, str]) -> dict[str, Any]:
    """Return field name -> value for every setting. Empty variables count as unset, because compose files pass them.

    Raises marshmallow's ValidationError, whose messages are by variable.
    """
    schema = schema_of(owner)
    values: dict[str, Any] = schema.load({name: value for name, value in env.items() if value.strip()})
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def described(error: ValidationError) -> Iterator[str]:
    """Return a line for each invalid variable, in the order of their names."""
    messages: dict[str, Any] = error.normalized_messages()  # type: ignore[no-untyped-call]
    for variable, found in sorted(messages.items()):
        yield f"{variable}: {' '.join(map(str, found)) if isinstance(found, list) else found}"
