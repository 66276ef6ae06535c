"""Repairs the findings of an audit, as far as that is safe on a live system.

Records are the truth. A script recreates a record's related data from it, and checks again before it changes anything:
this may run at any time, in several processes, and twice. Then counters are corrected by their difference from the
recount, which regular changes do not alter. That must happen only once, so only one repair at a time may do it.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jobs.audit.audit import Audit, examine
from jobs.audit.findings import Check, Finding
from jobs.errors import JobsError
from jobs.store.outcomes.repairs import CorrectOutcome
from jobs.store.scripts import Scripts
from jobs.store.store import Store

#: Seconds for which a repair holds the lock on counters after its last step; each audit must take less. After that
#: another repair may begin, and this one corrects nothing more.
LOCKED = 3600.0
#: The order of repair: the data of single records, then the counters of these rules, then everything that depends on
#: them. An audit precedes each step.
COUNTED = {
    "slots",
    "window",
    "reserved",
    "uses",
    "unfinished",
    "stored",
    "batch",
    "codes",
    "expected",
    "unknown_costs",
    "spent",
}
LAST = {"image", "image bytes", "ledger"}
#: The most audits in one repair.
PASSES = 6
#: Places repaired in one round trip, and counters corrected in one step.
_STEP = 100


class RepairBusy(JobsError):
    """Another repair is under way, or was killed less than `LOCKED` seconds ago. This one corrected nothing."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What was repaired, and what a last audit found."""

    repaired: tuple[Finding, ...]
    left: Audit


def repair(store: Store, *, pause: float = 0.0) -> Repair:
    """Repair what is safe to repair. `pause`: as for an audit. Raises `StoreUnavailable` and `RepairBusy`."""
    lock = _Lock(store.context.scripts)
    repaired: dict[Finding, None] = {}
    try:
        for _ in range(PASSES):
            lock.correct(())  # held during the recount
            found = examine(store, pause=pause)
            now = _first([each for each in found.findings if each.repairable])
            if not now:
                break
            _run(store.context.scripts, [each.check for each in now if each.check])
            lock.correct(now)
            repaired.update(dict.fromkeys(now))
    finally:
        lock.release()
    return Repair(tuple(repaired), examine(store, pause=pause))


def _first(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings that must be repaired before the others."""

    def turn(finding: Finding) -> int:
        if finding.rule in LAST:
            return 2
        return 1 if finding.rule in COUNTED and finding.drifts else 0

    first = min(map(turn, findings), default=0)
    return [each for each in findings if turn(each) == first]


def _run(scripts: Scripts, checks: Iterable[Check]) -> None:
    places = list(dict.fromkeys((check.verb, check.target) for check in checks))
    for start in range(0, len(places), _STEP):
        # The next audit finds again what could not be repaired because of other damage.
        scripts.call_each([(verb, "1", *target) for verb, target in places[start : start + _STEP]])


class _Lock:
    """The lock on correcting counters. Its value changes with each correction, so that none is made twice."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._name = secrets.token_hex(8)
        self._count = 0
        self._value = ""

    def correct(self, findings: Iterable[Finding]) -> None:
        """Correct the counters of these findings; without any, only take or keep the lock. Raises `RepairBusy`."""
        drifts = list(dict.fromkeys(drift for each in findings for drift in each.drifts))
        for start in range(0, max(1, len(drifts)), _STEP):
            self._count += 1
            after = f"{self._name} {self._count}"
            flat = [
                argument
                for each in drifts[start : start + _STEP]
                for argument in (each.key, each.field, -each.over, "1" if each.absent else "0")
            ]
            outcome = self._scripts.call("repair_counters", self._value, after, int(LOCKED * 1000), *flat)
            if outcome != CorrectOutcome.DONE:
                raise RepairBusy(
                    "Another repair is correcting counters, or one was killed: nothing was corrected. Wait until it is "
                    f"done, at most {LOCKED / 60:.0f} minutes, and run this again."
                )
            self._value = after

    def release(self) -> None:
        """Release the lock."""
        if self._value:
            self._scripts.call("repair_counters", self._value, "", 1)
