import re

import pytest

from jobs.states import FINAL, HOLDS_SLOTS, TRANSITIONS, State
from jobs.store.lua_source import assemble
from tests.support.bench import CLOCK, Bench


def test_every_state_is_in_the_table_and_every_transition_has_a_reason() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(re.search(r"\w", why) for following in TRANSITIONS.values() for why in following.values())


def test_every_state_is_reachable_and_every_unfinished_one_can_end() -> None:
    reached, new = set(), {State.QUEUED}
    while new:
        reached |= new
        new = {after for state in new for after in TRANSITIONS[state]} - reached
    assert reached == set(State)
    assert all(FINAL & TRANSITIONS[state].keys() for state in State if not state.final)


def test_nothing_leaves_completed() -> None:
    assert TRANSITIONS[State.COMPLETED] == {}


def test_exactly_the_jobs_at_the_provider_use_slots() -> None:
    assert set(State) - FINAL - {State.QUEUED} == HOLDS_SLOTS


@pytest.mark.parametrize("before", list(State), ids=lambda state: state.value)
@pytest.mark.parametrize("after", list(State), ids=lambda state: state.value)
def test_lua_refuses_transitions_that_are_not_in_the_table(bench: Bench, before: State, after: State) -> None:
    # The record of an ended job may be written again in the same state.
    if after in TRANSITIONS[before] or (before is after and before.final):
        return
    bench.put(before)
    stored = bench.dump()
    body = "local job = load(ARGV[1]); move(job, ARGV[2], {}, clock(), nil)"
    with pytest.raises(Exception, match=f"no transition from {before} to {after} for fox"):
        bench.raw.eval(assemble(body, bench.keys, CLOCK), 1, bench.keys.prefix, "fox", after)
    assert bench.dump() == stored
