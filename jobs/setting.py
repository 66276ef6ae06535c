"""How a setting is declared: once, as a field of a frozen dataclass, which its schema and its documentation follow.

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
    """One variable of the environment: how it is read, what holds without it, and what it means (Markdown)."""

    variable: str
    reader: type[ma.Field[Any]]
    options: Mapping[str, Any]
    default: Any
    meaning: str

    @property
    def default_text(self) -> str | None:
        """The default as one would write it into the environment; None where there is none."""
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
        """What is wrong between settings that are valid one by one: (field, message). Invalid ones are absent."""


def setting(
    variable: str, reader: type[ma.Field[Any]], default: Any, meaning: str, *, secret: bool = False, **options: Any
) -> Any:
    """Declare a setting. A `secret` stays out of the repr; `options` go to the marshmallow field `reader`."""
    return field(
        default=default, repr=not secret, metadata={_METADATA: Setting(variable, reader, options, default, meaning)}
    )


def settings_of(owner: type[Checked], without: type[Checked] | None = None) -> dict[str, Setting]:
    """Field name -> setting, in the order of declaration; of `owner` alone where it adds to the settings `without`."""
    inherited = {each.name for each in fields(without)} if without else set()
    return {
        each.name: each.metadata[_METADATA]
        for each in fields(owner)
        if _METADATA in each.metadata and each.name not in inherited
    }


def schema_of(owner: type[Checked]) -> Schema:
    """The schema that reads a class's variables from the environment. An unset variable gives the declared default."""
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
    """Field name -> value for every setting. An empty variable counts as unset: compose files pass those.

    Raises marshmallow's ValidationError, whose messages are by variable.
    """
    schema = schema_of(owner)
    values: dict[str, Any] = schema.load({name: value for name, value in env.items() if value.strip()})
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def described(error: ValidationError) -> Iterator[str]:
    """A line for each bad variable, in the order of their names."""
    messages: dict[str, Any] = error.normalized_messages()  # type: ignore[no-untyped-call]
    for variable, found in sorted(messages.items()):
        yield f"{variable}: {' '.join(map(str, found)) if isinstance(found, list) else found}"
