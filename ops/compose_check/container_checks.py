"""Check the rights, limits, networks, ports and start-up time of the containers."""

import json
from datetime import datetime

from ops.compose_check.session import Session, lines_of, sentence
from ops.compose_check.stack import SERVERS, Container

#: Seconds
_LATER = 30
_RIGHTS = """
awk '/^(Uid|CapEff|CapBnd|NoNewPrivs):/ {print $2}' /proc/1/status
for folder in / /srv /venv /etc /usr; do
  [ -d $folder ] && touch $folder/written 2>/dev/null && echo "$folder is writable"
done
true
"""
_NO_RIGHTS = "0000000000000000"
#: Python in a container: which of the servers can be reached from here.
_REACH = """
import socket
for name in ("redis", "broker"):
    try: socket.create_connection((name, 6379), 2).close(); print(name)
    except OSError: pass
"""
#: Python in a container: what each server says to the password of the other one.
_SWAPPED = """
import os, redis
from urllib.parse import urlsplit
jobs, broker = (urlsplit(os.environ[f"BOOMERANG_{name}_URL"]) for name in ("REDIS", "BROKER"))
for server, other in ((jobs, broker), (broker, jobs)):
    try: print(redis.Redis(server.hostname, 6379, username=other.username, password=other.password).ping())
    except redis.AuthenticationError: print("refused")
"""


def check_containers(session: Session) -> None:
    """Check rights, limits, networks, ports and passwords."""
    session.report.section("The containers")
    containers = session.stack.containers()
    _check_health(session, containers)
    for container in containers:
        with session.report.step(f"{container.service}: rights"):
            _check_rights(session, container)
    _check_limits(session, containers)
    with session.report.step("networks"):
        _check_networks(session)
    with session.report.step("passwords"):
        done = session.stack.exec("worker", "python", "-c", _SWAPPED)
        session.report.equal("each server refuses the other one's password", done.out.split(), ["refused", "refused"])
        # The checks that follow ignore these two.
        session.commands_refused()


def _check_health(session: Session, containers: list[Container]) -> None:
    """Compare the time until it is healthy with the webhook's, so that a slow machine makes no difference."""
    healthy = {one.service: took for one in containers if (took := _until_healthy(one)) is not None}
    took = healthy["worker"] - healthy["webhook"]
    what = f"the worker is healthy at most {_LATER} s later after its start than the webhook"
    session.report.check(what, took <= _LATER, f"{took:.0f} s")


def _until_healthy(container: Container) -> float | None:
    log = container.raw["State"].get("Health", {}).get("Log") or []
    good = [_moment(each["End"]) for each in log if each["ExitCode"] == 0]
    return (good[0] - _moment(container.started)).total_seconds() if good else None


def _moment(text: str) -> datetime:
    # Docker writes nanoseconds, which Python does not read.
    return datetime.fromisoformat(text[:19])


def _check_rights(session: Session, container: Container) -> None:
    user = "999" if container.service in SERVERS else "10001"
    found = sentence(session.stack.exec(container.service, "sh", "-c", _RIGHTS).out)
    session.report.equal(
        f"{container.service}: user, capabilities, no new privileges, nothing writable",
        found,
        f"{user} {_NO_RIGHTS} {_NO_RIGHTS} 1",
    )


def _check_limits(session: Session, containers: list[Container]) -> None:
    report = session.report
    for what, missing in {
        "every container has a memory limit": [one.service for one in containers if not one.host["Memory"]],
        "every container has a limit of processes": [
            one.service for one in containers if (one.host["PidsLimit"] or 0) <= 0
        ],
        "every container's log is bounded": [
            one.service for one in containers if "max-size" not in one.host["LogConfig"]["Config"]
        ],
        "every container's root is read-only": [one.service for one in containers if not one.host["ReadonlyRootfs"]],
        "every published port is on loopback": [
            one.service
            for one in containers
            for bindings in (one.host["PortBindings"] or {}).values()
            for binding in bindings
            if binding["HostIp"] != "127.0.0.1"
        ],
        "no port of a Redis server is published": [
            one.service for one in containers if one.service in SERVERS and one.host["PortBindings"]
        ],
    }.items():
        report.check(what, not missing, lines_of(missing))


def _check_networks(session: Session) -> None:
    stack, report = session.stack, session.report
    containers = stack.containers()
    networks = {one.service: set(one.raw["NetworkSettings"]["Networks"]) for one in containers}
    shared = networks["redis"] & networks["broker"]
    report.check("the jobs' Redis and the broker share no network", not shared, lines_of([*shared]))
    inner = networks["redis"] | networks["broker"]
    shown = json.loads(stack.shell.run("docker", "network", "inspect", *sorted(inner)))
    report.check("their networks are internal", all(each["Internal"] for each in shown))
    for service, expected in {
        "worker": ["redis", "broker"],
        "deliverer": ["redis", "broker"],
        "webhook": ["redis", "broker"],
        "beat": ["broker"],
        "flower": ["broker"],
        "simulator": [],
    }.items():
        found = stack.exec(service, "python", "-c", _REACH).out.split()
        report.equal(f"{service}: Redis servers that it reaches", found, expected)
    wide = stack.config["networks"]
    fixed = [name for name, each in wide.items() if (each.get("ipam") or {}).get("config")]
    report.check(
        "the network of the published ports has a fixed subnet", bool(fixed), "BOOMERANG_TRUSTED_PROXIES needs one"
    )
