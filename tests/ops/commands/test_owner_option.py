"""Commands that take ids of jobs: the service's own ids, or a producer's with `--owner`."""

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from jobs.new_job import BatchOptions, NewJob
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from ops.cli import main
from tests.support.producers import own

PICTURE = ({"type": "image", "url": "https://cdn.example.com/1.png"},)


@pytest.fixture
def run(redis_url: str) -> Callable[..., Any]:
    def invoke(*args: str) -> Any:
        return CliRunner().invoke(main, list(args), env={"BOOMERANG_REDIS_URL": redis_url, "COLUMNS": "250"})

    return invoke


@pytest.fixture
def jobs(store: Store) -> Store:
    """`fox` of two producers, in doubt; `owl` of both and `old` of version 1, of unknown cost, the first in batches."""
    for name in ("shop", "press"):
        store.jobs.enqueue([NewJob(id=own("fox", name), text="{}", model="m", owner=name)])
        in_batch = [NewJob(id=own("owl", name), text="{}", model="m")]
        store.jobs.enqueue(in_batch, own("b", name), BatchOptions(owner=name))
    store.jobs.enqueue([NewJob(id="old", text="{}", model="m", owner="shop")])
    for claim in store.attempts.claim(store.attempts.admit(10).ids):
        if claim.id.startswith("fox"):
            store.attempts.mark_in_doubt(claim.id, claim.fence, "read timed out")
        else:
            store.attempts.finish(
                claim.id, State.COMPLETED, Result(output=PICTURE, unreadable_cost="$0.0065"), "callback"
            )
    return store


@pytest.mark.parametrize("args", [["fox", "--owner", "shop"], ["fox@shop"]])
def test_a_decision_concerns_the_named_producers_job_only(
    args: list[str], run: Callable[..., Any], jobs: Store
) -> None:
    done = run("settle", *args, "--failed", "--yes")
    assert (done.exit_code, "fox@shop" in done.output, "press" in done.output) == (0, True, False)
    states = [jobs.jobs.get(own("fox", name)).state for name in ("shop", "press")]
    assert states == [State.FAILED, State.IN_DOUBT]


@pytest.mark.parametrize(
    ("args", "settled"),
    [
        (["owl", "--owner", "shop"], {"owl@shop"}),
        (["owl@press"], {"owl@press"}),
        (["old", "--owner", "shop"], {"old"}),  # as version 1 recorded it
        (["--batch", "b", "--owner", "press"], {"owl@press"}),
        (["--batch", "b@press"], {"owl@press"}),
        (["owl"], set()),
        (["old", "--owner", "press"], set()),
        (["--batch", "b"], set()),
    ],
)
def test_a_cost_is_settled_for_the_named_producer(
    args: list[str], settled: set[str], run: Callable[..., Any], jobs: Store
) -> None:
    run("settle-cost", *args, "--usd", "0.5")
    left = {job_id for job_id, _ in jobs.manual.stuck(0.0, 10).unknown_costs.named}
    assert {"owl@shop", "owl@press", "old"} - left == settled


def test_what_stuck_prints_can_be_pasted_back(run: Callable[..., Any], jobs: Store) -> None:
    output = run("stuck", "--longer-than", "0s", "--json").output
    for job_id in ("fox@shop", "fox@press"):
        assert job_id in output
        assert run("settle", job_id, "--failed", "--yes").exit_code == 0
