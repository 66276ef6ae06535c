"""One process of the local stack: started tethered, in a process group of its own, its output in a log file."""

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

LOG_LIMIT = 20 * 1024 * 1024  # bytes; a stack that runs for weeks must not fill the disk
LOUD = re.compile(rb"(?<![%@])\b(WARNING|ERROR|CRITICAL)\b|^Traceback ")
_COLOUR = re.compile(rb"\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class ChildSpec:
    """What to run.

    `ready` tells whether it serves; `stop_limit`: seconds between SIGTERM and SIGKILL; `loud`: what a line of its log
    must match to be shown on the console.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    ready: Callable[[], bool] | None = None
    stop_limit: float = 10.0
    pass_fds: tuple[int, ...] = ()
    loud: re.Pattern[bytes] = LOUD


class Child:
    """A running process. Make it in a thread that lives as long as the process may (see `ops.local.tether`)."""

    def __init__(self, spec: ChildSpec, logs: Path, cwd: Path) -> None:
        self.spec = spec
        self.log = logs / f"{spec.name}.log"
        _shorten(self.log)
        with self.log.open("ab") as out:
            self._read_to = out.tell()
            # A child never sees the terminal's Ctrl-C (own session): the parent decides who ends when.
            self.process = subprocess.Popen(  # noqa: S603 - our own commands
                [sys.executable, "-IS", str(TETHER), str(os.getpid()), *spec.argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(spec.env),
                cwd=cwd,
                pass_fds=spec.pass_fds,
                start_new_session=True,
            )
        self.started = time.monotonic()

    @property
    def ended(self) -> str | None:
        """How it ended, in words; None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def ask_to_stop(self) -> None:
        """SIGTERM: every one of ours takes that as "finish what you have in hand"."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def clear_away(self) -> None:
        """SIGKILL for whatever is left of it and of the processes it started, and reap it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def loud_lines(self) -> list[str]:
        """Warnings and errors that it has written since the last call."""
        return [_plain(line) for line in self._new_lines() if self.spec.loud.search(line)]

    def last_words(self, lines: int = 12) -> str:
        """The end of its log."""
        return "\n".join(_plain(line) for line in self.log.read_bytes()[-16_384:].splitlines()[-lines:])

    def _new_lines(self) -> list[bytes]:
        size = self.log.stat().st_size
        if size > LOG_LIMIT:
            _shorten(self.log)
            self._read_to = 0
            return []
        with self.log.open("rb") as file:
            file.seek(self._read_to)
            text = file.read()
        whole, newline, _ = text.rpartition(b"\n")
        self._read_to += len(whole) + len(newline)
        return whole.splitlines()


def _plain(line: bytes) -> str:
    return _COLOUR.sub(b"", line).decode(errors="replace").rstrip()


def _shorten(log: Path) -> None:
    """Keep one old piece. Emptied in place: the child holds it open, for appending, so it goes on at its start."""
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.with_suffix(".log.1").write_bytes(log.read_bytes())
        os.truncate(log, 0)
