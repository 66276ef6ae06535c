"""An operator records what jobs cost whose cost the provider did not report as an amount."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from click.testing import CliRunner

from jobs.new_job import BatchOptions, NewJob
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from ops.cli import main

PICTURE = ({"type": "image", "url": "https://cdn.example.com/1.png"},)


@pytest.fixture
def run(redis_url: str) -> Callable[..., Any]:
    """`run("settle-cost", "fox", "--usd", "1")`."""

    def invoke(*args: str) -> Any:
        return CliRunner().invoke(main, list(args), env={"BOOMERANG_REDIS_URL": redis_url, "COLUMNS": "250"})

    return invoke


@pytest.fixture
def unknown(store: Store) -> Store:
    """Three jobs of unknown cost, two of them in a batch, and one whose cost is known."""
    store.jobs.enqueue([NewJob(id=each, text="{}", model="m") for each in ("x1", "x2")], "x", BatchOptions())
    store.jobs.enqueue([NewJob(id=each, text="{}", model="m") for each in ("fox", "known")])
    store.attempts.claim(store.attempts.admit(10).ids)
    for job_id in ("x1", "x2", "fox", "known"):
        cost: Any = {"cost": Decimal("0.01")} if job_id == "known" else {"unreadable_cost": "$0.0065"}
        store.attempts.finish(job_id, State.COMPLETED, Result(output=PICTURE, **cost), "callback")
    return store


def test_stuck_names_the_command_that_settles_a_cost(run: Callable[..., Any], unknown: Store) -> None:
    output = run("stuck").output
    assert "boomerang-server settle-cost fox --usd" in output
    assert "$0.0065" in output
    assert unknown.jobs.get("known").unknown_cost is None


@pytest.mark.parametrize(
    ("args", "code", "spent"),
    [
        (["fox"], 0, "0.5"),
        (["fox", "x1"], 0, "1.0"),
        (["fox", "fox"], 0, "0.5"),
        (["--batch", "x"], 0, "1.0"),
        (["--all"], 0, "1.5"),
        (["--all", "--dry-run"], 0, "0"),
        (["known"], 1, "0"),
        (["absent", "fox"], 1, "0.5"),
        (["fox", "--all"], 2, "0"),
        ([], 2, "0"),
    ],
)
def test_the_amount_counts_once_for_each_job(
    run: Callable[..., Any], unknown: Store, args: list[str], code: int, spent: str
) -> None:
    assert run("settle-cost", *args, "--usd", "0.5").exit_code == code
    assert unknown.statistics.totals().cost == Decimal("0.01") + Decimal(spent)
    assert run("audit").exit_code == 0


@pytest.mark.parametrize("usd", ["$1", "-1", "NaN", "1e7", "0.0000000001", "", "1,5"])
def test_what_is_no_amount_is_refused(run: Callable[..., Any], unknown: Store, usd: str) -> None:
    assert run("settle-cost", "fox", "--usd", usd).exit_code == 2
    assert unknown.jobs.get("fox").unknown_cost == "$0.0065"
