"""A Redis of one's own: found, started on a free loopback port, waited for, and stopped again."""

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
START_LIMIT = 30.0  # loading a large append-only file takes its time
STOP_LIMIT = 20.0
TRIES = 5  # for a port that somebody else takes between our look and Redis's bind


def free_port() -> int:
    """A loopback port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Fsync(StrEnum):
    """When the append-only file is on the disk. Either way a Redis that is killed forgets nothing."""

    ALWAYS = "always"  #: before a command is answered: for the jobs, of which none may get lost
    EVERYSEC = "everysec"  #: within a second, which a power cut may take: for a broker, whose messages are hints


def config(folder: Path, port: int, rule: str, fsync: Fsync | None) -> str:
    """The server's configuration file. `rule`: a line about access; `fsync` None: everything is in memory only."""
    append = f"appendonly yes\nappendfsync {fsync}\nauto-aof-rewrite-min-size 64mb" if fsync else "appendonly no"
    return f"""\
bind 127.0.0.1
port {port}
{rule}
protected-mode yes
dir "{folder}"
daemonize no
# No snapshots beside the append-only file: they would say nothing new.
save ""
{append}
# Full is an error that producers see; evicting would lose jobs in silence.
maxmemory-policy noeviction
tcp-keepalive 60
"""


@dataclass(frozen=True)
class RedisServer:
    """Where a server answers: `url` for people (the operator, where there are users), `urls` for each of its users."""

    url: str = field(repr=False)
    port: int
    pid: int
    folder: Path
    urls: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class RedisCommand:
    """What to execute for a server, with which variables, and where it will answer: see `RedisServer`."""

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
    """Write the configuration (for its owner's eyes only) into `folder`; starts nothing yet.

    `users`: those of that file in `ops.access`, and nobody else, exactly as in a container: `start.sh` starts the
    server. Without, there is one user who may do all.
    """
    binary = find_binary()
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    path, place = folder / "redis.conf", f"127.0.0.1:{port}/0"
    password = "" if users else secrets.token_urlsafe(24)
    rule = f"requirepass {password}" if password else ""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(config(folder, port, rule, fsync if durable else None))
    if not users:
        return RedisCommand((binary, str(path)), f"redis://:{password}@{place}", port, folder)
    passwords = access.passwords(users)
    urls = {user: f"redis://{user}:{given}@{place}" for user, given in passwords.items()}
    # start.sh calls the server by its name, and puts the users' file into TMPDIR. Its log stays as Redis writes it.
    env = {
        "PATH": f"{Path(binary).absolute().parent}:{os.defpath}",
        "TMPDIR": str(folder),
        "BOOMERANG_LOG_FORMAT": "text",
        **access.variables(passwords),
    }
    return RedisCommand(access.command(users, str(path)), urls["operator"], port, folder, urls, env)


def answers(url: str) -> bool:
    """Whether the server is up, has loaded its data and knows us."""
    client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0))
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


def last_words(folder: Path, lines: int = 6) -> str:
    """The end of the server's log."""
    try:
        return "\n".join((folder / "redis.log").read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(it wrote no log)"


@contextmanager
def running(
    folder: Path, *, durable: bool = True, fsync: Fsync = Fsync.ALWAYS, users: str | None = None
) -> Iterator[RedisServer]:
    """A server for the length of a `with` block; ends with it, or with this process, however that ends.

    `durable=False` keeps everything in memory only. Raises `RedisCannotStart`.
    """
    for _ in range(TRIES):
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
        if _comes_up(process, command.url):
            break
        if "Address already in use" not in last_words(folder):
            raise RedisCannotStart(f"Redis ({find_binary()}) did not start. Its last words:\n{last_words(folder)}")
    else:
        raise RedisCannotStart(f"Redis found no free port in {TRIES} tries.")
    try:
        yield RedisServer(command.url, command.port, process.pid, command.folder, command.urls)
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, which Redis answers by writing out what it owes; SIGKILL when that takes too long."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _comes_up(process: subprocess.Popen[bytes], url: str) -> bool:
    end = time.monotonic() + START_LIMIT
    while process.poll() is None:
        if answers(url):
            return True
        if time.monotonic() > end:
            stop(process)
            break
        time.sleep(0.02)
    return False
