"""The end of an attempt: images or an error, with its cost."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from jobs.decoding import texts
from jobs.fields import is_text
from jobs.saved import Saved
from jobs.units import nano

#: The highest cost (USD) that is counted, because Redis counts in 64 bits. A higher cost is a mistake, which must not
#: keep the job from ending.
MOST_COST = Decimal(1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The end of an attempt: images (`{"type", "url"}` each) or an error (`{"code", "message"}`); `cost` in USD.

    `warnings`, as errors: what is wrong beside the images. `saved`: the images in the result store.

    Only of a new result: `unreadable_cost`, what the provider sent instead of an amount, and `rounded_cost`, its amount
    if that was rounded. Neither is in the serialized result.
    """

    output: tuple[Mapping[str, str], ...] = ()
    error: Mapping[str, str] | None = None
    cost: Decimal | None = None
    discount: Any = None
    warnings: tuple[Mapping[str, str], ...] = ()
    saved: Saved | None = None
    unreadable_cost: str | None = None
    rounded_cost: str | None = None

    def to_json(self) -> str:
        """Serialize it for Redis, with money as text."""
        cost = None if self.cost is None else str(self.cost)
        body = {"output": list(self.output) or None, "error": self.error, "cost": cost, "discount": self.discount}
        body["warnings"] = list(self.warnings) or None
        body["saved"] = self.saved.to_json() if self.saved else None
        given = {name: value for name, value in body.items() if value is not None}
        return json.dumps(given, ensure_ascii=False, default=str)

    @classmethod
    def from_json(cls, text: str) -> "Result":
        """Deserialize it. Raises one of `jobs.decoding.UNREADABLE` for text that `to_json` cannot have written."""
        if not is_text(text):
            raise ValueError("its result is not UTF-8")
        body = json.loads(text)
        cost = body.get("cost")
        return cls(
            output=tuple(map(texts, body.get("output", ()))),
            error=texts(body["error"]) if "error" in body else None,
            cost=None if cost is None else Decimal(cost),
            discount=body.get("discount"),
            warnings=tuple(map(texts, body.get("warnings", ()))),
            saved=Saved.from_json(body["saved"]) if "saved" in body else None,
        )

    @property
    def nano(self) -> str:
        """The cost in whole nano-dollars, as Redis counts it; '' where there is none, or one above MOST_COST."""
        if self.cost is None or not self.cost.is_finite() or abs(self.cost) > MOST_COST:
            return ""
        return str(nano(self.cost))


def read_cost(text: str) -> Decimal:
    """Read an amount in USD of at most nine decimals. Raises `ValueError`."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not (amount.is_finite() and 0 <= amount <= MOST_COST and amount == round(amount, 9)):
        raise ValueError(f"{text!r} is not an amount from 0 to {MOST_COST:,} with at most 9 decimals.")
    return amount
