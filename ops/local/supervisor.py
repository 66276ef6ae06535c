"""Keep a few processes running: start, watch, restart, and stop them in order.

Why not a library: honcho ends everything as soon as one process ends, circus restarts but opens control sockets of its
own and stops all at once, and neither keeps children from outliving a parent that is killed.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ops.local.child import Child, ChildSpec

FIRST_PAUSE = 0.2  # seconds before a child that died is started again; doubles up to the longest
LONGEST_PAUSE = 15.0
SETTLED = 30.0  # a child that ran that long starts with the first pause again
#: Lines of a child's warnings that reach the console, once in so many seconds; the rest stays in its log.
LOUDEST, QUIET = 3, 5.0

Report = Callable[[str, str], None]  # (who, what)


class StartFailed(Exception):
    """A child ended before it was ready, or never got there: the message carries the end of its log."""


class Supervisor:
    """Not for threads: everything but `pids` happens in the one that calls `start`, `tick` and `stop`."""

    def __init__(self, folder: Path, report: Report, *, warnings: bool = True) -> None:
        self._logs = folder / "logs"
        self._cwd = folder / "run"
        for each in (self._logs, self._cwd):
            each.mkdir(parents=True, exist_ok=True)
        self._report = report
        self._warnings = warnings
        self._waiting_lines: dict[str, list[str]] = {}
        self._quiet_until: dict[str, float] = {}
        self._children: dict[str, Child] = {}
        self._pauses: dict[str, float] = {}
        self._due: dict[str, tuple[float, ChildSpec]] = {}
        self.restarts = 0

    def pids(self) -> dict[str, int]:
        """Process ids by name, of those that run now. This may be called from any thread."""
        return {name: child.process.pid for name, child in list(self._children.items()) if child.ended is None}

    def start(self, specs: Iterable[ChildSpec], limit: float, *, still: Callable[[], bool] = lambda: True) -> None:
        """Start all, and wait up to `limit` seconds until all are ready, or `still()` is false. Raises StartFailed."""
        waited_for = []
        for spec in specs:
            self._children[spec.name] = Child(spec, self._logs, self._cwd)
            waited_for.append(spec)
        end = time.monotonic() + limit
        while waited_for and still():
            for spec in waited_for:
                child = self._children[spec.name]
                if child.ended:
                    raise StartFailed(f"{spec.name} {child.ended} instead of starting:\n{child.last_words()}")
            waited_for = [spec for spec in waited_for if spec.ready is not None and not spec.ready()]
            if waited_for and time.monotonic() > end:
                spec = waited_for[0]
                words = self._children[spec.name].last_words()
                raise StartFailed(f"{spec.name} was not ready within {limit:.0f} s. Its last words:\n{words}")
            time.sleep(0.05)

    def tick(self) -> None:
        """Look once: pass warnings on, start again who died."""
        for child in list(self._children.values()):
            if self._warnings:
                self._pass_on(child)
            if child.ended:
                self._plan_restart(child)
        now = time.monotonic()
        for name, (at, spec) in list(self._due.items()):
            if at <= now:
                del self._due[name]
                self._children[name] = Child(spec, self._logs, self._cwd)

    def stop(self, order: Iterable[str], *, hurry: Callable[[], bool] = lambda: False) -> None:
        """End the named ones, one after the other, then whoever is left; when `hurry()` turns true, at once."""
        self._due.clear()
        for name in [*order, *self._children]:
            child = self._children.pop(name, None)
            if child is None:
                continue
            child.ask_to_stop()
            end = time.monotonic() + child.spec.stop_limit
            while child.ended is None and not hurry():
                if time.monotonic() > end:
                    self._report(name, f"did not end within {child.spec.stop_limit:.0f} s and is killed")
                    break
                time.sleep(0.02)
            if child.process.poll():
                self._report(name, f"did not end in order: it {child.ended}")
            child.clear_away()

    def _pass_on(self, child: Child) -> None:
        name, now = child.spec.name, time.monotonic()
        lines = self._waiting_lines.setdefault(name, [])
        lines += child.loud_lines()
        if not lines or now < self._quiet_until.get(name, 0):
            return
        for line in lines[:LOUDEST]:
            self._report(name, line)
        if len(lines) > LOUDEST:
            self._report(name, f"… and {len(lines) - LOUDEST} lines more in {child.log}")
        lines.clear()
        self._quiet_until[name] = now + QUIET

    def _plan_restart(self, child: Child) -> None:
        name = child.spec.name
        # Whatever it had started would stand in the way of its successor.
        child.clear_away()
        del self._children[name]
        now = time.monotonic()
        again = now - child.started < SETTLED
        pause = min(self._pauses.get(name, FIRST_PAUSE / 2) * 2, LONGEST_PAUSE) if again else FIRST_PAUSE
        self._pauses[name] = pause
        self._due[name] = (now + pause, child.spec)
        self.restarts += 1
        self._report(name, f"{child.ended}; starting it again in {pause:.1f} s (log: {child.log})")
