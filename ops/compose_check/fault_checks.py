"""Check that no job is lost when processes are killed, servers or the engine restart, or a volume is lost."""

import shlex
from collections.abc import Callable
from http import HTTPStatus

import requests

from ops.compose_check.service import JOBS
from ops.compose_check.session import RECOVERY, Session, sentence
from ops.compose_check.shell import wait_until
from ops.compose_check.stack import SERVERS, service_names
from ops.compose_check.work_checks import check_audit, check_servers

#: What dies or is restarted while one batch is under way. The simulator forgets what it sold: it comes by itself.
GROUPS = (("redis",), ("broker",), ("redis", "broker"), ("worker", "deliverer"), ("webhook", "beat", "flower"))
#: A batch takes so long that what happens to it happens in its middle.
_SLOW = {"latency": "2-8", "slow": 0.3}


def check_kills(session: Session) -> None:
    """Kill every process of each container while jobs are unfinished."""
    session.report.section("kill -9")
    session.service.faults(**_SLOW)
    for services in GROUPS:
        with session.report.step(f"kill -9: {', '.join(services)}"):
            _with_jobs_under_way(session, "kill", services, session.stack.kill)
    _check_after(session)


def check_restarts(session: Session) -> None:
    """Restart each service while jobs are unfinished."""
    session.report.section("docker compose restart")
    for services in GROUPS:
        with session.report.step(f"restart: {', '.join(services)}"):
            workers = [one.started for one in session.stack.containers("worker")]
            _with_jobs_under_way(session, "restart", services, lambda *names: session.stack.compose("restart", *names))
            if "broker" in services:
                same = workers == [one.started for one in session.stack.containers("worker")]
                session.report.check(f"the worker did not end while {', '.join(services)} restarted", same)
    _check_after(session)


def check_simulator(session: Session) -> None:
    """Kill the provider while no job is unfinished, and check that later jobs are completed."""
    session.report.section("The simulated provider")
    session.service.keep_purchases()
    before = [one.started for one in session.stack.containers("simulator")]
    session.stack.kill("simulator")
    _wait_started(session, ("simulator",), before)
    session.healthy(len(session.stack.services))
    session.service.faults(**_SLOW)
    session.service.enqueue("provider")
    session.batch_done("provider")
    session.bought_once()


def check_engine(session: Session) -> None:
    """Restart the engine, after which all containers start at once, in any order."""
    report = session.report
    report.section("A restart of the engine")
    if not session.restart_engine:
        report.skip("restart of the engine", "needs --own-engine, or --restart-engine COMMAND")
        return
    _leave_waiting(session, "engine")
    command = shlex.split(session.restart_engine)
    done = session.stack.shell.try_(*command, limit=300)
    report.check("the engine restarts", done.code == 0, sentence(done.err))
    session.healthy(len(session.stack.services), "all services come back by themselves")
    _resume(session, "engine")
    _check_after(session)


def check_down_and_up(session: Session, change_env: Callable[[], None], what: str) -> None:
    """Run `down`, change .env, run `up`, and check that every record is still there."""
    session.report.section(f"docker compose down, {what}, docker compose up")
    _leave_waiting(session, "down")
    session.keep_logs()
    session.stack.compose("down", limit=200)
    change_env()
    session.up()
    _resume(session, "down")
    _check_after(session)


def check_lost_data(session: Session) -> None:
    """Remove the volume of the jobs' Redis, and check that new jobs are refused until an operator recovers it."""
    report, stack, service = session.report, session.stack, session.service
    report.section("The jobs' Redis comes back empty")
    stack.compose("start", limit=200)
    session.healthy(len(stack.containers()))
    session.find_webhook()
    stack.compose("rm", "--stop", "--force", "redis", limit=150)
    stack.shell.run("docker", "volume", "rm", f"{stack.project}_redis")
    stack.compose("up", "-d", "--no-deps", "redis")
    line = '{"model": "kirin_image_omni", "prompt": "p", "external_task_id": "after-the-loss"}'

    def status() -> int:
        try:
            return service.post("/v1/batches?id=lost", line).status_code
        except OSError:
            return 0

    took = wait_until(lambda: all(one.ready for one in stack.containers("redis")), 60)
    report.check("Redis runs, with an empty volume", took is not None)
    # If the service mistook the empty Redis for a new one, it would accept jobs once it is connected again.
    accepted = wait_until(lambda: status() < 300, 20)  # noqa: PLR2004
    answer = service.post("/v1/batches?id=lost", line)
    report.check("new jobs are refused", accepted is None, f"status {answer.status_code} after {accepted or 0:.0f} s")
    report.check("the refusal names the remedy, `recover`", "recover" in answer.text, sentence(answer.text))
    report.equal(
        "/readyz", requests.get(f"{service.url}/readyz", timeout=10).status_code, HTTPStatus.SERVICE_UNAVAILABLE
    )
    done = stack.operator("recover")
    report.check("operator recover", done.code == 0, sentence(done.out + done.err))
    report.check("then new jobs are accepted", wait_until(lambda: status() < 300, 60) is not None, status())  # noqa: PLR2004


def _with_jobs_under_way(session: Session, how: str, services: tuple[str, ...], act: Callable[..., object]) -> None:
    batch = f"{how}-{'-'.join(services)}"
    session.service.enqueue(batch)
    if not session.service.wait_under_way(batch):
        session.report.check(f"{batch}: jobs are under way", holds=False, found="20 were not sent in time")
    before = [one.started for one in session.stack.containers(*services)]
    act(*services)
    _wait_started(session, services, before)
    session.healthy(len(session.stack.services))
    session.batch_done(batch)
    session.bought_once()


def _wait_started(session: Session, services: tuple[str, ...], before: list[str]) -> None:
    """Check that the containers started again, by their start times."""

    def started_anew() -> bool:
        there = session.stack.containers(*services)
        return len(there) == len(before) and not set(before) & {one.started for one in there if one.ready}

    took = wait_until(started_anew, 120)
    back = [one for one in session.stack.containers(*services) if one.started in before]
    session.report.check(f"started again: {', '.join(services)}", took is not None, service_names(back))


def _leave_waiting(session: Session, batch: str) -> None:
    """Enqueue jobs that wait. None may be at the simulated provider, which forgets its tasks when it ends."""
    service = session.service
    service.enqueue_paused(batch)

    def quiet() -> bool:
        counts = service.counts(batch)
        return not any(counts[state] for state in ("submitting", "in_doubt", "in_progress"))

    wait_until(quiet, RECOVERY)
    counts = service.counts(batch)
    session.report.check("a paused batch waits", counts["queued"] >= JOBS - 1, counts)
    service.keep_purchases()


def _resume(session: Session, batch: str) -> None:
    service = session.service
    service.faults(**_SLOW)
    wait_until(lambda: service.post(f"/v1/batches/{batch}/resume").ok, 60)
    session.batch_done(batch)
    session.bought_once()


def _check_after(session: Session) -> None:
    """Check what must hold after every fault."""
    report, service = session.report, session.service
    first = {batch: service.completed(batch) for batch in service.batches}
    gone = [f"{batch}: {count}" for batch, count in first.items() if count != JOBS]
    report.check(f"all {len(first)} batches so far are there and completed", not gone, ", ".join(gone))
    refused = session.commands_refused()
    report.check("no command was refused to any user of Redis", not refused, refused)
    with report.step(f"records at {SERVERS[1]}"):
        check_servers(session)
    check_audit(session)
