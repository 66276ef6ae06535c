"""A worker compares what Redis holds with the sightings: pure decisions."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.store.installation import Fate, Judgement, Sighting, Standing, Trace, judge

A, B = "a" * 32, "b" * 32
#: Seconds of the jobs' Redis, in µs.
SECOND = 1_000_000
SEEN = Sighting(installation=A, epoch=2, accepted=100, last="5-0", at=1000 * SECOND)


def standing(**changes: Any) -> Standing:
    """Return the standing one second after the sighting, with changes."""
    as_seen = Standing(
        now=1001 * SECOND,
        installation=A,
        epoch=2,
        accepted=100,
        last="5-0",
        round_at=1000 * SECOND,
        has_jobs=True,
        traces=(Trace(Fate.KNOWN),),
    )
    return replace(as_seen, **changes)


EMPTY: dict[str, Any] = {
    "installation": "",
    **dict.fromkeys(("epoch", "accepted", "round_at"), 0),
    "last": "",
    "has_jobs": False,
    "traces": (Trace(Fate.GONE),),
}


@pytest.mark.parametrize(
    ("changes", "judgement", "lost_jobs"),
    [
        pytest.param({}, Judgement.SOUND, 0, id="as it was seen"),
        pytest.param({"accepted": 130, "last": "9-0"}, Judgement.SOUND, 0, id="more jobs and changes"),
        pytest.param({"epoch": 3, "restarted": True}, Judgement.SOUND, 0, id="a restart that lost nothing"),
        pytest.param(
            {"traces": (Trace(Fate.TRIMMED),), "accepted": 130}, Judgement.SOUND, 0, id="the stream is bounded"
        ),
        pytest.param(EMPTY, Judgement.LOST, 100, id="empty"),
        pytest.param({"installation": ""}, Judgement.LOST, 0, id="only the record is gone"),
        pytest.param({"installation": B}, Judgement.LOST, 0, id="another installation"),
        pytest.param({**EMPTY, "is_witness": True}, Judgement.LOST, 0, id="the broker"),
        pytest.param(
            {"traces": (Trace(Fate.UNKNOWN),), "accepted": 90}, Judgement.OLDER, 10, id="older, jobs are gone"
        ),
        pytest.param({"traces": (Trace(Fate.UNKNOWN),)}, Judgement.OLDER, 0, id="older, changes are gone"),
        pytest.param({"traces": (Trace(Fate.GONE),)}, Judgement.OLDER, 0, id="the stream is gone"),
        pytest.param({"accepted": 99}, Judgement.OLDER, 1, id="fewer jobs"),
        pytest.param({"epoch": 1}, Judgement.OLDER, 0, id="an earlier epoch"),
        # Jobs accepted after the loss do not hide it
        pytest.param(
            {"traces": (Trace(Fate.UNKNOWN, 50),), "accepted": 140}, Judgement.OLDER, 10, id="older, with newer jobs"
        ),
        pytest.param(
            {"traces": (Trace(Fate.TRIMMED),), "accepted": 90},
            Judgement.OLDER,
            10,
            id="fewer jobs, and the change is trimmed",
        ),
        pytest.param({**EMPTY, "trusted": 2000 * SECOND}, Judgement.NEW, 0, id="empty, accepted by an operator"),
        pytest.param(
            {"accepted": 90, "traces": (Trace(Fate.UNKNOWN),), "trusted": 2000 * SECOND},
            Judgement.SOUND,
            0,
            id="older, accepted by an operator",
        ),
        pytest.param(
            {"installation": B, "trusted": 2000 * SECOND},
            Judgement.SOUND,
            0,
            id="another installation, accepted by an operator",
        ),
    ],
)
def test_the_standing_is_judged_by_the_sighting(changes: dict[str, Any], judgement: Judgement, lost_jobs: int) -> None:
    verdict = judge(standing(**changes), [SEEN])
    assert (verdict.judgement, verdict.lost_jobs) == (judgement, lost_jobs)
    assert bool(verdict.reason) == (judgement in (Judgement.LOST, Judgement.OLDER))


def test_without_a_sighting_redis_is_taken_as_it_is() -> None:
    # An empty Redis begins a new installation; existing jobs, also of an older version, are accepted
    assert judge(standing(**{**EMPTY, "traces": ()}), []).judgement is Judgement.NEW
    assert judge(standing(installation="", traces=()), []).judgement is Judgement.NEW
    assert judge(standing(traces=()), []).judgement is Judgement.SOUND


def test_a_broker_may_hold_sightings_of_two_installations() -> None:
    other = replace(SEEN, installation=B)
    both = (Trace(Fate.KNOWN), Trace(Fate.UNKNOWN))
    # Each installation is compared with its own sighting
    assert judge(standing(traces=both), [SEEN, other]).judgement is Judgement.SOUND
    assert judge(standing(traces=both, installation=B), [SEEN, other]).judgement is Judgement.OLDER
    # One without a sighting of its own counts as lost
    assert judge(standing(traces=both, installation="c" * 32), [SEEN, other]).judgement is Judgement.LOST


def test_a_verdict_states_how_much_older_the_data_are() -> None:
    def seconds(round_at: int, change_at: int) -> float:
        trace = Trace(Fate.UNKNOWN, 0, change_at * SECOND)
        return judge(standing(traces=(trace,), round_at=round_at * SECOND), [SEEN]).seconds

    # The later of the last round and the last change, where there are any
    assert seconds(997, 0) == 3
    assert seconds(997, 998) == 2
    assert seconds(0, 996) == 4
    assert judge(standing(**EMPTY), [SEEN]).expected == SEEN


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"installation": "a"}', '{"installation": "a", "epoch": []}'])
def test_a_damaged_sighting_is_ignored(text: str) -> None:
    assert Sighting.from_json(text) is None


@given(
    st.builds(
        Sighting,
        installation=st.text(),
        epoch=st.integers(0),
        accepted=st.integers(0),
        last=st.text(),
        at=st.integers(0),
    )
)
def test_sightings_round_trip(sighting: Sighting) -> None:
    assert Sighting.from_json(sighting.to_json()) == sighting
