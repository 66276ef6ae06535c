"""The units in which Redis stores money and time: whole nano-dollars, and whole microseconds since 1970."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

#: Nano-dollars in a dollar. Redis adds whole numbers without rounding; finer costs are rounded half to even.
NANO = Decimal(1_000_000_000)


def nano(cost: Decimal) -> int:
    """Convert USD to whole nano-dollars."""
    return int((cost * NANO).to_integral_value())


def dollars(amount: str | int) -> Decimal:
    """Convert whole nano-dollars to USD, without trailing zeros."""
    usd = (Decimal(amount) / NANO).normalize()
    return usd.quantize(Decimal(1)) if usd == usd.to_integral_value() else usd


def duration_micros(seconds: float) -> int:
    """Convert a duration to whole microseconds."""
    return int(seconds * 1_000_000)


def to_micros(moment: datetime) -> int:
    """Convert an aware time to microseconds since 1970."""
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def from_micros(microseconds: str | float) -> datetime:
    """Convert microseconds since 1970 to an aware time (UTC)."""
    return datetime.fromtimestamp(int(microseconds) / 1_000_000, UTC)
