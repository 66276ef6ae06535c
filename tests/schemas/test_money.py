"""A cost is read exactly, or rounded half to even to what is counted, or treated as unreadable."""

import json
import time
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.result import Result
from jobs.units import dollars, nano
from schemas import Cost, read_cost
from schemas.money import MOST_COST

UNIT = Decimal("1e-9")
DEEP: Any = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("0.0065", "0.0065"),
        (" 0.0065 ", "0.0065"),
        ("\u00a00.0065\n", "0.0065"),
        ("+0.0065", "0.0065"),
        (".5", "0.5"),
        ("5.", "5"),
        ("0", "0"),
        ("-0", "0"),
        ("-0.000", "0"),
        (-0.0, "0"),
        ("0e999999999", "0"),
        ("12", "12"),
        ("007", "7"),
        ("6.5E-3", "0.0065"),
        ("1e6", "1000000"),
        (0.0065, "0.0065"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (3, "3"),
        (0, "0"),
        (Decimal("0.30"), "0.3"),
        ("0.0065000000000000000000", "0.0065"),
        (json.loads("1e-3"), "0.001"),
    ],
)
def test_an_amount_is_read_exactly(value: object, amount: str) -> None:
    assert read_cost(value) == Cost(amount=Decimal(amount))


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("0.006666666666666666666666666667", "0.006666667"),
        ("0.00649999999999999994504618028", "0.0065"),
        (1.7999999999999998e-05, "0.000018"),
        ("0.0000000005", "0"),
        ("0.00000000050000000000000000000000001", "0.000000001"),
        ("0.0000000015", "0.000000002"),
        ("0.0000000025", "0.000000002"),
        ("1e-999999999", "0"),
        ("999999.9999999999", "1000000"),
        pytest.param("0." + "6" * 9_998, "0.666666667", id="10,000 characters"),
        (Decimal("1e-500"), "0"),
    ],
)
def test_an_amount_finer_than_a_nano_dollar_is_rounded_once_half_to_even(value: object, amount: str) -> None:
    cost = read_cost(value)

    assert (cost.amount, cost.unreadable) == (Decimal(amount), None)
    assert cost.rounded == str(value)[:60] + ("…" if len(str(value)) > 60 else "")


@pytest.mark.parametrize("value", [None, "", "  ", "\t\n"])
def test_nothing_is_no_cost(value: object) -> None:
    assert read_cost(value) == Cost()


@pytest.mark.parametrize(
    "value",
    [
        *(True, False, "free", "$0.0065", "0,0065", "0.0065 USD", "USD 1", "€1", "1_000", "1,000.50", "١٢", "１", "²"),
        *("-0.01", -1, -0.5, "NaN", "nan", "sNaN", "Infinity", "-Infinity", "inf", float("nan"), float("inf")),
        *("1e999", "1e999999999", "1e9999999999", "1e", "e5", ".", "+", "0x10", "1.2.3", "1 000", "0\x00", "\ud800"),
        *(Decimal("NaN"), Decimal("sNaN"), Decimal("1e500"), "1000000.0000000001", 1_000_001, 1e300),
        *([], [0.0065], {}, {"amount": "0.0065"}, b"1", 1j, object()),
        *(pytest.param(10**400, id="10^400"), pytest.param(-(10**5000), id="more digits than Python prints")),
        *(pytest.param("1" * 10_000, id="ones"), pytest.param("0." + "0" * 100_000, id="long")),
        pytest.param(DEEP, id="deep"),
        pytest.param([10**5000], id="a huge integer in a list"),
    ],
)
def test_anything_else_is_unreadable_and_shown_in_one_short_line(value: object) -> None:
    cost = read_cost(value)

    assert (cost.amount, cost.rounded) == (None, None)
    assert cost.unreadable
    assert cost.unreadable.isprintable()
    assert len(cost.unreadable) < 400


def test_costs_are_added_without_rounding_errors() -> None:
    assert sum(read_cost(0.1).amount or 0 for _ in range(3)) == Decimal("0.3")


_DIGITS = st.text("0123456789", max_size=60)
_AMOUNTS = st.builds("{}{}.{}{}".format, st.sampled_from(["", "+", "-"]), _DIGITS, _DIGITS, st.just("")) | st.builds(
    "{}e{}".format, _DIGITS, st.integers(-2000, 2000)
)
_ANY = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals() | st.lists(st.integers())
    | st.dictionaries(st.text(), st.floats()) | _AMOUNTS | _AMOUNTS.map(lambda text: f" {text} ")
)  # fmt: skip


@given(_ANY)
@example("9" * 100_000)
@example("1e-400000000")
def test_any_value_ends_soon_exact_or_rounded_or_unreadable(value: Any) -> None:
    began = time.process_time()
    cost = read_cost(value)
    assert time.process_time() - began < 0.5

    assert cost.amount is None or cost.unreadable is None
    for text in (cost.unreadable, cost.rounded):
        assert text is None or text.isprintable()
    if cost.amount is None:
        assert cost.rounded is None
        return
    assert 0 <= cost.amount <= MOST_COST
    with localcontext(prec=5_000):
        sent = Decimal(str(value).strip())
        assert cost.amount == sent.quantize(UNIT, rounding=ROUND_HALF_EVEN)
        assert (cost.rounded is None) == (cost.amount == sent)
    # What the job shows, what is counted, and what spending shows agree.
    result = Result(cost=cost.amount)
    assert dollars(result.nano) == cost.amount == dollars(nano(cost.amount))
    assert Result.from_json(result.to_json()).cost == cost.amount
