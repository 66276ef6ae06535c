"""The timeline of a job: what Redis appends, and how it is read."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.fields import Field
from jobs.job import Job, Result
from jobs.new_job import NewJob
from jobs.serializers.jobs import serialize_timeline
from jobs.states import State
from jobs.store.lua_source import assemble
from jobs.timeline import CAUSES, LONGEST, NAMES, Event, decode, timeline_of
from jobs.units import from_micros
from tests.support.bench import CLOCK, IMAGES, START, Bench

LETTERS = sorted(value for name, value in vars(Event).items() if name.isupper())
#: Appends events, given as letter, µs since the last one, cause and person, and returns the two fields.
APPEND = """
local job, now = RECORD{created_at = ARGV[1]}, tonumber(ARGV[1])
for i = 2, #ARGV, 4 do
  now = now + tonumber(ARGV[i + 1])
  caused_by = ''
  act_because(ARGV[i + 2])
  act_for(ARGV[i + 3])
  local change = {}
  note_event(job, change, ARGV[i], now)
  for field, value in pairs(change) do job[field] = value end
end
return {job.timeline_before or '', job.timeline or ''}
"""
happenings = st.tuples(
    st.sampled_from(LETTERS),
    st.one_of(st.integers(0, 50_000), st.integers(0, 10**10), st.integers(0, 10**14)),
    st.sampled_from(["", *CAUSES]),
    st.one_of(st.just(""), st.text(max_size=40), st.sampled_from(["3f2a9c1b7d5e", "env-0aB1C2d3", "ann", "(A1)*2"])),
)


@pytest.fixture
def append(bench: Bench) -> Callable[[Any], list[str]]:
    script = bench.raw.register_script(assemble(APPEND, bench.keys, CLOCK))

    def run(events: Any) -> list[str]:
        args = [part for each in events for part in each]
        before, text = script(keys=[bench.keys.prefix], args=[START, *args])
        return [before, text]

    return run


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(events=st.lists(happenings, max_size=60))
def test_the_length_is_bounded_and_the_last_event_is_exact(
    append: Callable[[Any], list[str]], events: list[tuple[str, int, str, str]]
) -> None:
    before, text = append(events)

    found = list(decode(from_micros(START), before + text))

    assert all(len(each.encode()) <= LONGEST for each in (before, text))
    assert [each.at for each in found] == sorted(each.at for each in found)
    assert sum(each.count for each in found) <= len(events)
    if events:
        passed = timedelta(microseconds=sum(each[1] for each in events))
        assert abs(found[-1].at - from_micros(START) - passed) < timedelta(milliseconds=1)
        assert found[-1].event == {value: name.lower() for name, value in vars(Event).items()}[events[-1][0]]
        if not events[-1][3]:
            assert found[-1].cause == (events[-1][2] or None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(events=st.lists(happenings, max_size=6))
def test_a_short_past_is_complete(append: Callable[[Any], list[str]], events: list[tuple[str, int, str, str]]) -> None:
    events = [(letter, after % 60_000_000, cause, by[:6]) for letter, after, cause, by in events]

    found = list(decode(from_micros(START), "".join(append(events))))

    assert sum(each.count for each in found) == len(events)
    repeated = [each.event for each in found for _ in range(each.count)]
    assert repeated == [NAMES[NAMES.index(name)] for name in map(_name, (each[0] for each in events))]


def _name(letter: str) -> str:
    return next(name.lower() for name, value in vars(Event).items() if value == letter)


def test_repeats_are_counted_and_the_ends_stay(append: Callable[[Any], list[str]]) -> None:
    looks = [("L", 60_000_000, "", "")] * 37
    refusals = [("Q", 1_000, "", ""), ("A", 2_000, "", ""), ("S", 3_000, "", "")] * 50
    before, text = append(
        [("A", 5, "", ""), ("H", 9, "", "ann"), *refusals, ("P", 7, "", ""), *looks, ("C", 8, "poll", "")]
    )

    found = [(each.event, each.count, each.by, each.cause) for each in decode(from_micros(START), before + text)]

    assert found[-3:] == [("in_progress", 1, None, None), ("looked_up", 37, None, None), ("completed", 1, None, "poll")]
    assert ("paused", 1, "ann", None) in found
    assert sum(count for event, count, *_ in found if event == "submitting") == 50


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    for each in decode(datetime(2026, 1, 1, tzinfo=UTC), text):
        assert each.event in NAMES


def events(bench: Bench, job_id: str = "fox") -> list[str]:
    return [each["event"] for each in serialize_timeline(bench.store.jobs.get(job_id))]


def test_a_life_by_callback(bench: Bench) -> None:
    claim = bench.claimed(owed="n")
    bench.forward(1.5)
    bench.store.attempts.mark_in_progress("fox", claim.fence, "t1")
    bench.forward(20)
    bench.store.attempts.finish("fox", State.COMPLETED, IMAGES, "callback")
    (due,) = bench.store.deliveries.claim(["fox"])
    bench.store.deliveries.record(due, "n")

    past = timeline_of(bench.store.jobs.get("fox"))

    assert [each.event for each in past] == [
        "accepted", "admitted", "submitting", "in_progress", "completed", "notified"
    ]  # fmt: skip
    assert [(each.at - past[0].at).total_seconds() for each in past[2:5]] == [0, 1.5, 21.5]
    assert [each.cause for each in past[3:5]] == [None, "callback"]
    assert len(bench.fields("fox")[Field.TIMELINE]) < LONGEST


def test_who_did_what_by_hand(bench: Bench) -> None:
    bench.job()
    bench.store.jobs.pause("fox", by="3f2a9c1b7d5e")
    bench.store.jobs.resume("fox", by="3f2a9c1b7d5e")
    bench.store.jobs.cancel("fox", by="ann")
    bench.store.jobs.retry("fox", by="bob")

    past = timeline_of(bench.store.jobs.get("fox"))

    assert [(each.event, each.by) for each in past[1:]] == [
        ("paused", "3f2a9c1b7d5e"), ("resumed", "3f2a9c1b7d5e"), ("cancelled", "ann"), ("retried", "bob")
    ]  # fmt: skip


def test_a_batch_that_is_cancelled_names_who_did_it(bench: Bench) -> None:
    bench.store.jobs.enqueue([NewJob(id="fox", text="{}", model="m")], "b")
    bench.store.batches.cancel("b", by="ann")

    assert timeline_of(bench.store.jobs.get("fox"))[-1].by == "ann"


def test_failed_attempts_and_lookups(bench: Bench) -> None:
    claim = bench.claimed()
    bench.store.attempts.mark_in_doubt("fox", claim.fence, "read timed out")
    for _ in range(3):
        bench.store.attempts.reschedule_lookup(bench.due(), 5)
    bench.store.attempts.finish("fox", State.FAILED, Result(error={"code": "1302", "message": "busy"}), "poll")

    past = timeline_of(bench.store.jobs.get("fox"))

    assert [(each.event, each.count, each.cause) for each in past[3:]] == [
        ("in_doubt", 1, None), ("looked_up", 3, None), ("next_attempt", 1, "poll")
    ]  # fmt: skip


def test_a_record_of_an_earlier_version_has_what_its_fields_tell(bench: Bench) -> None:
    fields = {Field.STATE: "failed", Field.MODEL: "m", Field.CREATED_AT: f"{START}", Field.UPDATED_AT: f"{START}"}
    fields |= {
        Field.ENDED_AT: f"{START + 9_000_000}",
        Field.STARTED_AT: f"{START + 4_000_000}",
        Field.SETTLED_BY: "poll",
    }

    past = timeline_of(Job.from_fields("fox", fields))

    assert [(each.event, each.cause) for each in past] == [("accepted", None), ("submitting", None), ("failed", "poll")]
