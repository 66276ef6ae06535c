"""Which trouble follows from which signs of life. Times are seconds before now."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.liveness import (
    BLAME_BEAT_AFTER,
    NEVER_READ_AFTER,
    SILENT_AFTER,
    STALLED_AFTER,
    UNREAD_AFTER,
    Pulse,
    TroubleCode,
    blocking,
    find_troubles,
)
from jobs.task_names import DELIVER, RECONCILE, SUBMIT

NOW = 1_700_000_000.0
ALL = (SUBMIT, RECONCILE, DELIVER, "celery")
LATE = STALLED_AFTER + 1


def pulse(
    round_: float | None = 0.5,
    *,
    reads: float | dict[str, float] | None = 1.0,
    busy: float | None = None,
    cut_off: float | None = None,
    first: float | None = 3600.0,
    refusal: str = "",
) -> Pulse:
    """Make a pulse from ages in seconds; `reads`: one for all queues, or one for each."""

    def at(age: float | None) -> float | None:
        return None if age is None else NOW - age

    ages = reads if isinstance(reads, dict) else {} if reads is None else dict.fromkeys(ALL, reads)
    return Pulse(
        now=NOW,
        round_at=at(round_),
        first_heartbeat=at(first),
        read_at={queue: NOW - age for queue, age in ages.items()},
        busy_at=at(busy),
        cut_off_at=at(cut_off),
        refusal=refusal,
    )


WITHOUT = {queue: dict.fromkeys([each for each in ALL if each != queue], 1.0) for queue in ALL}


@pytest.mark.parametrize(
    ("signs", "code"),
    [
        pytest.param({}, None, id="all is well"),
        pytest.param({"round_": STALLED_AFTER}, None, id="late, but not late enough"),
        pytest.param({"busy": 1.0}, None, id="a busy worker that runs rounds"),
        pytest.param({"cut_off": 1.0}, None, id="one of two workers has lost the broker"),
        pytest.param({"reads": None, "first": None}, None, id="workers of an earlier version write no heartbeats"),
        pytest.param({"reads": 3600.0}, None, id="only workers of an earlier version are left"),
        # Before the first round
        pytest.param({"round_": None, "first": 3.0}, None, id="the first worker has just started"),
        pytest.param({"round_": None, "first": 60.0}, "beat_away", id="beat was never started"),
        pytest.param({"round_": None, "first": None, "reads": None}, None, id="nothing was ever started"),
        # No rounds
        pytest.param({"round_": LATE, "reads": LATE}, "no_worker", id="the worker stopped"),
        pytest.param({"round_": 1e6, "reads": 1e6}, "no_worker", id="the worker stopped days ago"),
        pytest.param({"round_": LATE, "reads": None, "first": None}, "no_worker", id="an earlier version's stopped"),
        pytest.param({"round_": 45.0, "reads": SILENT_AFTER + 0.1, "busy": 11.0}, "no_worker", id="it stopped busy"),
        pytest.param({"round_": LATE}, "stalled", id="workers answer, and may not have noticed the broker yet"),
        pytest.param({"round_": BLAME_BEAT_AFTER + 2}, "beat_away", id="workers answer for long, without rounds"),
        pytest.param({"round_": 45.0, "cut_off": 40.0}, "beat_away", id="workers have lost the broker, and found it"),
        pytest.param({"round_": 45.0, "busy": 1.0}, "workers_busy", id="all threads are in use"),
        pytest.param({"round_": 45.0, "reads": 40.0, "cut_off": 1.0}, "broker_away", id="workers have no broker"),
        pytest.param({"round_": 45.0, "reads": 40.0, "cut_off": 40.0}, "no_worker", id="they had none, and stopped"),
        pytest.param({"round_": 45.0, "reads": WITHOUT[RECONCILE]}, "queue_unread", id="rounds are read by no worker"),
        pytest.param({"round_": 3600.0, "refusal": "Redis is empty"}, "refused", id="the reason is known"),
        # Rounds run, but not all queues are read
        pytest.param({"reads": WITHOUT[SUBMIT]}, "queue_unread", id="submissions are never read"),
        pytest.param({"reads": WITHOUT[SUBMIT] | {SUBMIT: 29.0}}, None, id="their worker restarts"),
        pytest.param({"reads": WITHOUT[DELIVER] | {DELIVER: UNREAD_AFTER + 1}}, "queue_unread", id="deliveries"),
        pytest.param({"reads": WITHOUT["celery"]}, None, id="a queue that an installation may not need"),
        pytest.param({"reads": {RECONCILE: 1.0}, "first": 5.0}, None, id="the others start later"),
        # Workers of an earlier version read the other queues, and write no heartbeats
        pytest.param({"reads": WITHOUT[RECONCILE]}, None, id="an earlier version's worker runs rounds"),
        pytest.param({"reads": WITHOUT[RECONCILE] | {RECONCILE: 3600.0}}, None, id="it does again, after a downgrade"),
        pytest.param({"reads": WITHOUT[SUBMIT], "first": NEVER_READ_AFTER}, None, id="a deploy, worker by worker"),
        pytest.param({"reads": WITHOUT[DELIVER], "first": NEVER_READ_AFTER + 1}, "queue_unread", id="for too long"),
        # Redis failed over to a server whose clock is behind
        pytest.param({"round_": -3600.0, "reads": -3600.0}, "no_worker", id="signs from the future are no signs"),
        pytest.param({"round_": -0.2, "reads": -0.2}, None, id="the clocks differ by a little"),
    ],
)
def test_the_signs_of_life_name_the_trouble(signs: dict[str, Any], code: str | None) -> None:
    troubles = find_troubles(pulse(**signs))
    assert [trouble.code for trouble in troubles] == ([code] if code else [])
    # Jobs whose end cannot be delivered are still submitted
    assert bool(blocking(troubles)) == (code is not None and DELIVER not in troubles[0].what)


@pytest.mark.parametrize(
    ("signs", "answers", "codes"),
    [
        ({}, True, []),
        ({}, False, ["broker_away"]),
        ({"round_": 45.0, "reads": 45.0}, False, ["broker_away"]),
        ({"round_": 45.0, "reads": 45.0}, True, ["no_worker"]),
        ({"refusal": "Redis is empty"}, False, ["refused"]),
    ],
)
def test_a_broker_that_does_not_answer_is_the_cause(signs: dict[str, Any], answers: bool, codes: list[str]) -> None:
    assert [trouble.code for trouble in find_troubles(pulse(**signs), broker_answers=answers)] == codes


AGES = st.none() | st.floats(-10, 1e7)


@given(round_=AGES, reads=AGES, busy=AGES, cut_off=AGES, first=AGES)
def test_rounds_that_run_are_never_called_a_stall_and_missing_ones_always(**ages: float | None) -> None:
    codes = {trouble.code for trouble in find_troubles(pulse(**ages))}  # type: ignore[arg-type]
    late = ages["first"] if ages["round_"] is None else ages["round_"]
    stalled = late is not None and abs(late) > STALLED_AFTER
    assert bool(codes - {TroubleCode.QUEUE_UNREAD}) == stalled or codes == {TroubleCode.QUEUE_UNREAD}
    assert len(codes) <= 1


@given(st.lists(st.sampled_from(list(range(0, 40, 2))), min_size=2, max_size=2).map(sorted))
def test_the_text_stays_the_same_while_a_stall_lasts(later: list[int]) -> None:
    """Each change of a batch's reason is sent to everybody who follows the batch."""
    texts = {
        find_troubles(
            Pulse(now=NOW + seconds, round_at=NOW - 45, read_at=dict.fromkeys(ALL, NOW - 45), first_heartbeat=NOW - 99)
        )
        for seconds in later
    }
    assert len(texts) == 1
