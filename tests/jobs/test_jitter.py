import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.jitter import draw, equal_jitter
from jobs.policy import backoff

WAITS = st.floats(0, 1e9)
RANDOM = st.floats(0, 1, exclude_max=True)


@given(wait=WAITS, random=RANDOM)
def test_a_wait_is_between_its_half_and_its_whole(wait: float, random: float) -> None:
    assert wait / 2 <= equal_jitter(wait, random) <= wait


@given(wait=WAITS, random=RANDOM, other=RANDOM)
def test_a_larger_random_number_never_shortens_a_wait(wait: float, random: float, other: float) -> None:
    low, high = sorted((random, other))
    assert equal_jitter(wait, low) <= equal_jitter(wait, high)


def test_waits_are_spread_evenly() -> None:
    waits = [equal_jitter(8, step / 1000) for step in range(1000)]
    assert (waits[0], waits[500]) == (4, 6)
    assert sum(waits) / len(waits) == pytest.approx(6, rel=0.001)


@given(base=st.floats(0.001, 1e6), cap=st.floats(0.001, 1e6), count=st.integers(0, 10**6), random=RANDOM)
def test_a_backoff_doubles_up_to_its_cap(base: float, cap: float, count: int, random: float) -> None:
    wait = backoff(base, cap, count, random)
    assert min(base, cap) / 2 <= wait <= cap
    assert wait <= backoff(base, cap, count + 1, random) <= max(2 * wait, wait)


def test_the_source_draws_numbers_below_one_that_differ() -> None:
    drawn = [draw() for _ in range(100)]
    assert all(0 <= number < 1 for number in drawn)
    assert len(set(drawn)) > 1
