"""One process of the local stack, in its own process group. Its output goes to a log file; it ends with its parent."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ops.local.redis_server import TETHER

#: Bytes. A stack that runs for weeks must not fill the disk.
LOG_LIMIT = 20 * 1024 * 1024
#: Only the owner may read what a process writes.
PRIVATE_UMASK = 0o077


def warning_lines(*, without: bytes) -> re.Pattern[bytes]:
    """Return a pattern for the lines of a log that an operator should see, except those that match `without`."""
    return re.compile(rb"^(?!.*(" + without + rb")).*(?<![%@])\b(WARNING|ERROR|CRITICAL)\b|^Traceback ")


#: Python's own warnings are for developers: they stay in the log.
WARNINGS = warning_lines(without=rb"\bpy\.warnings\b")
_COLOUR = re.compile(rb"\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class ChildSpec:
    """What to run.

    `ready`: returns whether the process serves. `stop_limit`: seconds between SIGTERM and SIGKILL. `warnings`: a line
    of the log that matches is also shown on the console.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    ready: Callable[[], bool] | None = None
    stop_limit: float = 10.0
    pass_fds: tuple[int, ...] = ()
    warnings: re.Pattern[bytes] = WARNINGS


class Child:
    """A running process. The kernel ends it with the *thread* that made it (see `ops.local.tether`)."""

    def __init__(self, spec: ChildSpec, logs: Path, cwd: Path) -> None:
        self.spec = spec
        self.log = logs / f"{spec.name}.log"
        _rotate(self.log)
        with open(self.log, "ab", opener=_private) as out:
            self._read_to = out.tell()
            # In its own session it does not get the terminal's Ctrl-C: the parent stops children in order.
            self.process = subprocess.Popen(  # noqa: S603 - our own commands
                [sys.executable, "-IS", str(TETHER), str(os.getpid()), *spec.argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(spec.env),
                cwd=cwd,
                pass_fds=spec.pass_fds,
                start_new_session=True,
                umask=PRIVATE_UMASK,
            )
        self.started = time.monotonic()

    @property
    def ended(self) -> str | None:
        """How the process ended, as the end of a sentence; None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def terminate(self) -> None:
        """Send SIGTERM: each of our processes finishes its current work and ends."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def kill_all(self) -> None:
        """Kill the process and all that it started, and reap it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def new_warnings(self) -> list[str]:
        """Return the warnings and errors that were logged since the last call."""
        return [_plain(line) for line in self._new_lines() if self.spec.warnings.search(line)]

    def log_tail(self, lines: int = 12) -> str:
        """Return the last lines of the log."""
        return "\n".join(_plain(line) for line in self.log.read_bytes()[-16_384:].splitlines()[-lines:])

    def _new_lines(self) -> list[bytes]:
        size = self.log.stat().st_size
        if size > LOG_LIMIT:
            _rotate(self.log)
            self._read_to = 0
            return []
        with self.log.open("rb") as file:
            file.seek(self._read_to)
            text = file.read()
        whole, newline, _ = text.rpartition(b"\n")
        self._read_to += len(whole) + len(newline)
        return whole.splitlines()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _plain(line: bytes) -> str:
    return _COLOUR.sub(b"", line).decode(errors="replace").rstrip()


def _rotate(log: Path) -> None:
    """Copy a log that is too long to `NAME.log.1`, and empty it in place: the child has it open and appends to it."""
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        with open(log.with_suffix(".log.1"), "wb", opener=_private) as copy:
            copy.write(log.read_bytes())
        os.truncate(log, 0)
