"""Commands by which an operator settles stuck jobs and deliveries."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from jobs.job import Delivery
from jobs.new_job import NewJob
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from ops.cli import main
from ops.commands.durations import format_duration, parse_duration


@pytest.fixture
def run(redis_url: str) -> Callable[..., Any]:
    """`run("stuck", "--json", url=…)`."""

    def invoke(*args: str, url: str = redis_url) -> Any:
        return CliRunner().invoke(main, list(args), env={"BOOMERANG_REDIS_URL": url, "COLUMNS": "250"})

    return invoke


@pytest.fixture
def jobs_in_doubt(store: Store) -> Store:
    """Three jobs in doubt. The provider has confirmed that it has the second; the third is an hour old."""
    ids = ["fox", "hen", "owl"]
    store.jobs.enqueue([NewJob(id=each, text="{}", model="m", owed=frozenset({Delivery.NOTIFY})) for each in ids])
    store.attempts.admit(3)
    for claim in store.attempts.claim(ids):
        store.attempts.mark_in_doubt(claim.id, claim.fence, "read timed out", exists=claim.id == "hen")
    client, keys = store.context.client, store.context.keys
    an_hour_ago = int(client.zscore(keys.singleton("doubts"), "owl") or 0) - 3_600_000_000
    client.hset(keys.member("job", "owl"), "x", an_hour_ago)
    client.zadd(keys.singleton("doubts"), {"owl": an_hour_ago})
    return store


def test_nothing_is_stuck(run: Callable[..., Any], store: Store) -> None:
    store.jobs.enqueue([NewJob(id="fox", text="{}", model="m")])
    answer = run("stuck")
    assert (answer.exit_code, answer.output) == (0, "Nothing is stuck.\n")


def test_the_list_names_the_command_that_settles_each(run: Callable[..., Any], jobs_in_doubt: Store) -> None:
    answer = run("stuck")
    assert answer.exit_code == 1
    assert "boomerang-server settle owl" in answer.output
    assert "fox" not in answer.output
    ends = [json.loads(line) for line in run("stuck", "--json", "--longer-than", "0s").output.splitlines()]
    assert [each["id"] for each in ends] == ["owl", "fox", "hen"]
    assert {each["kind"] for each in ends} == {"in_doubt"}


@pytest.mark.parametrize(
    ("args", "state"),
    [
        (["--sent", "task-7"], State.IN_PROGRESS),
        (["--not-sent"], State.QUEUED),
        (["--failed"], State.FAILED),
    ],
    ids=str,
)
def test_one_command_settles_a_job(
    run: Callable[..., Any], jobs_in_doubt: Store, caplog: pytest.LogCaptureFixture, args: list[str], state: State
) -> None:
    answer = run("settle", "hen", *args, "--yes", "--by", "alice")
    assert answer.exit_code == 0, answer.output
    assert "in doubt for" in answer.output
    assert "the provider reported that it has the task" in answer.output
    assert jobs_in_doubt.jobs.get("hen").state is state
    assert jobs_in_doubt.jobs.get("fox").state is State.IN_DOUBT
    (line,) = [record.getMessage() for record in caplog.records]
    assert "job hen: settled by hand by alice" in line
    assert "read timed out" in line
    # Repeated, the command reports that the job is settled.
    again = run("settle", "hen", *args, "--yes")
    assert again.exit_code == 1
    assert "hen: " in again.output


def test_without_a_terminal_and_yes_nothing_is_done(run: Callable[..., Any], jobs_in_doubt: Store) -> None:
    answer = run("settle", "fox", "--not-sent")
    assert answer.exit_code == 2
    assert "TWICE" in answer.output
    assert "--yes" in answer.output
    assert jobs_in_doubt.jobs.get("fox").state is State.IN_DOUBT


def test_a_dry_run_only_lists_the_jobs(run: Callable[..., Any], jobs_in_doubt: Store) -> None:
    answer = run("settle", "--all-in-doubt-longer-than", "0s", "--failed", "--dry-run", "--yes")
    assert answer.exit_code == 0
    assert "failed: 3" in answer.output
    assert jobs_in_doubt.statistics.totals().counts[State.IN_DOUBT] == 3


def test_all_jobs_old_enough_are_settled_at_once(run: Callable[..., Any], jobs_in_doubt: Store) -> None:
    assert run("settle", "--all-in-doubt-longer-than", "1h", "--failed", "--yes").exit_code == 0
    assert [jobs_in_doubt.jobs.get(each).state for each in ("fox", "owl")] == [State.IN_DOUBT, State.FAILED]
    assert run("settle", "--all-in-doubt-longer-than", "0s", "--lane", "other", "--failed", "--yes").exit_code == 0
    assert jobs_in_doubt.jobs.get("fox").state is State.IN_DOUBT


def test_jobs_that_the_provider_has_are_not_resent_with_all_others(
    run: Callable[..., Any], jobs_in_doubt: Store
) -> None:
    answer = run("settle", "--all-in-doubt-longer-than", "0s", "--not-sent", "--yes")
    assert "hen: skipped" in answer.output
    assert [jobs_in_doubt.jobs.get(each).state for each in ("fox", "hen", "owl")] == [
        State.QUEUED,
        State.IN_DOUBT,
        State.QUEUED,
    ]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["fox"], "one of --sent"),
        (["fox", "--sent", "t", "--failed"], "one of --sent"),
        (["--failed"], "job ids"),
        (["fox", "--failed", "--all-in-doubt-longer-than", "1h"], "job ids"),
        (["fox", "hen", "--sent", "t"], "exactly one job"),
        (["--failed", "--all-in-doubt-longer-than", "soon"], "'soon' is not a duration"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_an_ambiguous_command_is_refused(
    run: Callable[..., Any], jobs_in_doubt: Store, args: list[str], expected: str
) -> None:
    answer = run("settle", *args, "--yes")
    assert answer.exit_code == 2
    assert expected in answer.output
    assert jobs_in_doubt.statistics.totals().counts[State.IN_DOUBT] == 3


def named_jobs(answer: Any) -> list[str]:
    """Return the jobs that the command's output names."""
    return [line.partition(":")[0] for line in answer.stdout.splitlines()]


def test_deliveries_are_repeated_by_id_or_all_at_once(run: Callable[..., Any], jobs_in_doubt: Store) -> None:
    for job_id in ("fox", "hen"):
        jobs_in_doubt.attempts.finish(job_id, State.COMPLETED, Result(), "callback")
        (due,) = jobs_in_doubt.deliveries.claim([job_id])
        jobs_in_doubt.deliveries.give_up(due, Delivery.NOTIFY, "it answered 404")
    assert "it answered 404" in run("stuck").output
    dry = run("redeliver", "--all", "--dry-run")
    assert (dry.exit_code, named_jobs(dry)) == (0, ["fox", "hen"])
    assert jobs_in_doubt.jobs.get("fox").undelivered
    assert run("redeliver", "fox").exit_code == 0
    assert jobs_in_doubt.jobs.get("fox").owed
    assert named_jobs(run("redeliver", "--all")) == ["hen"]
    # The list is now empty.
    nothing = run("redeliver", "--all")
    assert (nothing.exit_code, named_jobs(nothing), "0 of 0" in nothing.stderr) == (0, [], True)
    answer = run("redeliver", "owl", "missing")
    assert answer.exit_code == 1
    assert named_jobs(answer) == ["owl", "missing"]
    assert "no such job" in answer.stdout
    assert run("redeliver").exit_code == 2


@pytest.mark.parametrize(
    "args", [["stuck"], ["settle", "fox", "--failed", "--yes"], ["redeliver", "fox"]], ids=lambda args: args[0]
)
def test_an_unreachable_redis_is_reported(run: Callable[..., Any], args: list[str]) -> None:
    answer = run(*args, url="redis://127.0.0.1:1/0")
    assert answer.exit_code == 2
    assert "BOOMERANG_REDIS_URL" in answer.output


def test_durations_are_parsed() -> None:
    assert [parse_duration(each) for each in ("90s", "10m", "1.5h", "2d")] == [90, 600, 5400, 172_800]
    assert [format_duration(each) for each in (0, 59, 61, 3600, 90_061)] == [
        "0 s",
        "59 s",
        "1 min 1 s",
        "1 h",
        "1 d 1 h",
    ]
