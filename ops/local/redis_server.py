"""Start and stop a redis-server on a free loopback port."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ops import access
from ops.local.redis_binary import RedisCannotStart as RedisCannotStart
from ops.local.redis_binary import find_binary as find_binary

TETHER = Path(__file__).with_name("tether.py")
#: Seconds. Loading a large append-only file takes long.
START_LIMIT = 30.0
STOP_LIMIT = 20.0
#: Another process may take a free port before Redis binds it.
PORT_ATTEMPTS = 5


def free_port() -> int:
    """Return a loopback port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Fsync(StrEnum):
    """When Redis writes the append-only file to the disk. In both cases nothing is lost if Redis is killed."""

    ALWAYS = "always"  #: before it replies: for the jobs, none of which may be lost
    EVERYSEC = "everysec"  #: within a second, which a power cut may lose: for a broker, whose messages are hints


#: Users of a server of the stack → the variable that sets its `maxmemory`, as in compose, and by default its share of
#: the machine's memory. While Redis rewrites its file, it may need twice as much.
MEMORY = {"state": ("BOOMERANG_REDIS_MAXMEMORY", 4), "broker": ("BOOMERANG_BROKER_MAXMEMORY", 16)}
LEAST_MEMORY = 64 * 1024 * 1024


def memory_limit(users: str, env: Mapping[str, str] = os.environ) -> str:
    """Return the `maxmemory` of a server of the stack, as Redis reads it: a number of bytes, or `1gb`."""
    variable, part = MEMORY[users]
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return env.get(variable) or str(max(LEAST_MEMORY, there // part))


def config(folder: Path, port: int, rule: str, fsync: Fsync | None, maxmemory: str = "0") -> str:
    """Return the text of a configuration file. `rule`: a line about access. `fsync` None: no append-only file."""
    append = f"appendonly yes\nappendfsync {fsync}\nauto-aof-rewrite-min-size 64mb" if fsync else "appendonly no"
    return f"""\
bind 127.0.0.1
port {port}
{rule}
protected-mode yes
dir "{folder}"
daemonize no
# No snapshots: the append-only file has everything.
save ""
{append}
# When memory is full, producers get an error. Eviction would lose jobs silently.
maxmemory {maxmemory}
maxmemory-policy noeviction
tcp-keepalive 60
"""


@dataclass(frozen=True)
class RedisServer:
    """A running server. `urls`: its address for each of its users; `url`: the operator's, or the only one."""

    url: str = field(repr=False)
    port: int
    pid: int
    folder: Path
    urls: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class RedisCommand:
    """How to start a server, and its addresses: see `RedisServer`."""

    argv: tuple[str, ...]
    url: str = field(repr=False)
    port: int
    folder: Path
    urls: Mapping[str, str] = field(default_factory=dict, repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)


def prepare(
    folder: Path,
    *,
    durable: bool = True,
    fsync: Fsync = Fsync.ALWAYS,
    port: int | None = None,
    users: str | None = None,
) -> RedisCommand:
    """Write the configuration into `folder`, readable by its owner only, and return the command that starts the server.

    `users`: "state" or "broker", for exactly the users of that file in `ops.access`, as in a container. Without it the
    server has one user with all rights, and no `maxmemory`.
    """
    binary = find_binary()
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    port = port or free_port()
    path, place = folder / "redis.conf", f"127.0.0.1:{port}/0"
    password = "" if users else secrets.token_urlsafe(24)
    rule = f"requirepass {password}" if password else ""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        limit = memory_limit(users) if users else "0"
        file.write(config(folder, port, rule, fsync if durable else None, limit))
    if not users:
        return RedisCommand((binary, str(path)), f"redis://:{password}@{place}", port, folder)
    passwords = access.passwords(users)
    urls = {user: f"redis://{user}:{given}@{place}" for user, given in passwords.items()}
    # start.sh finds redis-server on the PATH, and writes the file of users into TMPDIR.
    env = {
        "PATH": f"{Path(binary).absolute().parent}:{os.defpath}",
        "TMPDIR": str(folder),
        "BOOMERANG_LOG_FORMAT": "text",
        **{name: os.environ.get(name, "") for name in (access.PRODUCER_QUEUES, access.LINK_QUEUES)},
        **access.variables(passwords),
    }
    return RedisCommand(access.command(users, str(path)), urls["operator"], port, folder, urls, env)


def is_ready(url: str) -> bool:
    """Whether the server has loaded its data and accepts this user."""
    client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0))
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


def log_tail(folder: Path, lines: int = 6) -> str:
    """Return the last lines of the server's log."""
    try:
        return "\n".join((folder / "redis.log").read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log was written)"


@contextmanager
def running(
    folder: Path, *, durable: bool = True, fsync: Fsync = Fsync.ALWAYS, users: str | None = None
) -> Iterator[RedisServer]:
    """Run a server while the block runs. It also ends when this process is killed.

    `durable=False`: without an append-only file. Raises `RedisCannotStart`.
    """
    for _ in range(PORT_ATTEMPTS):
        command = prepare(folder, durable=durable, fsync=fsync, users=users)
        with (command.folder / "redis.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-IS", str(TETHER), str(os.getpid()), *command.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **command.env},
            )
        if _wait_until_ready(process, command.url):
            break
        if "Address already in use" not in log_tail(folder):
            raise RedisCannotStart(f"Redis ({find_binary()}) did not start. The end of its log:\n{log_tail(folder)}")
    else:
        raise RedisCannotStart(f"Redis did not get a free port in {PORT_ATTEMPTS} attempts.")
    try:
        yield RedisServer(command.url, command.port, process.pid, command.folder, command.urls)
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM, on which Redis saves its data and ends; SIGKILL if it takes longer than STOP_LIMIT."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> bool:
    end = time.monotonic() + START_LIMIT
    while process.poll() is None:
        if is_ready(url):
            return True
        if time.monotonic() > end:
            stop(process)
            break
        time.sleep(0.02)
    return False
