import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import policy
from jobs.settings import Settings

SETTINGS = Settings(max_attempts=3, poll_first=5, poll_max=30, lookup_grace=10)


@pytest.mark.parametrize(
    ("attempt", "code", "least", "most"),
    [
        (1, "002016095", 1, 2),  # internal error: worth it, after 2 s at most
        (2, "002016099", 2, 4),  # the second wait is doubled
        (1, "1302", 1, 2),  # Kling: too fast
        (1, "1303", 1, 2),  # Kling: too many in flight
        (3, "002016095", None, None),  # all attempts used
        (9, "002016095", None, None),  # retried by hand beyond them: no further one by itself
        (1, "002016001", None, None),  # prompt missing: the same again would fail the same way
        (1, "2016095", None, None),  # not padded: schemas pads; an unknown code is permanent
        (1, "1301", None, None),  # content policy
        (1, "", None, None),  # no code given
    ],
)
def test_next_attempt(attempt: int, code: str, least: float | None, most: float | None) -> None:
    assert policy.next_attempt(attempt, code, SETTINGS, 0.0) == least
    nearly = policy.next_attempt(attempt, code, SETTINGS, 1.0)
    assert nearly == most


@pytest.mark.parametrize(
    ("polls", "longest"),
    [
        (0, 10.0),  # the first is `poll_first` after the submission; this is the second
        (1, 20.0),  # doubled
        (2, 30.0),  # capped by poll_max
        (10**6, 30.0),  # for ever
    ],
)
def test_next_poll(polls: int, longest: float) -> None:
    assert policy.next_poll(polls, SETTINGS, 1.0) == longest
    assert policy.next_poll(polls, SETTINGS, 0.0) == longest / 2  # the jitter keeps a floor of half


def test_polls_never_wait_longer_than_poll_max() -> None:
    assert policy.next_poll(0, Settings(poll_first=100, poll_max=30), 1.0) == 30


@pytest.mark.parametrize(
    ("looks", "grace", "random", "wait"),
    [
        (0, 10, 0.0, 5),  # the first two looks share the grace
        (1, 10, 0.9, 5),  # without jitter, so that they do fall into it
        (2, 10, 1.0, 10),  # then they back off
        (9, 10, 1.0, 30),  # up to poll_max
        (0, 0, 0.0, 0.2),  # no grace: soon, but never in a tight loop
        (5, 200, 1.0, 100),  # a grace longer than poll_max sets the pace
    ],
)
def test_next_look(looks: int, grace: float, random: float, wait: float) -> None:
    assert policy.next_lookup(looks, Settings(lookup_grace=grace, poll_max=30), random) == wait


@pytest.mark.parametrize(("seconds", "wait"), [(9.99, 5.0), (10.0, policy.AFTER_GRACE), (3600.0, policy.AFTER_GRACE)])
def test_after_the_grace_the_second_look_comes_soon(seconds: float, wait: float) -> None:
    assert policy.next_lookup(1, Settings(lookup_grace=10, poll_max=30), 0.999, seconds) == wait


@pytest.mark.parametrize(
    ("looks", "seconds", "absent"),
    [
        (1, 3600.0, False),  # one look is never enough, however late
        (2, 9.99, False),  # nor are many within the grace
        (50, 9.99, False),
        (2, 10.0, True),  # both
    ],
)
def test_absent_beyond_doubt(looks: int, seconds: float, absent: bool) -> None:
    assert policy.absent_beyond_doubt(looks, seconds, SETTINGS) is absent


@pytest.mark.parametrize(
    ("tries", "longest"),
    [
        (0, 2.0),  # soon again
        (5, 64.0),  # doubled
        (20, 3600.0),  # hourly
        (28, 3600.0),  # the last wait
        (29, None),  # given up after a day
    ],
)
def test_next_delivery(tries: int, longest: float | None) -> None:
    assert policy.next_delivery(tries, 1.0) == longest


@given(st.floats(0.01, 1e6), st.floats(0.01, 1e6), st.integers(0, 10**9), st.floats(0, 1, exclude_max=True))
def test_backoff_stays_within_half_and_whole(base: float, cap: float, count: int, random: float) -> None:
    wait = policy.backoff(base, cap, count, random)
    assert min(base, cap) / 2 <= wait <= cap


def test_two_looks_fit_into_the_grace() -> None:
    first, second = (policy.next_lookup(looks, SETTINGS, 0.999) for looks in (0, 1))
    assert first + second <= SETTINGS.lookup_grace
