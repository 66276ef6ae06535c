"""Times in the provider's answers."""

from datetime import UTC, datetime, timedelta

#: Numbers above are in milliseconds: as seconds, this is the year 5138.
_MOST_SECONDS = 1e11
#: A time before, or further ahead than a wrong clock explains, is a placeholder such as 0 or 0001-01-01.
_EARLIEST, _MOST_AHEAD = datetime(2015, 1, 1, tzinfo=UTC), timedelta(days=1)


def read_moment(value: object) -> datetime | None:
    """Read a time: seconds or milliseconds since 1970, or a text with a zone. Never raises.

    Returns None for anything else, for a text without a zone, which may be hours off, and for a time that cannot be
    true.
    """
    try:
        if isinstance(value, str) and not value.strip().isdigit():
            when = datetime.fromisoformat(value.strip())
        else:
            seconds = float(value)  # type: ignore[arg-type] # anything else raises
            when = datetime.fromtimestamp(seconds / 1000 if seconds > _MOST_SECONDS else seconds, UTC)
        known = when.tzinfo is not None and _EARLIEST <= when <= datetime.now(UTC) + _MOST_AHEAD
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return when if known else None
