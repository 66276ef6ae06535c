"""Check a repeated `up`, scaling, stopping, and the logs."""

import json
import time

import requests

from ops.compose_check import env_file
from ops.compose_check.session import RECOVERY, Session, lines_of

_OK = 200
_MOST_MEMORY = 85  # percent of the limit


def check_nothing_to_do(session: Session) -> None:
    """Check that a second `up` recreates no container, and that none came near its memory limit."""
    report, stack = session.report, session.stack
    report.section("docker compose up, again")
    before = {one.id for one in stack.containers()}
    session.up("--build")
    report.equal("containers made anew", len({one.id for one in stack.containers()} - before), 0)
    shown = stack.shell.run(
        "docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemPerc}} {{.MemUsage}}", *before
    )
    used = [line.removeprefix(f"{stack.project}-").split() for line in shown.splitlines()]
    report.note("memory: " + ", ".join(f"{name} {size}" for name, _, size, *_ in used))
    near = [f"{name} {share}" for name, share, *_ in used if float(share.rstrip("%")) > _MOST_MEMORY]
    report.check(f"no container has {_MOST_MEMORY} % of its memory limit", not near, lines_of(near))
    killed = [one.service for one in stack.containers() if one.raw["State"]["OOMKilled"]]
    report.check("none was killed because it ran out of memory", not killed, lines_of(killed))


def check_scale(session: Session, ports: str) -> None:
    """Run two workers, then two webhooks with a range of ports."""
    report, stack, service = session.report, session.stack, session.service
    report.section("docker compose up --scale")
    stack.compose("up", "-d", "--scale", "worker=2", limit=200)
    session.healthy(len(stack.services) + 1, "two workers are healthy")
    service.enqueue("workers")
    session.batch_done("workers", 120)
    path = session.folder / ".env"
    path.write_text(env_file.replace(path.read_text(), "BOOMERANG_PORT", ports))
    done = stack.try_compose("up", "-d", "--scale", "worker=1", "--scale", "webhook=2", limit=200)
    report.check("up --scale webhook=2", done.code == 0, done.err.strip()[-300:])
    session.healthy(len(stack.services) + 1, "two webhooks are healthy")
    urls = [f"http://127.0.0.1:{port}" for one in stack.containers("webhook") for port in one.ports]
    answers = [requests.get(f"{url}/readyz", timeout=10).status_code for url in urls]
    report.equal("both webhooks answer on this host", answers, [_OK, _OK])
    session.find_webhook()
    service.enqueue("webhooks")
    session.batch_done("webhooks", 120)
    session.bought_once()


def check_stop(session: Session) -> None:
    """Check that all services stop by themselves, with and without unfinished jobs, and continue afterwards."""
    report, stack, service = session.report, session.stack, session.service
    report.section("docker compose stop")
    service.faults(latency="2-8", slow=0.3)
    service.enqueue("stopped")
    service.wait_under_way("stopped")
    # Not the simulator, which would forget its tasks.
    ours = [name for name in stack.services if name != "simulator"]
    begun = time.monotonic()
    stack.compose("stop", *ours, limit=200)
    _exit_codes(
        session, f"services that did not stop by themselves, with jobs under way ({time.monotonic() - begun:.0f} s)"
    )
    stack.compose("start", limit=200)
    session.healthy(len(stack.containers()))
    session.find_webhook()
    session.batch_done("stopped", RECOVERY)
    session.bought_once()
    begun = time.monotonic()
    stack.compose("stop", limit=200)
    _exit_codes(
        session, f"services that did not stop by themselves, with nothing to do ({time.monotonic() - begun:.0f} s)"
    )


def check_logs(session: Session) -> None:
    """Check that each line is JSON and contains no secret."""
    report = session.report
    report.section("The logs")
    session.keep_logs()
    secrets = env_file.secret_values(session.env)
    for service, lines in sorted(session.logs.items()):
        other_lines = [line for line in lines if not is_json_object(line)]
        report.check(
            f"{service}: every line of its log is JSON ({len(lines)} lines)",
            not other_lines,
            f"{len(other_lines)}, such as: {other_lines[:1]}",
        )
        leaked = [name for name, value in secrets.items() if any(value in line for line in lines)]
        report.check(f"{service}: no secret in its log", not leaked, lines_of(leaked))


def is_json_object(line: str) -> bool:
    """Whether a line is one JSON object."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _exit_codes(session: Session, what: str) -> None:
    codes = [f"{one.service}: {one.exit_code}" for one in session.stack.containers() if one.exit_code != 0]
    session.report.check(what, not codes, lines_of(codes))
