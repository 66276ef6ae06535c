"""What a local stack keeps in its folder: the lock, generated secrets, ports that stay the same from start to start."""

import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ops.local.redis_server import free_port

#: Taken where they are free; otherwise any free port is.
LIKED_PORTS = {"webhook": 8420, "simulator": 8421, "flower": 8422}

PATIENCE = 3.0  # seconds
_ENVIRONMENT = "environment.json"
#: Where Flower is, in what is kept of a stack's environment.
FLOWER_ADDRESS = "FLOWER_URL"


class FolderInUse(Exception):
    """Another stack runs there."""


class PortTaken(Exception):
    """Somebody listens at the port that was asked for."""


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """Generated once for a folder. Callback addresses and producers' settings hold on to them."""

    api_key: str = field(default_factory=lambda: f"bmg_{secrets.token_urlsafe(24)}", repr=False)
    callback_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    provider_key: str = field(default_factory=lambda: f"sim_{secrets.token_urlsafe(24)}", repr=False)
    flower_password: str = field(default_factory=lambda: secrets.token_urlsafe(12), repr=False)
    flower_cookie_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)


def keep_environment(folder: Path, environment: Mapping[str, str]) -> None:
    """Write down how the stack is reached, for `boomerang-server doctor --data`; readable for its owner only."""
    write_private(folder / _ENVIRONMENT, json.dumps(dict(environment), indent=2))


def of_stack(folder: Path) -> dict[str, str]:
    """The environment of the stack that was last started there; empty where none was."""
    return {name: str(value) for name, value in _read(folder / _ENVIRONMENT).items()}


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """The folder, made where there is none, for this process alone until the block's (or the process's) end."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUse(
                f"Another stack runs in {folder}. Stop that one first, or give this one its own folder: --data DIR"
            ) from None
        yield folder


def load_secrets(folder: Path) -> Secrets:
    """The folder's secrets; those that are missing are generated and written, readable for their owner only."""
    path = folder / "secrets.json"
    kept = _read(path)
    found = Secrets(**{each.name: str(kept[each.name]) for each in fields(Secrets) if each.name in kept})
    write_private(path, json.dumps(asdict(found), indent=2))
    return found


def write_private(path: Path, text: str) -> None:
    """Write in one piece, for the owner's eyes only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def choose_ports(folder: Path, asked: int | None) -> dict[str, int]:
    """A port each for webhook, simulator and Flower.

    The ones of the last start come first: jobs under way carry callback addresses with the webhook's, results lie at
    the simulator's. `asked` is the webhook's, if it must be that one; raises PortTaken.
    """
    if asked is not None and not _is_free(asked):
        raise PortTaken(f"Port {asked} is taken. Choose another with --port, or leave the option out for a free one.")
    path = folder / "ports.json"
    last = _read(path)
    ports: dict[str, int] = {}
    for name, liked in LIKED_PORTS.items():
        if name == "webhook" and asked is not None:
            ports[name] = asked
            continue
        before = last.get(name)
        if isinstance(before, int) and before not in ports.values() and _comes_free(before):
            ports[name] = before
        else:
            ports[name] = liked if liked not in ports.values() and _is_free(liked) else free_port()
    path.write_text(json.dumps(ports))
    return ports


def listening(port: int) -> socket.socket:
    """A socket that listens there; raises PortTaken.

    The stack holds it and hands it to the webhook: whoever calls while that one starts anew waits instead of being
    refused.
    """
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind(("127.0.0.1", port))
        server.listen(1024)
    except OSError:
        server.close()
        raise PortTaken(f"Port {port} is taken. Choose another with --port.") from None
    return server


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
        return True


def _comes_free(port: int) -> bool:
    """Whether it is free, or is soon: what a killed stack leaves behind needs a moment to notice."""
    end = time.monotonic() + PATIENCE
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
