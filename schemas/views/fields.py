"""Fields that many answers share: text with an example, times and money."""

from datetime import UTC, datetime
from typing import Any

from marshmallow import fields

_CREATED = datetime(2026, 1, 31, 12, 0, tzinfo=UTC).isoformat()


def described(description: str, example: Any = None) -> dict[str, Any]:
    """Return a field's metadata for the OpenAPI document."""
    return {"description": description} | ({} if example is None else {"example": example})


def instant(description: str, **options: Any) -> fields.DateTime:
    """Make a field for a time."""
    return fields.AwareDateTime(
        format="iso", default_timezone=UTC, metadata=described(f"{description} ISO 8601, UTC.", _CREATED), **options
    )


def money(description: str, **options: Any) -> fields.Decimal:
    """Make a field for an amount of money: text, since a JSON number may lose digits on the way."""
    metadata = described(f"{description} USD, a decimal string.", "0.0065")
    return fields.Decimal(as_string=True, metadata=metadata, **options)


def next_cursor() -> fields.String:
    """Make the field that leads to the next page of a list."""
    return fields.String(
        required=True,
        allow_none=True,
        metadata=described("Pass it as `cursor` to get the next page. null on the last page."),
    )
