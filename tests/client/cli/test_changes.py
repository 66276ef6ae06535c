"""cancel, retry, pause, resume: of a job or of a batch, whichever the id names."""

import json

import pytest

from tests.support.command import Command
from tests.support.fake_boomerang import FakeService, Fault
from tests.support.generation_requests import REQUEST, ndjson


@pytest.fixture
def both(service: FakeService, run: Command, spring: str) -> str:
    """A job with the same id as the batch."""
    run("enqueue", "-", "--id", "other", input=ndjson([REQUEST | {"external_task_id": spring}]))
    service.seen.clear()
    return spring


def posts(service: FakeService) -> list[str]:
    return [path for path in service.paths() if path.startswith("POST")]


def test_a_job_is_cancelled_and_retried(service: FakeService, run: Command, spring: str) -> None:
    assert run("cancel", "spring.1").stdout == "Job spring.1 is cancelled.\n"
    assert json.loads(run("retry", "spring.1", "--json").stdout)["status"] == "queued"
    result = run("retry", "spring.1")
    assert (result.exit_code, "not possible now" in result.stderr) == (1, True)


def test_pause_and_resume_a_batch(service: FakeService, run: Command, spring: str) -> None:
    paused = run("pause", "spring")
    assert (paused.stdout, paused.stderr) == ("Batch spring: 2 jobs paused.\n", "Next: boomerang resume spring\n")
    assert service.paused == {"spring"}
    assert json.loads(run("--json", "resume", "spring").stdout)["action"] == "resume"
    assert service.paused == set()
    run("resume", "spring", "--max-cost", "9.5")
    assert service.seen[-1].raw_query == "max_cost=9.5"


@pytest.mark.parametrize("option", [["--paused"], ["--pilot", "1"]])
def test_approve_a_batch(option: list[str], service: FakeService, run: Command) -> None:
    sent = run("enqueue", "-", "--id", "fox", *option, input=ndjson([REQUEST] * 3))
    assert "boomerang approve fox" in sent.stderr
    assert service.held == {"fox"}
    assert run("approve", "fox").stdout == "Batch fox: 3 jobs approved.\n"
    assert service.held == set()
    assert json.loads(run("--json", "approve", "fox").stdout)["action"] == "approve"
    assert run("approve", "hare").exit_code == 1


def test_a_paused_batch_is_not_watched(run: Command) -> None:
    assert run("enqueue", "-", "--paused", "--wait", input="{}").exit_code == 2


def test_pause_and_resume_a_job(service: FakeService, run: Command, spring: str) -> None:
    assert run("pause", "spring.1").stdout == "Job spring.1 is queued: paused on request.\n"
    assert service.jobs["spring.1"]["reason"] == "paused on request"
    assert json.loads(run("--json", "resume", "spring.1").stdout)["reason"] is None


def test_cancel_a_batch_cancels_its_unfinished_jobs(service: FakeService, run: Command, spring: str) -> None:
    assert run("cancel", "spring").stdout == "Batch spring: 2 jobs cancelled.\n"
    assert {job["status"] for job in service.jobs.values()} == {"cancelled"}


def test_retry_the_failed_jobs_of_a_batch(service: FakeService, run: Command, spring: str) -> None:
    service.end("spring.3")
    dry = run("retry", "spring", "--code", "002016095", "--code", "1301", "--dry-run")
    assert dry.stdout == "Batch spring: 1 job would be queued again.\n"
    assert service.seen[-1].raw_query == "code=002016095&code=1301&dry_run=true"
    assert "1 job queued again" in run("retry", "spring").stdout
    assert run("retry", "spring", "--status", "cancelled").exit_code == 0
    assert service.jobs["spring.3"]["status"] == "queued"


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume", "retry"])
@pytest.mark.parametrize("flag", ["--job", "--batch"])
def test_a_flag_at_any_position_names_the_kind_and_saves_the_look_up(
    service: FakeService, run: Command, both: str, verb: str, flag: str
) -> None:
    if verb == "retry":
        service.end(both)
        service.jobs[both]["status"] = "failed"
    for words in ([flag, both], [both, flag]):
        service.jobs[both]["status"] = "failed" if verb == "retry" else "queued"
        assert run(verb, *words).exit_code == 0
    kind = "jobs" if flag == "--job" else "batches"
    assert service.paths() == [f"POST /v1/{kind}/{both}/{verb}"] * 2


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume", "retry", "show", "save"])
def test_an_id_of_a_job_and_a_batch_needs_a_flag(service: FakeService, run: Command, both: str, verb: str) -> None:
    result = run(verb, both)
    assert (result.exit_code, posts(service)) == (2, [])
    assert "a job spring and a batch spring" in result.stderr
    assert "--job" in result.stderr
    assert "--batch" in result.stderr


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume", "retry"])
def test_not_found_names_the_ids_actual_kind(service: FakeService, run: Command, spring: str, verb: str) -> None:
    result = run(verb, spring, "--job")
    assert (result.exit_code, "no job spring: that is a batch" in result.stderr) == (1, True)
    result = run(verb, "spring.1", "--batch")
    assert (result.exit_code, "no batch spring.1: that is a job" in result.stderr) == (1, True)
    result = run(verb, "summer")
    assert (result.exit_code, "no job or batch summer" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    "args", [["watch", "spring.1"], ["results", "spring.1"], ["resume", "spring.1", "--max-cost", "5"],
             ["retry", "spring.1", "--dry-run"], ["retry", "spring.1", "--code", "1"]], ids=" ".join,
)  # fmt: skip
def test_a_batch_command_with_a_jobs_id_is_an_error(
    service: FakeService, run: Command, spring: str, args: list[str]
) -> None:
    result = run(*args)
    assert (result.exit_code, "that is a job" in result.stderr) == (1, True)
    assert "boomerang show spring.1" in result.stderr


def test_without_permission_to_look_up_the_error_names_the_flags(
    service: FakeService, run: Command, spring: str
) -> None:
    service.faults.append(Fault(status=403, body=b'{"detail": "This key lacks the scope read."}'))
    result = run("cancel", spring)
    assert (result.exit_code, posts(service)) == (2, [])
    assert "lacks the scope read" in result.stderr
    assert "add --job or --batch" in result.stderr
    assert run("cancel", spring, "--batch").exit_code == 0


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(["cancel", "x", "--job", "--batch"], id="both flags"),
        pytest.param(["cancel", "x", "y"], id="two ids"),
        pytest.param(["retry", "--job", "x", "--dry-run"], id="dry run of a job"),
        pytest.param(["retry", "--job", "x", "--code", "1"], id="code of a job"),
        pytest.param(["resume", "--job", "x", "--max-cost", "1"], id="cost of a job"),
        pytest.param(["retry", "x", "--status", "completed"], id="a state that cannot be retried"),
    ],
)
def test_options_that_exclude_each_other_are_an_error(service: FakeService, run: Command, args: list[str]) -> None:
    assert run(*args).exit_code == 2
    assert service.seen == []


def test_an_id_of_an_earlier_client_works_in_either_case(service: FakeService, run: Command) -> None:
    service.still = True
    old = "01ARYZ6S41TSV4RRFFQ69G5FAV"
    run("enqueue", "-", "--id", old, input=ndjson([REQUEST]))
    assert run("pause", old.lower()).exit_code == 0
    assert service.paused == {old}
    assert run("cancel", f"{old.lower()}.1").exit_code == 0
    assert service.jobs[f"{old}.1"]["status"] == "cancelled"
    assert run("watch", old.lower()).exit_code == 1
    assert run("results", old.lower()).stdout.count("\n") == 1
