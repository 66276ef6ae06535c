"""What jobs will cost: the expected amount, its base, and its spread."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from statistics import median_low
from typing import Any, Self

from jobs.units import dollars, nano


class Base(StrEnum):
    """What an expected cost is based on."""

    LEARNED = "learned"  #: the last costs of such jobs
    CONFIGURED = "configured"  #: the operator's list prices
    MIXED = "mixed"  #: of some jobs the one, of others the other
    UNKNOWN = "unknown"  #: nothing is known of some jobs


@dataclass(frozen=True, slots=True)
class Price:
    """What one job of a class will cost in USD: the price for which the service reserves money, and the spread.

    `expected` is None if unknown; then `low`, `median` and `high` are, too.
    """

    base: Base
    expected: Decimal | None = None
    low: Decimal | None = None
    median: Decimal | None = None
    high: Decimal | None = None

    @classmethod
    def of(cls, learned: Mapping[str, Any], configured: Decimal | None) -> Self:
        """Create it from `forecast_of` in shared/prices.lua, or from the list price of the class."""
        costs = [int(cost) for cost in str(learned.get("costs", "")).split()]
        if "price" not in learned:
            if configured is None:
                return cls(Base.UNKNOWN)
            return cls(Base.CONFIGURED, configured, configured, configured, configured)
        price = int(learned["price"])
        paid = [cost for cost in costs if cost] or [price]
        spread = (min(paid), median_low(paid), max(paid))
        return cls(Base.LEARNED, dollars(price), *map(dollars, spread))


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What jobs of several classes will cost together, in USD. Sums are None while the price of a class is unknown.

    `unpriced`: jobs of unknown price.
    """

    base: Base
    expected: Decimal | None
    low: Decimal | None
    median: Decimal | None
    high: Decimal | None
    unpriced: int = 0


def sum_up(jobs: Iterable[tuple[Price, int]], spent: Decimal = Decimal(0)) -> Estimate:
    """Add up the prices of so many jobs each, and what is `spent` already."""
    priced = [(price, count) for price, count in jobs if count]
    unpriced = sum(count for price, count in priced if price.expected is None)
    bases = {price.base for price, _ in priced} or {Base.LEARNED}
    base = Base.UNKNOWN if unpriced else bases.pop() if len(bases) == 1 else Base.MIXED
    if unpriced:
        return Estimate(base=base, expected=None, low=None, median=None, high=None, unpriced=unpriced)

    def total(name: str) -> Decimal:
        whole = sum((getattr(price, name) * count for price, count in priced), spent)
        return dollars(nano(whole))

    return Estimate(base=base, expected=total("expected"), low=total("low"), median=total("median"), high=total("high"))


#: What no jobs cost.
NOTHING = sum_up(())
