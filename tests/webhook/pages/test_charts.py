"""The geometry of charts."""

import math

from hypothesis import given
from hypothesis import strategies as st

from webhook.pages.charts import HEIGHT, WIDTH, columns, lines, rounded_up

NUMBERS = st.floats(0, 1e9, allow_nan=False)


@given(NUMBERS)
def test_the_upper_edge_is_a_round_number_not_far_above(value: float) -> None:
    top = rounded_up(value)
    assert top >= value * (1 - 1e-6)
    assert value < 1e-9 or top <= value * 2.6
    digits = top / 10 ** math.floor(math.log10(top) + 1e-9)
    assert min(abs(digits - round_one) for round_one in (1, 2, 5)) < 1e-6


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["first", "bad", "second"]), st.integers(0, 10**7), max_size=3), max_size=70
    )
)
def test_columns_stay_within_the_chart(rows: list[dict[str, float]]) -> None:
    chart = columns([("title", row) for row in rows])
    for bar in chart.bars:
        assert -1e-6 <= bar.x <= bar.x + bar.width <= WIDTH + 1e-6
        assert -1e-6 <= bar.y <= bar.y + bar.height <= HEIGHT + 1e-6
    assert len(chart.bars) == sum(1 for row in rows for value in row.values() if value)


@given(st.lists(st.none() | NUMBERS, max_size=70))
def test_a_missing_value_interrupts_a_line(values: list[float | None]) -> None:
    chart = lines({"first": values})
    runs = sum(
        1 for before, value in zip([None, *values], values, strict=False) if value is not None and before is None
    )
    assert len(chart.paths["first"]) == runs
    for path in chart.paths["first"]:
        points = [tuple(map(float, point.split(","))) for point in path.split(" ")]
        assert len(points) >= 2
        assert all(-6 <= x <= WIDTH + 6 and -0.1 <= y <= HEIGHT + 0.1 for x, y in points)
