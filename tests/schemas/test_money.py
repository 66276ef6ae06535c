from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import parse_cost


@pytest.mark.parametrize(
    ("value", "cost"),
    [
        ("0.0065", Decimal("0.0065")),
        (" 0.0065 ", Decimal("0.0065")),
        ("0", Decimal(0)),
        ("12", Decimal(12)),
        ("6.5E-3", Decimal("0.0065")),
        (0.0065, Decimal("0.0065")),
        (0.1, Decimal("0.1")),
        (1e-7, Decimal("1E-7")),
        (3, Decimal(3)),
        (0, Decimal(0)),
        (Decimal("0.30"), Decimal("0.30")),
        ("", None),
        ("  ", None),
        (None, None),
        (True, None),
        ("free", None),
        ("$0.01", None),
        ("0,01", None),
        ("1_000", None),
        ("٣", None),
        ("-0.01", None),
        (-1, None),
        ("NaN", None),
        ("Infinity", None),
        (float("nan"), None),
        (float("inf"), None),
        ("1e999999", None),
        ("1e-999999", None),
        pytest.param(10**5000, None, id="more digits than Python prints"),
        ("9" * 100, None),
        ([], None),
        ({"amount": 1}, None),
    ],
)  # fmt: skip
def test_a_cost_is_read_exactly_or_not_at_all(value: object, cost: Decimal | None) -> None:
    parsed = parse_cost(value)

    assert parsed == cost
    assert parsed is None or isinstance(parsed, Decimal)


def test_costs_are_added_without_rounding_errors() -> None:
    assert sum(parse_cost(0.1) or 0 for _ in range(3)) == Decimal("0.3")


_ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals() | st.lists(st.integers())


@given(_ANY)
def test_any_value_is_a_finite_cost_or_none(value: Any) -> None:
    cost = parse_cost(value)

    assert cost is None or (cost.is_finite() and cost >= 0 and len(format(cost, "f")) < 64)
