import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import policy
from jobs.settings import Settings

SETTINGS = Settings(max_attempts=3, poll_first=5, poll_max=30, lookup_grace=10)


@pytest.mark.parametrize(
    ("attempt", "code", "least", "most"),
    [
        (1, "002016095", 1, 2),  # internal error: a new attempt may succeed, after at most 2 s
        (2, "002016099", 2, 4),  # the second wait is doubled
        (1, "1302", 1, 2),  # Kling: too fast
        (1, "1303", 1, 2),  # Kling: too many tasks in flight
        (3, "002016095", None, None),  # all attempts used
        (9, "002016095", None, None),  # a person retried beyond the limit: no automatic attempt follows
        (1, "002016001", None, None),  # prompt missing: every attempt would fail
        (1, "2016095", None, None),  # not padded, which `schemas` would do: an unknown code is permanent
        (1, "1301", None, None),  # content policy
        (1, "", None, None),  # no code given
    ],
)
def test_a_new_attempt_follows_a_transient_error_after_a_growing_wait(
    attempt: int, code: str, least: float | None, most: float | None
) -> None:
    for random, expected in ((0.0, least), (1.0, most)):
        waits = policy.next_attempts(code, SETTINGS, random)
        assert (waits[attempt - 1] if attempt <= len(waits) else None) == expected


@pytest.mark.parametrize(
    ("polls", "longest"),
    [
        (0, 10.0),  # the second poll: the first comes `poll_first` after the submission
        (1, 20.0),  # doubled
        (2, 30.0),  # capped by poll_max
        (10**6, 30.0),  # still capped
    ],
)
def test_polls_back_off_up_to_poll_max(polls: int, longest: float) -> None:
    assert policy.next_poll(polls, SETTINGS, 1.0) == longest
    assert policy.next_poll(polls, SETTINGS, 0.0) == longest / 2  # jitter takes away half at most


def test_polls_never_wait_longer_than_poll_max() -> None:
    assert policy.next_poll(0, Settings(poll_first=100, poll_max=30), 1.0) == 30


@pytest.mark.parametrize(
    ("lookups", "grace", "random", "wait"),
    [
        (0, 10, 0.0, 5),  # the first two look-ups share the grace
        (1, 10, 0.9, 5),  # without jitter, so that both are within it
        (2, 10, 1.0, 10),  # later ones back off
        (9, 10, 1.0, 30),  # up to poll_max
        (0, 0, 0.0, 0.2),  # no grace: soon, but not in a tight loop
        (5, 200, 1.0, 100),  # a grace longer than poll_max sets the pace
    ],
)
def test_look_ups_share_the_grace_and_then_back_off(lookups: int, grace: float, random: float, wait: float) -> None:
    assert policy.next_lookup(lookups, Settings(lookup_grace=grace, poll_max=30), random) == wait


@pytest.mark.parametrize(("seconds", "wait"), [(9.99, 5.0), (10.0, policy.AFTER_GRACE), (3600.0, policy.AFTER_GRACE)])
def test_after_the_grace_the_second_look_up_comes_soon(seconds: float, wait: float) -> None:
    assert policy.next_lookup(1, Settings(lookup_grace=10, poll_max=30), 0.999, seconds) == wait


@pytest.mark.parametrize(
    ("lookups", "seconds", "absent"),
    [
        (1, 3600.0, False),  # one look-up is never enough
        (2, 9.99, False),  # many within the grace are not enough
        (50, 9.99, False),
        (2, 10.0, True),  # two, and the grace is over
    ],
)
def test_a_task_is_absent_after_two_look_ups_and_the_grace(lookups: int, seconds: float, absent: bool) -> None:
    assert policy.absent_beyond_doubt(lookups, seconds, SETTINGS) is absent


@pytest.mark.parametrize(
    ("failures", "longest"),
    [
        (0, 2.0),  # the first wait is short
        (5, 64.0),  # doubled
        (20, 3600.0),  # hourly
        (28, 3600.0),  # the last wait
        (29, None),  # given up after a day
    ],
)
def test_deliveries_back_off_and_are_given_up_after_a_day(failures: int, longest: float | None) -> None:
    assert policy.next_delivery(failures, 1.0) == longest


@given(st.floats(0.01, 1e6), st.floats(0.01, 1e6), st.integers(0, 10**9), st.floats(0, 1, exclude_max=True))
def test_backoff_is_between_half_and_the_whole_wait(base: float, cap: float, count: int, random: float) -> None:
    wait = policy.backoff(base, cap, count, random)
    assert min(base, cap) / 2 <= wait <= cap


def test_two_look_ups_fit_into_the_grace() -> None:
    first, second = (policy.next_lookup(lookups, SETTINGS, 0.999) for lookups in (0, 1))
    assert first + second <= SETTINGS.lookup_grace
