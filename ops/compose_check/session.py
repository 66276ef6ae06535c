"""The objects that all groups of checks share."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from ops.compose_check import env_file
from ops.compose_check.report import Report
from ops.compose_check.service import Service
from ops.compose_check.shell import wait_until
from ops.compose_check.stack import SERVERS, Stack

#: Seconds in which 300 jobs must be done although a process died: time-outs, leases and a slow machine, all together.
RECOVERY = 240
#: A user who may do anything but come in: what Redis logs of one that is turned off.
_ACL_FIELDS = ("reason", "context", "object", "username")


@dataclass(kw_only=True)
class Session:
    """The stack under test, the service in it, and the report."""

    stack: Stack
    service: Service
    report: Report
    restart_engine: str = ""
    #: Lines of logs of containers that have been removed: service → lines.
    logs: dict[str, list[str]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.stack.shell.folder

    @property
    def env(self) -> dict[str, str]:
        """Return the variables of .env."""
        return env_file.read((self.folder / ".env").read_text())

    def up(self, *words: str) -> None:
        """Run `docker compose up -d`, and wait until every service is healthy."""
        self.stack.compose("up", "-d", *words, limit=300)
        self.healthy(len(self.stack.services))

    def healthy(self, count: int, what: str = "all services run and are healthy") -> None:
        """Check that this many containers become healthy."""
        took = self.stack.wait_ready(count)
        if self.report.check(what, took is not None, self.stack.not_ready()) and took is not None:
            self.report.note(f"after {took:.0f} s")

    def find_webhook(self) -> None:
        """Find the current port of a webhook: Docker assigns those of a range again at each start."""

        def ports() -> list[int]:
            return [port for one in self.stack.containers("webhook") for port in one.ports]

        wait_until(ports, 30)
        self.service.url = f"http://127.0.0.1:{ports()[0]}"

    def batch_done(self, batch: str, limit: float = RECOVERY) -> None:
        """Check that every job of a batch is completed in time."""
        completed, took = self.service.wait_completed(batch, limit)
        self.report.equal(f"completed jobs of the batch {batch} ({took:.0f} s)", completed, 300)

    def bought_once(self) -> None:
        """Check that every job of every batch was paid for exactly once."""
        self.report.equal("the provider's ledger", self.service.purchases(), self.service.all_bought_once())

    def commands_refused(self) -> str:
        """Return the commands that both Redis servers refused since the last call (`ACL LOG`)."""
        entries = [
            f"{server}: {entry}" for server in SERVERS for entry in acl_entries(self.stack.redis(server, "acl", "log"))
        ]
        for server in SERVERS:
            self.stack.redis(server, "acl", "log", "reset")
        return "; ".join(dict.fromkeys(entries))

    def keep_logs(self) -> None:
        """Save the logs of the containers, because these are about to be removed."""
        for container in self.stack.containers():
            self.logs.setdefault(container.service, []).extend(self.stack.logs(container))


def acl_entries(text: str) -> list[str]:
    """Parse `ACL LOG` as redis-cli prints it: a line per field, followed by its value."""
    lines = text.splitlines()
    pairs = [(name, value) for name, value in pairwise(lines) if name in _ACL_FIELDS]
    size = len(_ACL_FIELDS)
    return [
        " ".join(f"{name}={value}" for name, value in pairs[start : start + size])
        for start in range(0, len(pairs), size)
    ]


def sentence(text: str) -> str:
    """Return the text on one line, without colours."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())


def lines_of(words: Sequence[str]) -> str:
    """Join the distinct texts, sorted, for a line of the report."""
    return ", ".join(sorted(dict.fromkeys(words)))
