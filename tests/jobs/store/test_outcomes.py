"""The outcomes in Python are those that the Lua verbs return."""

import re
from enum import StrEnum

import pytest

from jobs.store.lua_source import needed, runnable, shared_text, verb_files
from jobs.store.outcomes import OUTCOMES, PauseOutcome


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Verbs that answer with data, or with nothing that their callers use.
DATA = words(
    "admit batch claim claim_deliveries claim_due hold image_begun image_known image_lost images_gone images_old list "
    "owners parked probe purge recover slots_limits standing stuck sweep unstage wait_reasons "
    "repair_day repair_image repair_job repair_label repair_object repair_pool repair_queue repair_sweep"
)
#: What a verb does not use of its enum: `pause` shares one with `pause_job`.
UNUSED = {"pause": {PauseOutcome.REFUSED}}
LITERAL = re.compile(r"'([a-z][a-z ]*)'")


def first_of(expression: str) -> str:
    """The first element of what is returned, without what stands in parentheses or is only compared with."""
    expression = re.sub(r"(==|~=)\s*'[^']*'", "", expression.strip().removeprefix("{"))
    while (shorter := re.sub(r"\([^()]*\)|\[[^\[\]]*\]", "", expression)) != expression:
        expression = shorter
    return expression.partition(",")[0].partition("}")[0]


def own(verb: str) -> set[str]:
    """The outcomes that stand in the verb's own text: it returns them, or puts them into its answer."""
    text = runnable(verb_files()[verb].read_text("utf-8"))
    given = re.findall(r"\breturn ([^\n]*?)(?: end)?$", text, re.MULTILINE)
    given += re.findall(r"\b(?:outcomes|answer|outcome)(?:\[[^\]]*\]|, id, owed)* = ([^\n]*)$", text, re.MULTILINE)
    return {literal for expression in given for literal in LITERAL.findall(first_of(expression))}


def reachable(verb: str) -> set[str]:
    """Every string in the verb's text and in the shared functions that it uses."""
    return set(LITERAL.findall(needed(shared_text(), runnable(verb_files()[verb].read_text("utf-8")))))


def test_every_verb_is_here() -> None:
    assert set(OUTCOMES) | DATA == set(verb_files())
    assert not set(OUTCOMES) & DATA


@pytest.mark.parametrize(("verb", "outcomes"), OUTCOMES.items(), ids=OUTCOMES)
def test_what_a_verb_returns_has_a_member(verb: str, outcomes: type[StrEnum]) -> None:
    found = own(verb)
    assert found <= set(outcomes)
    # Only these leave all of their outcomes to a shared function (`accept`).
    assert found or verb == "enqueue"


@pytest.mark.parametrize(("verb", "outcomes"), OUTCOMES.items(), ids=OUTCOMES)
def test_every_member_is_returned(verb: str, outcomes: type[StrEnum]) -> None:
    members = set(outcomes) - UNUSED.get(verb, set())
    assert members <= reachable(verb)
    assert not UNUSED.get(verb, set()) & own(verb)
