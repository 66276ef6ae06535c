import re

import pytest

from jobs.states import FINAL, HOLDS_SLOTS, TRANSITIONS, State
from jobs.store.lua_source import assemble
from tests.support.bench import CLOCK, Bench


def test_every_state_has_its_row_and_every_edge_its_reason() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(re.search(r"\w", why) for following in TRANSITIONS.values() for why in following.values())


def test_every_state_is_reached_and_every_unfinished_one_can_end() -> None:
    reached, new = set(), {State.QUEUED}
    while new:
        reached |= new
        new = {after for state in new for after in TRANSITIONS[state]} - reached
    assert reached == set(State)
    assert all(FINAL & TRANSITIONS[state].keys() for state in State if not state.final)


def test_completed_is_for_good() -> None:
    assert TRANSITIONS[State.COMPLETED] == {}


def test_a_job_at_the_provider_holds_slots_and_no_other() -> None:
    assert set(State) - FINAL - {State.QUEUED} == HOLDS_SLOTS


@pytest.mark.parametrize("before", list(State), ids=lambda state: state.value)
@pytest.mark.parametrize("after", list(State), ids=lambda state: state.value)
def test_lua_refuses_what_is_not_in_the_table(bench: Bench, before: State, after: State) -> None:
    # A cancelled or expired job's record may be written again without moving.
    if after in TRANSITIONS[before] or (before is after and before.final):
        return
    bench.put(before)
    kept = bench.dump()
    body = "local job = load(ARGV[1]); move(job, ARGV[2], {}, clock(), nil)"
    with pytest.raises(Exception, match=f"no transition from {before} to {after} for fox"):
        bench.raw.eval(assemble(body, bench.keys, CLOCK), 1, bench.keys.prefix, "fox", after)
    assert bench.dump() == kept
