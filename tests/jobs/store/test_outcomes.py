"""The outcome enums in Python have exactly the strings that the Lua verbs return."""

import re
from enum import StrEnum

import pytest

from jobs.store.lua_source import needed, runnable, shared_text, verb_files
from jobs.store.outcomes.table import OUTCOMES


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Verbs that return data, or nothing that their callers use.
DATA = names(
    "admit announce_saves batch bulk check claim claim_deliveries claim_due claim_events claim_notices claim_saves "
    "show_bulks repair_bulk due_events due_saves end_notification forecast notices_sent "
    "end_refusal owners parked heartbeat hold image_begun image_known image_lost images_gone images_old find_jobs "
    "probe pulse purge recover renew_saves repair_day repair_event repair_image repair_job repair_label "
    "repair_notification repair_object repair_owner repair_pool repair_queue repair_review repair_save repair_sweep "
    "roll_history "
    "slots_limits change_limits "
    "limits pause_lane standing stuck sweep unstage wait_reasons"
)
LITERAL = re.compile(r"'([a-z][a-z ]*)'")


def first_of(expression: str) -> str:
    """Return the first element of a returned expression, without arguments and comparisons."""
    expression = re.sub(r"(==|~=)\s*'[^']*'", "", expression.strip().removeprefix("{"))
    while (shorter := re.sub(r"\([^()]*\)|\[[^\[\]]*\]", "", expression)) != expression:
        expression = shorter
    return expression.partition(",")[0].partition("}")[0]


def own_outcomes(verb: str) -> set[str]:
    """Return the outcomes in the verb's own text: it returns them, or puts them into its answer."""
    text = runnable(verb_files()[verb].read_text("utf-8"))
    given = re.findall(r"\breturn ([^\n]*?)(?: end)?$", text, re.MULTILINE)
    given += re.findall(r"\b(?:outcomes|answer|outcome)(?:\[[^\]]*\]|, id, owed)* = ([^\n]*)$", text, re.MULTILINE)
    return {literal for expression in given for literal in LITERAL.findall(first_of(expression))}


def reachable(verb: str) -> set[str]:
    """Return every string in the verb's text and in the shared functions that it uses."""
    return set(LITERAL.findall(needed(shared_text(), runnable(verb_files()[verb].read_text("utf-8")))))


def test_every_verb_has_outcomes_or_returns_data() -> None:
    assert set(OUTCOMES) | DATA == set(verb_files())
    assert not set(OUTCOMES) & DATA


@pytest.mark.parametrize(("verb", "outcomes"), OUTCOMES.items(), ids=OUTCOMES)
def test_every_outcome_of_a_verb_is_a_member(verb: str, outcomes: type[StrEnum]) -> None:
    found = own_outcomes(verb)
    assert found <= set(outcomes)
    # Only `enqueue` leaves all of its outcomes to a shared function (`accept`).
    assert found or verb == "enqueue"


@pytest.mark.parametrize(("verb", "outcomes"), OUTCOMES.items(), ids=OUTCOMES)
def test_every_member_is_returned(verb: str, outcomes: type[StrEnum]) -> None:
    assert set(outcomes) <= reachable(verb)
