"""Keep the fast tier fast: of a long table of cases, `make check` runs some, and `make test` all."""

from collections import defaultdict

import pytest

#: Most cases of one test that `make check` runs.
MOST_CASES = 3
MARKS = ("stack", "slow", "chaos")


def mark(items: list[pytest.Item]) -> None:
    """Give the marker `slow` to the cases of each long table but a few, which are spread evenly over it."""
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if not any(item.get_closest_marker(name) for name in MARKS):
            cases[item.nodeid.partition("[")[0]].append(item)
    for table in cases.values():
        kept = {number * len(table) // MOST_CASES for number in range(MOST_CASES)}
        for number, item in enumerate(table):
            if len(table) > MOST_CASES and number not in kept:
                item.add_marker("slow")
