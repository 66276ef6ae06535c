"""Putting right what an audit finds, as far as that is safe, on a live system.

Records lead: what stands beside one is made anew from it, by a script that looks again before it changes anything. So
it may be done at any time, by several at once, and twice. Counters follow: they are corrected by what they are off,
which stays the same whatever lawful changes go on; but only once, so that one repair at a time may do so.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jobs.audit.audit import Audit, examine
from jobs.audit.findings import Finding, Look
from jobs.errors import JobsError
from jobs.store.scripts import Scripts
from jobs.store.store import Store

#: Seconds for which one step of a repair (a look at everything, at most) has the counters to itself; another may begin
#: after that, and this one then corrects nothing more.
LOCKED = 3600.0
#: First what stands beside single records; then the counters of these rules; then what goes by those. Each upon a look
#: at everything.
COUNTED = {"slots", "window", "reserved", "uses", "batch", "codes", "expected", "spent"}
LAST = {"image", "image bytes", "ledger"}
#: Looks at everything, at most.
PASSES = 6
#: Places mended in one round trip, and counters corrected in one step.
_STEP = 100


class RepairBusy(JobsError):
    """Another repair is under way, or was killed less than `LOCKED` seconds ago. Nothing was corrected by this one."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What was mended, and what a last look at everything found."""

    mended: tuple[Finding, ...]
    left: Audit


def repair(store: Store, *, pause: float = 0.0) -> Repair:
    """Mend what is safe. Raises `StoreUnavailable` and `RepairBusy`. `pause` in seconds, as for an audit."""
    lock = _Lock(store.context.scripts)
    mended: dict[Finding, None] = {}
    try:
        for _ in range(PASSES):
            lock.correct(())  # it is held while everything is counted
            found = examine(store, pause=pause)
            now = _first([each for each in found.findings if each.mendable])
            if not now:
                break
            _mend(store.context.scripts, [each.look for each in now if each.look])
            lock.correct(now)
            mended.update(dict.fromkeys(now))
    finally:
        lock.release()
    return Repair(tuple(mended), examine(store, pause=pause))


def _first(findings: Sequence[Finding]) -> list[Finding]:
    """Those that are to be mended before the others."""

    def turn(finding: Finding) -> int:
        if finding.rule in LAST:
            return 2
        return 1 if finding.rule in COUNTED and finding.drifts else 0

    first = min(map(turn, findings), default=0)
    return [each for each in findings if turn(each) == first]


def _mend(scripts: Scripts, looks: Iterable[Look]) -> None:
    places = list(dict.fromkeys((look.verb, look.target) for look in looks))
    for start in range(0, len(places), _STEP):
        # What cannot be mended, since something beside it is damaged, the next look finds again.
        scripts.tries([(verb, "1", *target) for verb, target in places[start : start + _STEP]])


class _Lock:
    """The right to correct counters. Its value changes with each correction, so that none is made twice."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._name = secrets.token_hex(8)
        self._count = 0
        self._value = ""

    def correct(self, findings: Iterable[Finding]) -> None:
        """Correct the counters of these findings; without any, only take or keep the right. Raises `RepairBusy`."""
        drifts = list(dict.fromkeys(drift for each in findings for drift in each.drifts))
        for start in range(0, max(1, len(drifts)), _STEP):
            self._count += 1
            after = f"{self._name} {self._count}"
            flat = [
                word
                for each in drifts[start : start + _STEP]
                for word in (each.key, each.field, -each.over, "1" if each.absent else "0")
            ]
            said = self._scripts.call("repair_counters", self._value, after, int(LOCKED * 1000), *flat)
            if said != "done":
                raise RepairBusy(
                    "Another repair is correcting counters, or one was killed in the middle "
                    f"(then wait {LOCKED / 60:.0f} minutes). Nothing of this was corrected."
                )
            self._value = after

    def release(self) -> None:
        """Let others correct counters."""
        if self._value:
            self._scripts.call("repair_counters", self._value, "", 1)
