"""Say what this machine lacks before `make` sets anything up.

The Makefile runs it with the system's Python, before any package is there: it needs the standard library only.
"""

import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Mapping

from ops.local.redis_binary import EMBEDDED, EMBEDDED_MACHINES, VARIABLE, RedisCannotStart, embedded_fits, find, glibc


def redis_problem() -> str:
    """Why no Redis server can be started, now or after the set-up; empty if one can."""
    try:
        find(os.environ)
    except RedisCannotStart as error:
        named_wrongly = bool(os.environ.get(VARIABLE, "").strip())
        # Otherwise the set-up installs one.
        return str(error) if named_wrongly or not embedded_fits() else ""
    return ""


def setup_problem() -> str:
    """Why the set-up would fail; empty if it would not."""
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        return f"{sys.executable} has no module ensurepip. On Debian and Ubuntu: apt-get install {package}"
    if sys.platform == "linux" and platform.machine() in EMBEDDED_MACHINES and not glibc():
        return f"This machine's C library is not glibc, and {EMBEDDED} has no wheel for it: use a machine with glibc."
    return ""


CHECKS: Mapping[str, Callable[[], str]] = {"redis": redis_problem, "setup": setup_problem}


def main(names: list[str]) -> None:
    """Make the named checks; end with exit code 1 and a sentence if one fails."""
    for name in names:
        if problem := CHECKS[name]():
            raise SystemExit(problem)


if __name__ == "__main__":
    main(sys.argv[1:])
