"""Limits that change while the service runs are in force at once, survive a restart, and end by themselves."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.job import Priority
from jobs.key_limits import KeyLimits, KeyLimitsSchema
from jobs.lanes import LaneLimitsSchema, LaneSettings
from jobs.limits import SCHEMAS, Override, Subject, from_text, to_text
from jobs.store.limits import MAX_AGE
from jobs.store.store import Store
from jobs.units import from_micros
from tests.support import bench as benches
from tests.support.bench import CLOCK, Bench

START = from_micros(benches.START)
LANES = (LaneSettings(name="a", max_in_flight=2, pool=""), LaneSettings(name="b", max_in_flight=3, pool=""))


@pytest.fixture
def two_lanes(bench: Bench) -> Bench:
    return replace(bench, store=_store(bench, named_lanes=LANES))


def _store(bench: Bench, **settings: Any) -> Store:
    """Return the store of another process, with these settings."""
    context = bench.store.context
    return Store(context.client, replace(context.configured, **settings), clock=CLOCK)


def admitted(bench: Bench, lane: str, limit: int = 10) -> int:
    lanes = {each.name: each for each in bench.store.context.configured.lanes}
    return len(bench.store.attempts.admit(limit, lanes[lane]).ids)


def test_a_changed_limit_is_in_force_and_others_stay(two_lanes: Bench) -> None:
    bench = two_lanes
    for number in range(20):
        bench.job(f"j{number}")
    limits = bench.store.context.limits
    limits.change(Subject.LANE, "a", {"max_in_flight": 5}, by="boss", reason="more", expires_in=3600)
    assert admitted(bench, "a") == 5
    assert admitted(bench, "b") == 3
    (change,) = limits.overrides(Subject.LANE, "a").items()
    assert change[0] == "max_in_flight"
    assert (change[1].value, change[1].by, change[1].reason) == (5, "boss", "more")
    assert bench.store.lanes.get("a").limit == 5
    # A process that starts now has it, too.
    again = _store(bench, named_lanes=LANES)
    assert [lane.max_in_flight for lane in again.context.settings.lanes] == [5, 3]


def test_a_change_ends_by_itself_and_by_a_reset(two_lanes: Bench) -> None:
    context = two_lanes.store.context
    context.limits.change(Subject.LANE, "a", {"max_in_flight": 5, "submit_rate": 1.5}, expires_in=60)
    context.limits.change(Subject.LANE, "a", {"max_cost_per_day": Decimal("12.5")})
    assert context.settings.lanes[0] == replace(
        LANES[0], max_in_flight=5, submit_rate=1.5, max_cost_per_day=Decimal("12.5")
    )
    two_lanes.forward(61)
    fresh = _store(two_lanes, named_lanes=LANES).context
    assert fresh.settings.lanes[0] == replace(LANES[0], max_cost_per_day=Decimal("12.5"))
    fresh.limits.change(Subject.LANE, "a", {}, reset=["max_cost_per_day", "submit_rate"])
    assert fresh.settings.lanes == LANES
    assert fresh.limits.overrides(Subject.LANE, "a") == {}


@pytest.mark.slow
def test_thousands_of_limits_are_read_and_ended_ones_are_deleted(bench: Bench) -> None:
    context = bench.store.context
    texts: dict[Any, Any] = {
        f"kshop{number}|weight": to_text(
            Subject.KEY, "weight", Override(value=2, at=START, until=START + timedelta(seconds=60) if number else None)
        )
        for number in range(9_000)
    }
    context.client.hset(context.keys.singleton("limits"), mapping=texts)
    assert len(_store(bench).context.settings.key_limits) == 9_000
    bench.forward(61)
    _store(bench).context.limits.change(Subject.KEY, "press", {"weight": 3})
    assert set(_store(bench).context.settings.key_limits) == {"shop0", "press"}
    assert context.client.hlen(context.keys.singleton("limits")) == 2


def test_a_pause_begins_anew_after_one_that_has_ended(bench: Bench) -> None:
    def paused_at() -> str | None:
        return bench.raw.hget("{b}:lane:default", "paused")

    lanes = bench.store.lanes
    lanes.pause("default", expires_in=60)
    first = paused_at()
    bench.forward(30)
    lanes.pause("default", expires_in=60)
    assert paused_at() == first
    bench.forward(61)
    lanes.pause("default", expires_in=60)
    assert paused_at() != first


def test_processes_read_changes_once_in_a_while(bench: Bench) -> None:
    now = 100.0
    other = _store(bench)
    reader = other.context.limits
    reader._clock = lambda: now
    before = reader.in_force()
    bench.store.context.limits.change(Subject.KEY, "shop", {"weight": 7})
    assert reader.in_force() is before
    now += MAX_AGE
    assert reader.in_force().key_limits["shop"].weight == 7
    assert reader.in_force() is reader.in_force()


def test_a_cap_and_a_class_of_a_key_change(bench: Bench) -> None:
    context = bench.store.context
    context.limits.change(Subject.KEY, "shop", {"priority": Priority.HIGH, "max_cost_per_day": Decimal(1), "weight": 3})
    context.limits.change(Subject.KEY, "shop", {"callback_hosts": ("a.example",), "max_unfinished": 0})
    assert context.settings.key_limits["shop"] == KeyLimits(
        weight=3,
        priority=Priority.HIGH,
        max_cost_per_day=Decimal(1),
        callback_hosts=("a.example",),
        max_unfinished=0,
    )
    assert context.settings.callback_hosts("shop") == ("a.example",)
    assert context.configured.key_limits == {}


def test_a_paused_lane_submits_nothing_and_others_do(two_lanes: Bench) -> None:
    bench = two_lanes
    for number in range(20):
        bench.job(f"j{number}")
    a = bench.store.context.configured.lanes[0]
    ids = bench.store.attempts.admit(1, a).ids
    bench.store.lanes.pause("a", "new contract")
    assert bench.store.attempts.claim(ids) == []  # it was admitted, and goes back
    assert admitted(bench, "a") == 0
    assert admitted(bench, "b") == 3
    lane = bench.store.lanes.get("a")
    assert (lane.paused, lane.held, lane.held_until) == (True, True, None)
    assert "new contract" in (lane.reason or "")
    assert bench.store.lanes.resume("a")
    assert admitted(bench, "a") == 2
    assert not bench.store.lanes.get("a").held


def test_a_pause_ends_by_itself(two_lanes: Bench) -> None:
    bench = two_lanes
    bench.job("j1")
    bench.store.lanes.pause("a", expires_in=60)
    assert admitted(bench, "a") == 0
    bench.forward(61)
    assert admitted(bench, "a") == 1


def test_a_job_says_that_its_lanes_are_paused(two_lanes: Bench) -> None:
    bench = two_lanes
    bench.job("j1")
    for name in ("a", "b"):
        bench.store.lanes.pause(name, "new contract")
    assert "new contract" in (bench.store.jobs.show("j1").reason or "")


DAMAGED = ["", "{}", "null", "[]", '{"value": -1}', "\x00", '{"value": 1, "at": "x", "until": null}', "9" * 400]


@pytest.mark.parametrize("text", DAMAGED)
@pytest.mark.parametrize("field", ["la|max_in_flight", "kshop|weight", "x", "la|", "la|wings", "|", "kshop|priority"])
def test_a_damaged_change_leaves_the_configured_limit_in_force(two_lanes: Bench, field: str, text: str) -> None:
    context = two_lanes.store.context
    context.limits.change(Subject.LANE, "b", {"max_in_flight": 9})
    context.client.hset(context.keys.singleton("limits"), field, text)
    fresh = _store(two_lanes, named_lanes=LANES).context.settings
    assert fresh.lanes == (LANES[0], replace(LANES[1], max_in_flight=9))
    assert fresh.key_limits == {}


def test_a_key_of_another_type_stops_nothing(bench: Bench) -> None:
    context = bench.store.context
    context.client.set(context.keys.singleton("limits"), "x")
    assert _store(bench).context.settings == context.configured


MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001
MONEY = st.none() | st.decimals("0.01", "1000000", places=2)
VALUES: dict[Subject, dict[str, st.SearchStrategy[Any]]] = {
    Subject.LANE: {
        "max_in_flight": st.integers(0, 10**9),
        "submit_rate": st.floats(0, 1e6),
        "max_cost_per_day": MONEY,
    },
    Subject.KEY: {
        "weight": st.integers(1, 100),
        "priority": st.sampled_from(Priority),
        "max_cost_per_day": MONEY,
        "max_unfinished": st.none() | st.integers(0, 10**9),
        "max_stored": st.none() | st.integers(0, 10**12),
        "callback_hosts": st.none() | st.lists(st.sampled_from(["a.example", "*.b.example"]), min_size=1).map(tuple),
    },
}


def test_every_limit_has_values_here() -> None:
    assert {subject: set(schema().fields) for subject, schema in SCHEMAS.items()} == {
        subject: set(values) for subject, values in VALUES.items()
    }
    assert set(LaneLimitsSchema().fields) <= set(LaneSettings.__slots__)
    assert set(KeyLimitsSchema().fields) == set(KeyLimits.__slots__)


@given(st.data(), MOMENTS, st.none() | st.timedeltas(timedelta(0), timedelta(days=366)), st.text(), st.text())
def test_a_change_is_stored_and_read_as_it_was(
    data: st.DataObject, at: datetime, lasts: timedelta | None, by: str, reason: str
) -> None:
    subject = data.draw(st.sampled_from(Subject))
    name = data.draw(st.sampled_from(sorted(VALUES[subject])))
    value, until = data.draw(VALUES[subject][name]), None if lasts is None else at + lasts
    override = Override(value=value, at=at, until=until, by=by, reason=reason)
    text = to_text(subject, name, override)
    json.loads(text)
    assert from_text(subject, name, text) == override
