"""A real primary, its replicas and three sentinels on loopback: `with watched(folder, wait_for) as redis`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis as redis_py
from redis.backoff import NoBackoff
from redis.retry import Retry

from ops.local.redis_server import TETHER, Fsync, config, find_binary, free_port
from tests.support.waiting import WaitFor

MASTER = "jobs"
PASSWORD, SENTINEL_PASSWORD = "password-of-the-server", "password-of-the-sentinels"
#: Milliseconds without an answer after which a sentinel considers a server down. Not less: this machine may be busy.
DOWN_AFTER = 1000
TETHERED = (sys.executable, "-IS", str(TETHER))


class Watched:
    """The servers, identified by their ports."""

    def __init__(self, folder: Path, wait_for: WaitFor, *, replicas: int, durable: bool) -> None:
        self.folder = folder
        self._wait_for = wait_for
        self._durable = durable
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.servers = [free_port() for _ in range(1 + replicas)]
        self.sentinels = [free_port() for _ in range(3)]

    def url(self, database: int = 0) -> str:
        """Return the URL in the form of the service's settings."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"sentinel://:{PASSWORD}@{hosts}/{database}?master={MASTER}&sentinel_password={SENTINEL_PASSWORD}"

    def ask(self, port: int, *command: Any) -> Any:
        """Return a server's or sentinel's answer to a command, or None if there is none."""
        password = SENTINEL_PASSWORD if port in self.sentinels else PASSWORD
        client = redis_py.Redis(
            port=port,
            password=password,
            decode_responses=True,
            socket_timeout=2,
            socket_connect_timeout=2,
            retry=Retry(NoBackoff(), 0),
        )
        with client, suppress(redis_py.RedisError):
            return client.execute_command(*command)

    def primary(self) -> int:
        """Return the port of the primary according to most sentinels, or 0 while they disagree."""
        answers = [self.ask(port, "SENTINEL GET-MASTER-ADDR-BY-NAME", MASTER) for port in self.sentinels]
        ports = [int(answer[1]) for answer in answers if answer]
        agreed = [port for port in self.servers if ports.count(port) >= 2]
        return agreed[0] if agreed else 0

    def in_step(self) -> int:
        """Return how many replicas are in sync with the primary."""
        info = self.ask(self.primary() or self.servers[0], "INFO", "replication") or {}
        return sum(info[name]["state"] == "online" for name in info if name.startswith("slave") and name[5:].isdigit())

    def kill_primary(self) -> int:
        """Kill the primary by SIGKILL. Return its port."""
        port = self.primary()
        self.kill(port)
        return port

    def kill(self, port: int) -> None:
        self._processes[port].kill()
        self._processes[port].wait(10)

    def leave_behind(self, replica: int) -> None:
        """Stop the replication to a replica, as if the network to its primary were cut."""
        self.ask(replica, "CONFIG", "SET", "masterauth", "wrong")
        self.ask(self.primary(), "CLIENT", "KILL", "TYPE", "replica")
        self._wait_for(lambda: self.in_step() == len(self.servers) - 2, 10, "the replica is behind")

    def until_another(self, than: int) -> None:
        """Wait until the sentinels have promoted another server."""
        self._wait_for(lambda: self.primary() not in (0, than), 30, "the sentinels choose another primary")

    def start(self, port: int, follows: int | None = None) -> None:
        """Start a primary or a replica. A server that was killed restarts with its data."""
        folder = self.folder / f"server-{port}"
        folder.mkdir(exist_ok=True)
        text = config(folder, port, f"requirepass {PASSWORD}", Fsync.ALWAYS if self._durable else None)
        text += f"masterauth {PASSWORD}\nrepl-diskless-sync yes\nrepl-diskless-sync-delay 0\n"
        if follows is not None:
            text += f"replicaof 127.0.0.1 {follows}\n"
        self._run(port, folder, text)
        self._wait_for(lambda: self.ask(port, "PING"), 20, f"a server answers: {folder}")

    def start_all(self) -> None:
        first, *others = self.servers
        self.start(first)
        for port in others:
            self.start(port, follows=first)
        self._wait_for(lambda: self.in_step() == len(others), 30, "every replica follows")
        for port in self.sentinels:
            folder = self.folder / f"sentinel-{port}"
            folder.mkdir()
            text = (
                f'bind 127.0.0.1\nport {port}\ndir "{folder}"\ndaemonize no\n'
                f"requirepass {SENTINEL_PASSWORD}\nsentinel sentinel-pass {SENTINEL_PASSWORD}\n"
                f"sentinel monitor {MASTER} 127.0.0.1 {first} 2\nsentinel auth-pass {MASTER} {PASSWORD}\n"
                f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER}\nsentinel failover-timeout {MASTER} 5000\n"
            )
            self._run(port, folder, text, "--sentinel")
        self._wait_for(self._know_each_other, 30, "the sentinels know each other and the replicas")

    def _know_each_other(self) -> bool:
        for port in self.sentinels:
            answer = self.ask(port, "SENTINEL MASTER", MASTER)
            if not answer or (int(answer["num-other-sentinels"]), int(answer["num-slaves"])) != (
                2,
                len(self.servers) - 1,
            ):
                return False
        return True

    def _run(self, port: int, folder: Path, text: str, *options: str) -> None:
        (folder / "redis.conf").write_text(text)
        with (folder / "redis.log").open("ab") as log:
            self._processes[port] = subprocess.Popen(
                [*TETHERED, str(os.getpid()), find_binary(), str(folder / "redis.conf"), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def close(self) -> None:
        # Sentinels end first: otherwise they would start failovers.
        for process in reversed(self._processes.values()):
            if process.poll() is None:
                process.kill()
            process.wait(10)


@contextmanager
def watched(folder: Path, wait_for: WaitFor, *, replicas: int = 1, durable: bool = False) -> Iterator[Watched]:
    """Run the servers and wait until all know each other. `durable` gives each an append-only file."""
    folder.mkdir(parents=True, exist_ok=True)
    servers = Watched(folder, wait_for, replicas=replicas, durable=durable)
    try:
        servers.start_all()
        yield servers
    finally:
        servers.close()
