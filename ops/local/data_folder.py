"""The folder of a local stack: its lock, its generated secrets, and its ports, which stay the same over restarts."""

import fcntl
import json
import os
import secrets
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeAlias

from ops.local.redis_server import free_port

#: Used if they are free; otherwise any free port.
PREFERRED_PORTS = {"webhook": 8420, "simulator": 8421, "flower": 8422}

#: Seconds to wait until a port of the last start is free.
PORT_PATIENCE = 3.0
_ENVIRONMENT, _PORTS = "environment.json", "ports.json"
_Written: TypeAlias = Mapping[str, "_Written | None"]
_REDIS: _Written = dict.fromkeys(("redis.conf", "redis.log", "users.acl", "*.rdb", "appendonly.aof")) | {
    "appendonlydir": {"appendonly.aof*": None, "temp-*": None}
}
_PROCESSES = ("beat", "broker", "deliverer", "flower", "redis", "simulator", "webhook", "worker")
#: What a stack writes into its folder: patterns of names, and for a folder those of what is in it.
_WRITTEN: _Written = dict.fromkeys(("env", "ledger.jsonl", "lock", "secrets.json", _ENVIRONMENT, _PORTS)) | {
    "broker": _REDIS,
    "redis": _REDIS,
    "logs": dict.fromkeys(f"{name}.log" for name in _PROCESSES),
    "run": {"celerybeat-schedule*": None},
}
#: The variable with Flower's address, in the saved environment of a stack.
FLOWER_ADDRESS = "FLOWER_URL"


class FolderInUse(Exception):
    """Another stack uses this folder."""


class PortTaken(Exception):
    """Another process listens on the requested port."""


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """Secrets that are generated once for a folder: callback addresses and producers' settings refer to them."""

    api_key: str = field(default_factory=lambda: f"bmg_{secrets.token_urlsafe(24)}", repr=False)
    callback_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    provider_key: str = field(default_factory=lambda: f"sim_{secrets.token_urlsafe(24)}", repr=False)
    flower_password: str = field(default_factory=lambda: secrets.token_urlsafe(12), repr=False)
    flower_cookie_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)


def save_environment(folder: Path, environment: Mapping[str, str]) -> None:
    """Save the settings of the running stack for `boomerang-server doctor --data`, readable by the owner only."""
    write_private(folder / _ENVIRONMENT, json.dumps(dict(environment), indent=2))


def load_environment(folder: Path) -> dict[str, str]:
    """Return the settings of the stack that was started last in this folder; empty if there was none."""
    return {name: str(value) for name, value in _read(folder / _ENVIRONMENT).items()}


@contextmanager
def locked(folder: Path) -> Iterator[Path]:
    """Create the folder if needed, and lock it for this process while the block runs. Raises FolderInUse."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        make_private(folder)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise FolderInUse(
            f"{folder} cannot be made private ({error.strerror}: {error.filename}). Use another folder: --data DIR"
        ) from error
    with os.fdopen(handle) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUse(
                f"Another stack runs in {folder}. Stop it first, or use another folder: --data DIR"
            ) from None
        yield folder


def make_private(folder: Path) -> None:
    """Let only the owner read what a stack wrote into the folder, also an earlier one.

    A folder becomes private if nothing else is in it. Other files keep their modes, and links are not followed.
    """
    _make_private(folder, _WRITTEN)


def _make_private(folder: Path, written: _Written) -> None:
    has_others = False
    for each in folder.iterdir():
        mode = each.lstat().st_mode
        pattern = next((one for one in written if fnmatch(each.name, one)), None)
        inner = written[pattern] if pattern else None
        if pattern and inner is None and stat.S_ISREG(mode):
            each.chmod(stat.S_IMODE(mode) & 0o700)
        elif inner is not None and stat.S_ISDIR(mode):
            _make_private(each, inner)
        elif not stat.S_ISLNK(mode):
            has_others = True
    if not has_others:
        folder.chmod(0o700)


def load_secrets(folder: Path) -> Secrets:
    """Return the folder's secrets. Missing ones are generated and saved, readable by the owner only."""
    path = folder / "secrets.json"
    kept = _read(path)
    found = Secrets(**{each.name: str(kept[each.name]) for each in fields(Secrets) if each.name in kept})
    write_private(path, json.dumps(asdict(found), indent=2))
    return found


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically; only its owner can read it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    # O_EXCL also refuses a link that waits there.
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def choose_ports(folder: Path, asked: int | None) -> dict[str, int]:
    """Choose the ports of webhook, simulator and Flower.

    The ports of the last start come first: unfinished jobs have callback addresses with the webhook's port, and results
    with the simulator's. `asked`: the only acceptable port of the webhook; raises PortTaken.
    """
    if asked is not None and not _is_free(asked):
        raise PortTaken(
            f"Port {asked} is in use. Choose another one with --port, or omit the option to get a free one."
        )
    last = _read(folder / _PORTS)
    ports: dict[str, int] = {}
    for name, liked in PREFERRED_PORTS.items():
        if name == "webhook" and asked is not None:
            ports[name] = asked
            continue
        before = last.get(name)
        if isinstance(before, int) and 0 < before < 2**16 and before not in ports.values() and _becomes_free(before):
            ports[name] = before
        else:
            ports[name] = liked if liked not in ports.values() and _is_free(liked) else free_port()
    write_private(folder / _PORTS, json.dumps(ports))
    return ports


def replace_ports(folder: Path, ports: Mapping[str, int]) -> dict[str, int]:
    """Choose new ports, because another process took one in the meantime. The webhook keeps its own: it is bound."""
    replaced = {name: port if name == "webhook" else free_port() for name, port in ports.items()}
    write_private(folder / _PORTS, json.dumps(replaced))
    return replaced


def open_listener(port: int) -> socket.socket:
    """Open a listening socket on loopback. Raises PortTaken.

    The stack keeps it and passes it to the webhook: requests wait while the webhook restarts, instead of failing.
    """
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind(("127.0.0.1", port))
        server.listen(1024)
    except OSError:
        server.close()
        raise PortTaken(f"Port {port} is in use. Choose another one with --port.") from None
    return server


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
        return True


def _becomes_free(port: int) -> bool:
    """Wait until the port is free: the processes of a killed stack need a moment to end."""
    end = time.monotonic() + PORT_PATIENCE
    while not _is_free(port):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _read(path: Path) -> Mapping[str, Any]:
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
