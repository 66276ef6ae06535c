"""The history of ends: counted once, by minute, then by hour, in all and for each owner."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import history as counters
from jobs.history import FIRST_BOUND, HOURS_KEPT, MINUTES_KEPT, MOST_BUCKET, Durations, Period, bounds, read_period
from jobs.job import Result
from jobs.states import State
from jobs.store.lua_source import assembled
from tests.support.bench import IMAGES, Bench


def now(bench: Bench) -> datetime:
    return datetime.fromtimestamp(bench.now / 1e6, UTC)


def end(bench: Bench, job_id: str, waited: float, took: float, *, cause: str = "callback", owner: str = "") -> None:
    bench.job(job_id, owner=owner)
    bench.forward(waited)
    claim = bench.claimed(job_id)
    bench.store.attempts.mark_in_progress(job_id, claim.fence, f"task of {job_id}")
    bench.forward(took)
    bench.store.attempts.finish(job_id, State.COMPLETED, IMAGES, cause)


def total(periods: Sequence[Period]) -> int:
    return sum(sum(each.ended.values()) for each in periods)


def test_ends_are_counted_with_what_settled_them_and_how_long_they_took(bench: Bench) -> None:
    end(bench, "a", 3, 20, owner="shop")
    end(bench, "b", 3, 20, cause="poll", owner="other")
    bench.job("c", owner="shop")
    bench.store.jobs.cancel("c")

    (period,) = bench.store.history.hours(1, now=now(bench))

    assert period.ended == {State.COMPLETED: 2, State.CANCELLED: 1}
    assert period.settled_by == {"callback": 1, "poll": 1}
    assert (period.waited.count, period.took.count) == (2, 2)
    assert period.waited.quantile(0.5) == pytest.approx(3, rel=0.25)
    assert period.took.quantile(0.95) == pytest.approx(20, rel=0.25)
    assert total(bench.store.history.minutes(5, "shop", now(bench))) == 2
    assert total(bench.store.history.minutes(5, "nobody", now(bench))) == 0


def test_a_repeated_end_counts_once_and_a_retried_job_ends_again(bench: Bench) -> None:
    bench.put(State.FAILED)
    bench.store.attempts.finish("fox", State.FAILED, Result(error={"code": "x", "message": "no"}), "poll")
    assert total(bench.store.history.minutes(5, now=now(bench))) == 1

    bench.store.jobs.retry("fox")
    claim = bench.claimed()
    bench.store.attempts.finish(claim.external_task_id, State.COMPLETED, IMAGES, "callback")

    periods = bench.store.history.minutes(5, now=now(bench))
    assert total(periods) == 2
    assert sum(each.waited.count for each in periods) == 1  # only the first submission says how long it waited


def test_minutes_become_hours_and_hours_are_forgotten(bench: Bench) -> None:
    end(bench, "a", 1, 5)
    begun = now(bench)
    end(bench, "b", 1, 5)
    hours = bench.store.history.hours(3, now=now(bench))
    assert total(hours) == 2
    assert not bench.store.history.roll()

    bench.forward(MINUTES_KEPT * 60)
    while bench.store.history.roll():
        pass

    assert total(bench.store.history.minutes(MINUTES_KEPT, now=now(bench))) == 0
    periods = bench.store.history.hours(4, now=now(bench))
    assert total(periods) == 2
    assert [each.at for each in periods if each.ended] == [each.at for each in hours if each.ended]
    assert periods[-1].at <= now(bench) < periods[-1].at + timedelta(hours=1)
    assert any(each.at <= begun < each.at + timedelta(hours=1) and each.ended for each in periods)
    bench.forward(HOURS_KEPT * 3600)
    bench.store.history.roll()
    assert not bench.raw.keys("{b}:hh:*")
    assert not bench.raw.exists(bench.keys.singleton("ended_hours"), bench.keys.singleton("ended_minutes"))
    assert bench.audit() == []


def test_cells_are_bounded_and_nothing_is_lost(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "MOST_CELLS", 3)
    assembled.cache_clear()
    small = bench.with_settings()
    try:
        for number in range(9):
            bench.job(f"j{number}", owner=f"owner {number}")
            small.jobs.cancel(f"j{number}")
    finally:
        assembled.cache_clear()

    assert total(small.history.minutes(5, now=now(bench))) == 9
    (key,) = bench.raw.keys("{b}:hm:*")
    assert bench.raw.hlen(key) <= 4


def test_damaged_counters_stop_no_job(bench: Bench) -> None:
    bench.raw.set(bench.keys.member("ended_minute", str(bench.now // 60_000_000)), "text")
    bench.put(State.COMPLETED)

    assert total(bench.store.history.minutes(5, now=now(bench))) == 0
    bench.forward((MINUTES_KEPT + 1) * 60)
    bench.store.history.roll()
    end(bench, "b", 1, 1)
    assert total(bench.store.history.minutes(5, now=now(bench))) == 1


@given(st.lists(st.floats(0.0, 200_000), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_is_in_the_bucket_of_the_exact_one(times: list[float], share: float) -> None:
    buckets: dict[int, int] = {}
    for each in times:
        bucket = next(number for number in range(MOST_BUCKET + 1) if each < bounds(number)[1])
        buckets[bucket] = buckets.get(bucket, 0) + 1
    rank = max(1, -int(-share * len(times) // 1))
    exact = sorted(times)[rank - 1]

    found = Durations(buckets).quantile(share)

    assert found is not None
    first, last = next(bounds(number) for number in range(MOST_BUCKET + 1) if exact < bounds(number)[1])
    assert first <= found <= last


@pytest.mark.parametrize("seconds", [0, 0.1, 0.25, 0.3, 1, 21, 3600, 1e9])
def test_redis_counts_in_the_same_buckets(bench: Bench, seconds: float) -> None:
    end(bench, "a", 0, seconds)
    (period,) = [each for each in bench.store.history.minutes(3, now=now(bench)) if each.ended]

    (bucket,) = period.took.buckets
    first, last = bounds(bucket)

    assert first <= max(seconds, 0) + 1e-6
    assert seconds < last or bucket == MOST_BUCKET
    assert bounds(0) == (0.0, FIRST_BOUND)


@given(st.dictionaries(st.text(max_size=30), st.text(max_size=5)))
def test_any_cells_can_be_read(row: dict[str, str]) -> None:
    read_period(datetime(2026, 1, 1, tzinfo=UTC), 60, [row], None)
