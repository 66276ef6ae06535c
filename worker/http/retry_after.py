"""When a server wants to be asked again."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: A longer `Retry-After` is cut to this: it is a mistake or an attack.
LONGEST_RETRY_AFTER = 900.0


def http_date(value: str) -> datetime | None:
    """Parse an HTTP date; None if it is unusable."""
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        # OverflowError: years and zones beyond a C integer.
        return None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float:
    """Return `Retry-After` in seconds (RFC 9110: a number or a date), at most LONGEST_RETRY_AFTER; 0 if unusable."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_RETRY_AFTER)
    when = http_date(value)
    if when is None:
        return 0.0
    return min(max((when - (now or datetime.now(UTC))).total_seconds(), 0.0), LONGEST_RETRY_AFTER)
