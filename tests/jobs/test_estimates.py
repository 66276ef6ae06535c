"""Expected costs: their base and their spread."""

from decimal import Decimal

import pytest

from jobs.errors import SettingsInvalid
from jobs.estimates import Base, Price, sum_up
from jobs.list_prices import ListPrices
from jobs.settings import Settings

USD = 1_000_000_000


@pytest.mark.parametrize(
    ("learned", "configured", "price"),
    [
        ({"price": str(USD), "costs": f"{USD} {3 * USD} {2 * USD}"}, None, ("learned", 1, 1, 2, 3)),
        ({"price": str(USD), "costs": f"0 {USD}"}, "7", ("learned", 1, 1, 1, 1)),
        ({"price": "0", "costs": "0 0 0"}, None, ("learned", 0, 0, 0, 0)),
        ({"costs": f"{USD} {9 * USD}"}, "7", ("configured", 7, 7, 7, 7)),
        ({"costs": ""}, None, ("unknown", None, None, None, None)),
    ],
)
def test_a_price_is_learned_or_configured(
    learned: dict[str, str], configured: str | None, price: tuple[str, int | None, int, int, int]
) -> None:
    found = Price.of(learned, Decimal(configured) if configured else None)
    assert (found.base, found.expected, found.low, found.median, found.high) == price


def test_sums_are_exact_and_name_their_base() -> None:
    learned = Price(Base.LEARNED, *[Decimal("0.000000001")] * 4)
    configured = Price(Base.CONFIGURED, *[Decimal("0.1")] * 4)
    total = sum_up([(learned, 3), (configured, 2)], Decimal(1))
    assert (total.base, total.expected) == (Base.MIXED, Decimal("1.200000003"))
    unknown = sum_up([(learned, 3), (Price(Base.UNKNOWN), 2)])
    assert (unknown.base, unknown.expected, unknown.unpriced) == (Base.UNKNOWN, None, 2)
    assert (sum_up(()).expected, sum_up([(Price(Base.UNKNOWN), 0)]).base) == (Decimal(0), Base.LEARNED)


def test_list_prices_are_read_exactly() -> None:
    text = '{"a": 0.1, "b": {"2K": "0.000000001", "*": 3}}'
    prices = Settings.from_env({"BOOMERANG_PRICES": text}).list_prices
    assert prices.of("a|3|4K") == Decimal("0.3")
    assert (prices.of("b|1|2K"), prices.of("b|2|"), prices.of("c|1|")) == (Decimal("1e-9"), Decimal(6), None)
    assert Settings().list_prices == ListPrices()


@pytest.mark.parametrize(
    "text", ["x", "[]", '{"a": "-1"}', '{"a": "NaN"}', '{"a": true}', '{"a": {"2K": []}}', '{"a": 1e12}']
)
def test_other_list_prices_are_refused(text: str) -> None:
    with pytest.raises(SettingsInvalid, match="BOOMERANG_PRICES"):
        Settings.from_env({"BOOMERANG_PRICES": text})
