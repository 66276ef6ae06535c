"""Start, watch and restart a few processes, and stop them in order.

No library does this: honcho stops everything when one process ends; circus opens control sockets and stops all
processes at once; with both, child processes survive when their parent is killed.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ops.local.child import Child, ChildSpec

#: Seconds before a child that ended is restarted. The pause doubles each time, up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 15.0
#: Seconds after which a child counts as stable: its next restart begins with the first pause.
STABLE_AFTER = 30.0
#: Warnings of a child that are reported at once, and seconds until the next report. The others stay in its log.
MOST_LINES, REPORT_EVERY = 3, 5.0

#: Called with the name of a process and a line about it.
Report = Callable[[str, str], None]


class StartFailed(Exception):
    """A child ended before it was ready, or was not ready in time. The message contains the end of its log."""


class Supervisor:
    """The child processes of a stack. Not thread-safe: only `pids` may be called from another thread."""

    def __init__(self, folder: Path, report: Report, *, warnings: bool = True) -> None:
        self._logs = folder / "logs"
        self._cwd = folder / "run"
        for each in (self._logs, self._cwd):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._report = report
        self._warnings = warnings
        self._waiting_lines: dict[str, list[str]] = {}
        self._next_report: dict[str, float] = {}
        self._children: dict[str, Child] = {}
        self._pauses: dict[str, float] = {}
        self._due: dict[str, tuple[float, ChildSpec]] = {}
        self.restarts = 0
        self._starting = False

    def pids(self) -> dict[str, int]:
        """Return the process ids of the running children by name."""
        return {name: child.process.pid for name, child in list(self._children.items()) if child.ended is None}

    def start(self, specs: Iterable[ChildSpec], limit: float, *, wanted: Callable[[], bool] = lambda: True) -> None:
        """Start children, and wait until all are ready, for at most `limit` seconds and while `wanted()` is true.

        Raises StartFailed.
        """
        self._starting = True
        waited_for = []
        for spec in specs:
            self._children[spec.name] = Child(spec, self._logs, self._cwd)
            waited_for.append(spec)
        end = time.monotonic() + limit
        while waited_for and wanted():
            for spec in waited_for:
                child = self._children[spec.name]
                if child.ended:
                    raise StartFailed(
                        f"{spec.name} {child.ended} before it was ready. The end of its log:\n{child.log_tail()}"
                    )
            waited_for = [spec for spec in waited_for if spec.ready is not None and not spec.ready()]
            if waited_for and time.monotonic() > end:
                spec = waited_for[0]
                tail = self._children[spec.name].log_tail()
                raise StartFailed(f"{spec.name} was not ready within {limit:.0f} s. The end of its log:\n{tail}")
            time.sleep(0.05)
        self._starting = False

    def tick(self) -> None:
        """Report new warnings, and restart children that ended. Call it several times a second."""
        for child in list(self._children.values()):
            if self._warnings:
                self._report_warnings(child)
            if child.ended:
                self._plan_restart(child)
        now = time.monotonic()
        for name, (at, spec) in list(self._due.items()):
            if at <= now:
                del self._due[name]
                self._children[name] = Child(spec, self._logs, self._cwd)

    def stop(self, order: Iterable[Iterable[str]], *, now: Callable[[], bool] = lambda: False) -> None:
        """Stop groups of children one after the other, then the others. While `now()` is true, kill them at once."""
        self._due.clear()
        for names in [*order, tuple(self._children)]:
            found = (self._children.pop(name, None) for name in names)
            self._stop_together([child for child in found if child], now)

    def _stop_together(self, children: Sequence[Child], now: Callable[[], bool]) -> None:
        for child in children:
            child.terminate()
        begun = time.monotonic()
        for child in children:
            name, end = child.spec.name, begun + child.spec.stop_limit
            while child.ended is None and not now():
                if time.monotonic() > end:
                    self._report(name, f"did not stop within {child.spec.stop_limit:.0f} s and is killed")
                    break
                time.sleep(0.02)
            # A process that is still starting may not handle SIGTERM yet.
            if child.process.poll() and not self._starting:
                self._report(name, f"did not stop cleanly: it {child.ended}")
            child.kill_all()

    def _report_warnings(self, child: Child) -> None:
        name, now = child.spec.name, time.monotonic()
        lines = self._waiting_lines.setdefault(name, [])
        lines += child.new_warnings()
        if not lines or now < self._next_report.get(name, 0):
            return
        for line in lines[:MOST_LINES]:
            self._report(name, line)
        if len(lines) > MOST_LINES:
            self._report(name, f"… and {len(lines) - MOST_LINES} more lines in {child.log}")
        lines.clear()
        self._next_report[name] = now + REPORT_EVERY

    def _plan_restart(self, child: Child) -> None:
        name = child.spec.name
        # Processes that it started would block its successor.
        child.kill_all()
        del self._children[name]
        now = time.monotonic()
        again = now - child.started < STABLE_AFTER
        pause = min(self._pauses.get(name, FIRST_PAUSE / 2) * 2, LONGEST_PAUSE) if again else FIRST_PAUSE
        self._pauses[name] = pause
        self._due[name] = (now + pause, child.spec)
        self.restarts += 1
        self._report(name, f"{child.ended}; restarting it in {pause:.1f} s (log: {child.log})")
