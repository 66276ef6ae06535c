"""Check jobs, callbacks, keys, Flower and the commands of an operator."""

import json

import requests

from ops.compose_check.service import CLIENT, JOBS
from ops.compose_check.session import Session, lines_of, sentence
from ops.compose_check.shell import wait_until
from ops.compose_check.stack import SERVERS

_ANSWER = 10
_OK, _CREATED, _UNAUTHORIZED, _FORBIDDEN = 200, 201, 401, 403


def check_jobs(session: Session) -> None:
    """Check that 300 jobs are completed."""
    report, service = session.report, session.service
    report.section("300 jobs")
    service.enqueue("first")
    session.batch_done("first", 120)
    results = service.results("first")
    report.equal("settled by callback", sum(each.get("settled_by") == "callback" for each in results), JOBS)
    session.bought_once()
    url = results[0]["output"][0]["url"]
    with report.step(f"a result can be fetched on this host ({url})"):
        answer = requests.get(url, timeout=_ANSWER)
        report.check(f"a result can be fetched on this host ({url})", answer.ok and answer.content, answer.status_code)
    with report.step("a client's address behind a proxy"):
        session.service.post("/v1/jobs/no-such-job/cancel")
        lines = [line for one in session.stack.containers("webhook") for line in session.stack.logs(one)]
        report.check(
            "behind a trusted proxy the log has the client's own address", any(CLIENT in line for line in lines)
        )


def check_flower(session: Session) -> None:
    """Check that its pages and metrics need the password."""
    report, env = session.report, session.env
    report.section("Flower")
    url = f"http://127.0.0.1:{env['FLOWER_HOST_PORT']}"
    user, _, password = env["FLOWER_BASIC_AUTH"].partition(":")
    for path in ("/tasks", "/metrics"):
        bare = requests.get(f"{url}{path}", timeout=_ANSWER)
        report.equal(f"{path} without the password", bare.status_code, _UNAUTHORIZED)
        known = requests.get(f"{url}{path}", auth=(user, password), timeout=_ANSWER)
        report.equal(f"{path} with the password", known.status_code, _OK)


def check_keys(session: Session) -> None:
    """Create, use, list and revoke a key."""
    report, stack, url = session.report, session.stack, session.service.url
    report.section("Keys")
    made = stack.operator("keys", "add", "reports", "--scope", "read")
    if not report.check("operator keys add", made.code == 0, sentence(made.err)):
        return
    bearer = {"Authorization": f"Bearer {made.out.strip()}"}

    def status() -> int:
        return requests.get(f"{url}/v1/jobs", headers=bearer, timeout=_ANSWER).status_code

    report.equal("the new key reads", status(), _OK)
    answer = requests.post(f"{url}/v1/batches?id=other", data="{}", headers=bearer, timeout=_ANSWER)
    report.equal("it has no scope to enqueue", answer.status_code, _FORBIDDEN)
    listed = [json.loads(line) for line in stack.operator("keys", "list", "--json").out.splitlines()]
    (key,) = [each["id"] for each in listed if each["name"] == "reports"]
    narrow = stack.try_compose("run", "--rm", "-T", "-e", "COLUMNS=80", "operator", "keys", "list")
    report.check("keys list at 80 columns has the whole id", key in narrow.out, sentence(narrow.out + narrow.err))
    gone = stack.operator("keys", "revoke", key)
    report.check("operator keys revoke", gone.code == 0, sentence(gone.err))
    report.check("it is refused within 5 s", wait_until(lambda: status() == _UNAUTHORIZED, 5) is not None)


def check_commands(session: Session) -> None:
    """Run audit and doctor as the operator, and as a user without the right."""
    report, stack = session.report, session.stack
    report.section("Audit and doctor")
    refused = session.commands_refused()
    report.check("no command was refused to any user of Redis so far", not refused, refused)
    check_audit(session)
    done = stack.operator("doctor", "--json")
    report.check("operator doctor finds nothing bad", done.code == 0, _bad_findings(done.out) or done.err)
    known = done.out and "other applications" not in done.out
    report.check(
        "the doctor takes nothing of ours for another application's", known, _findings(done.out, "other applications")
    )
    done = stack.operator("stuck")
    report.check("operator stuck: nothing is stuck", done.code == 0, sentence(done.out + done.err))
    refused = session.commands_refused()
    report.check("no command was refused to the operator", not refused, refused)
    for service in ("worker", "webhook"):
        done = stack.exec(service, "boomerang-server", "audit")
        output = done.out + done.err
        report.check(
            f"audit as the user of the {service}: exit code 2 and a sentence",
            done.code == 2 and "Traceback" not in output and output.strip(),  # noqa: PLR2004 - the documented code
            f"exit code {done.code}: {sentence(output)}",
        )
    session.commands_refused()


def check_audit(session: Session) -> None:
    """Check that every invariant holds."""
    done = session.stack.operator("audit")
    session.report.check("operator audit: every invariant holds", done.code == 0, sentence(done.out + done.err))


def check_servers(session: Session) -> None:
    """Check that the broker holds nothing of the jobs but the witness."""
    found = set(session.stack.redis(SERVERS[1], "--scan", "--pattern", "{b}:*").split()) - {"{b}:witness"}
    session.report.check("no record of a job is at the broker", not found, lines_of([*found][:3]))


def _bad_findings(lines: str) -> str:
    return _findings(lines, '"level": "bad"')


def _findings(lines: str, word: str) -> str:
    """Join the doctor's findings that contain a text, for a line of the report."""
    found = [json.loads(line) for line in lines.splitlines() if line.startswith("{") and word in line]
    return "; ".join(f"{each['subject']}: {each['detail']}" for each in found)
