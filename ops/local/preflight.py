"""Check, before `make` installs anything, that the installation can succeed on this machine.

The Makefile runs it with the system's Python before any package is installed: it needs only the standard library.
"""

import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Mapping

from ops.local.redis_binary import EMBEDDED, EMBEDDED_MACHINES, VARIABLE, RedisCannotStart, embedded_fits, find, glibc


def redis_problem() -> str:
    """Return why no Redis server can be started, now or after the installation; empty if one can."""
    try:
        find(os.environ)
    except RedisCannotStart as error:
        named_wrongly = bool(os.environ.get(VARIABLE, "").strip())
        # The installation brings a server, which a wrong variable would keep from being used.
        return str(error) if named_wrongly or not embedded_fits() else ""
    return ""


def setup_problem() -> str:
    """Return why the installation would fail; empty if it would not."""
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        return f"{sys.executable} has no module ensurepip. On Debian and Ubuntu: apt-get install {package}"
    if sys.platform == "linux" and platform.machine() in EMBEDDED_MACHINES and not glibc():
        return f"{EMBEDDED} has wheels for glibc only, and this machine has another C library. Use one with glibc."
    return ""


CHECKS: Mapping[str, Callable[[], str]] = {"redis": redis_problem, "setup": setup_problem}


def main(names: list[str]) -> None:
    """Run the named checks. The first that fails ends the process with its message and exit code 1."""
    for name in names:
        if problem := CHECKS[name]():
            raise SystemExit(problem)


if __name__ == "__main__":
    main(sys.argv[1:])
