"""docs/lifecycle.md shows the transitions that there are, and times that the code has."""

import re
from pathlib import Path

import pytest

from jobs import health, policy, store
from jobs.settings import Settings
from jobs.states import TRANSITIONS
from worker import holds, reconcile
from worker.provider import outcomes

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "lifecycle.md").read_text("utf-8")
TEXT = " ".join(PAGE.split())
EDGES = {(str(before), str(after)) for before, row in TRANSITIONS.items() for after in row}
#: What the page says of a number that is not a setting.
SAYINGS = {
    "an alarm in {:g} s": (store.RECHECK,),
    "| {:g} s: it goes back into the queue": (store.PUT_BACK,),
    "at most {:,} images on their way": (store.WINDOW,),
    "claims what has rung, {} at a time, pushes each alarm on by {:g} s": (reconcile.STEP, store.DUE_LEASE),
    "| {:g} s, or `Retry-After` if that is longer | {:g} s; a `Retry-After` counts up to {:g} s |": (
        *holds.THROTTLED,
        outcomes.LONGEST_RETRY_AFTER,
    ),
    "to a look | {:g} s | {:g} s |": holds.ACCOUNT,
    "After {} silences in a row": (health.SILENCES,),
    "first after {:g} s, then after twice as long each time, up to {:g} s": (health.PROBE_BASE, health.PROBE_CAP),
    "to {:g} of the images in use": (health.CUT,),
    "fails with 1302 or 1303, at most once in {:g} s": (health.CUT_EVERY,),
    "at least {:g} of it is in use": (health.USED,),
    "else at {}, and up by one": (health.FIRST_LIMIT,),
    "the last {} changes of it (growth at most once in {:g} s)": (health.HISTORY, health.GROWTH_EVERY),
    "Attempt 2 waits {:g} to {:g} s, attempt 3 waits {:g} to {:g} s": (
        policy.ATTEMPT_BASE / 2,
        policy.ATTEMPT_BASE,
        policy.ATTEMPT_BASE,
        2 * policy.ATTEMPT_BASE,
    ),
    "tried again after {:g} to {:g} s": (policy.DELIVERY_BASE / 2, policy.DELIVERY_BASE),
    "{} times in all": (policy.MOST_DELIVERIES,),
    "up to `BOOMERANG_MAX_ATTEMPTS` ({})": (Settings().max_attempts,),
    "for `BOOMERANG_LOOKUP_GRACE` ({:g} s)": (Settings().lookup_grace,),
    "`BOOMERANG_DEADLINE` ({:g} s)": (Settings().deadline,),
    "| {:g} s (`BOOMERANG_POLL_MAX`)": (Settings().poll_max,),
    "| end of the lease, {:g} s |": (Settings().submit_lease,),
}


def test_the_diagram_shows_every_edge_and_no_other() -> None:
    assert set(re.findall(r"^    (\w+) --> (\w+)$", PAGE, re.MULTILINE)) == EDGES


def test_each_edge_has_its_line_and_no_other_has() -> None:
    rows = re.findall(r"^\| `(\w+)` → `(\w+)` \| .+ \| .+ \|$", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(EDGES)


@pytest.mark.parametrize("saying", SAYINGS)
def test_a_number_is_that_of_the_code(saying: str) -> None:
    assert saying.format(*SAYINGS[saying]) in TEXT


def test_the_codes_worth_another_attempt() -> None:
    assert {f"0020160{number}" for number in range(95, 100)} | {"1302", "1303"} == policy.WORTH_RETRYING
    assert "`002016095` to `002016099`, `1302` or `1303`" in TEXT


def test_the_numbers_that_are_words() -> None:
    assert (policy.MOST_TRIES, "not created eight times over" in TEXT) == (8, True)
    assert (policy.LOOKS_BEFORE_ABSENT, "at least two looks" in TEXT) == (2, True)
    assert (store.RATE_BURST, "with a burst of one second" in TEXT) == (1, True)


def test_how_long_a_delivery_is_tried() -> None:
    for random, least, most in ((0.0, 9, 10), (1.0, 19, 20)):
        waits = [policy.next_delivery(tries, random) for tries in range(policy.MOST_DELIVERIES)]
        assert waits[-1] is None
        assert least * 3600 < sum(wait for wait in waits if wait is not None) < most * 3600
    assert "between nine and twenty hours" in TEXT
