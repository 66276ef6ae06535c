"""docs/explanation/lifecycle.md has a line for each transition. Its diagram and numbers are generated."""

import re
from pathlib import Path

from jobs import policy
from jobs.states import TRANSITIONS

PAGE = (Path(__file__).parents[2] / "docs" / "explanation" / "lifecycle.md").read_text("utf-8")
EDGES = {(str(before), str(after)) for before, row in TRANSITIONS.items() for after in row}


def test_exactly_the_existing_transitions_have_a_line() -> None:
    rows = re.findall(r"^\| `(\w+)` → `(\w+)` \| .+ \| .+ \|$", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(EDGES)


def test_a_delivery_is_retried_for_most_of_a_day() -> None:
    for random, least, most in ((0.0, 9, 10), (1.0, 19, 20)):
        waits = [policy.next_delivery(tries, random) for tries in range(policy.MOST_DELIVERIES)]
        assert waits[-1] is None
        assert least * 3600 < sum(wait for wait in waits if wait is not None) < most * 3600
