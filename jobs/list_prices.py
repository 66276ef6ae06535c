"""List prices, which the operator sets: what an image of a model costs before the costs of jobs have shown it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError
from marshmallow import fields as ma

from jobs.lanes import MOST_MONEY

#: The price of every resolution that has none of its own.
ANY = "*"
_EXAMPLE = '{"kirin_image_omni": "0.04", "kirin_v2_1_reference2image": {"2k": "0.09", "*": "0.05"}}'


@dataclass(frozen=True, slots=True)
class ListPrices:
    """USD for one image: model → resolution ('' where a request names none, `ANY`: all others) → price."""

    by_model: Mapping[str, Mapping[str, Decimal]] = field(default_factory=dict)

    def of(self, price_class: str) -> Decimal | None:
        """Return the list price of a job of this class, `<model>|<n>|<resolution>`; None: there is none."""
        model, images, resolution = price_class.rsplit("|", 2)
        prices = self.by_model.get(model, {})
        price = prices.get(resolution, prices.get(ANY))
        return None if price is None else price * int(images)


class ListPricesField(ma.Field[ListPrices]):
    """The JSON object of list prices."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> ListPrices:
        try:
            given = json.loads(value, parse_float=Decimal, parse_int=Decimal)
        except ValueError as error:
            raise ValidationError(f"must be a JSON object such as {_EXAMPLE}: {error}") from None
        if not isinstance(given, dict):
            raise ValidationError(f"must be a JSON object such as {_EXAMPLE}")
        problems: list[str] = []
        prices: dict[str, dict[str, Decimal]] = {}
        for model, each in given.items():
            by_resolution = each if isinstance(each, dict) else {ANY: each}
            prices[model] = {}
            for resolution, price in by_resolution.items():
                amount = _amount(price)
                if amount is None:
                    problems.append(f"{model}, {resolution}: {price!r} is no amount of USD up to {MOST_MONEY:,}")
                else:
                    prices[model][resolution] = amount
        if problems:
            raise ValidationError("; ".join(problems))
        return ListPrices(prices)


def _amount(price: Any) -> Decimal | None:
    try:
        amount = Decimal(price) if isinstance(price, str | Decimal) else None
    except ArithmeticError:
        return None
    return amount if amount is not None and amount.is_finite() and 0 <= amount <= MOST_MONEY else None
