"""What a worker makes of what Redis holds, by what was seen of it: pure decisions."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.store.installation import Fate, Judgement, Sighting, Standing, judge

A, B = "a" * 32, "b" * 32
#: Seconds of the jobs' Redis, in µs.
SECOND = 1_000_000
SEEN = Sighting(installation=A, epoch=2, accepted=100, last="5-0", at=1000 * SECOND)


def there(**changes: Any) -> Standing:
    """As at the sighting, a little later."""
    as_seen = Standing(
        now=1001 * SECOND,
        installation=A,
        epoch=2,
        accepted=100,
        last="5-0",
        round_at=1000 * SECOND,
        has_jobs=True,
        fates=((Fate.KNOWN, 0),),
    )
    return replace(as_seen, **changes)


EMPTY: dict[str, Any] = {
    "installation": "",
    **dict.fromkeys(("epoch", "accepted", "round_at"), 0),
    "last": "",
    "has_jobs": False,
    "fates": ((Fate.GONE, 0),),
}


@pytest.mark.parametrize(
    ("changes", "judgement", "lost_jobs"),
    [
        pytest.param({}, Judgement.SOUND, 0, id="as it was seen"),
        pytest.param({"accepted": 130, "last": "9-0"}, Judgement.SOUND, 0, id="it went on"),
        pytest.param({"epoch": 3, "restarted": True}, Judgement.SOUND, 0, id="a restart that lost nothing"),
        pytest.param({"fates": ((Fate.TRIMMED, 0),), "accepted": 130}, Judgement.SOUND, 0, id="the stream is bounded"),
        pytest.param(EMPTY, Judgement.LOST, 100, id="empty"),
        pytest.param({"installation": ""}, Judgement.LOST, 0, id="only the record is gone"),
        pytest.param({"installation": B}, Judgement.LOST, 0, id="another installation"),
        pytest.param({**EMPTY, "is_witness": True}, Judgement.LOST, 0, id="the broker"),
        pytest.param({"fates": ((Fate.UNKNOWN, 0),), "accepted": 90}, Judgement.OLDER, 10, id="older, jobs are gone"),
        pytest.param({"fates": ((Fate.UNKNOWN, 0),)}, Judgement.OLDER, 0, id="older, changes are gone"),
        pytest.param({"fates": ((Fate.GONE, 0),)}, Judgement.OLDER, 0, id="the stream is gone"),
        pytest.param({"accepted": 99}, Judgement.OLDER, 1, id="fewer jobs"),
        pytest.param({"epoch": 1}, Judgement.OLDER, 0, id="an earlier epoch"),
        # New jobs hide nothing: those from after the loss do not count as those from before
        pytest.param({"fates": ((Fate.UNKNOWN, 50),), "accepted": 140}, Judgement.OLDER, 10, id="older, and went on"),
        pytest.param({"fates": ((Fate.TRIMMED, 0),), "accepted": 90}, Judgement.OLDER, 10, id="fewer, and bounded"),
        pytest.param({**EMPTY, "trusted": 2000 * SECOND}, Judgement.NEW, 0, id="empty, and accepted"),
        pytest.param(
            {"accepted": 90, "fates": ((Fate.UNKNOWN, 0),), "trusted": 2000 * SECOND},
            Judgement.SOUND,
            0,
            id="an operator has accepted the older one",
        ),
        pytest.param({"installation": B, "trusted": 2000 * SECOND}, Judgement.SOUND, 0, id="or the other one"),
    ],
)
def test_what_is_there_against_what_was_seen(changes: dict[str, Any], judgement: Judgement, lost_jobs: int) -> None:
    verdict = judge(there(**changes), [SEEN])
    assert (verdict.judgement, verdict.lost_jobs) == (judgement, lost_jobs)
    assert bool(verdict.reason) == (judgement in (Judgement.LOST, Judgement.OLDER))


def test_where_nobody_has_seen_anything() -> None:
    # Then an empty one begins, and what is there (an older version's jobs, too) is taken as it is
    assert judge(there(**{**EMPTY, "fates": ()}), []).judgement is Judgement.NEW
    assert judge(there(installation="", fates=()), []).judgement is Judgement.NEW
    assert judge(there(fates=()), []).judgement is Judgement.SOUND


def test_a_broker_of_two_installations() -> None:
    other = replace(SEEN, installation=B)
    both = ((Fate.KNOWN, 0), (Fate.UNKNOWN, 0))
    # Each is compared with what was seen of itself
    assert judge(there(fates=both), [SEEN, other]).judgement is Judgement.SOUND
    assert judge(there(fates=both, installation=B), [SEEN, other]).judgement is Judgement.OLDER
    # and one that nobody has seen is not taken for granted
    assert judge(there(fates=both, installation="c" * 32), [SEEN, other]).judgement is Judgement.LOST


def test_how_much_older() -> None:
    verdict = judge(there(fates=((Fate.UNKNOWN, 0),), round_at=997 * SECOND), [SEEN])
    assert verdict.seconds == 3.0
    assert (
        judge(
            there(
                **EMPTY,
            ),
            [SEEN],
        ).expected
        == SEEN
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"installation": "a"}', '{"installation": "a", "epoch": []}'])
def test_a_damaged_sighting_says_nothing(text: str) -> None:
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
def test_a_sighting_is_read_back_as_it_was_written(sighting: Sighting) -> None:
    assert Sighting.from_json(sighting.to_json()) == sighting
