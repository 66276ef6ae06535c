"""Findings of counters that differ from a recount."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jobs.audit.findings import Drift, Finding, Reader, whole
from jobs.fields import BatchCounter, is_text
from jobs.states import FINAL, State

_OPEN = tuple(state for state in State if state not in FINAL)
#: Rule, fields, and what they count.
_BY = (
    ("codes", BatchCounter.FAILED, "failed jobs of the code"),
    ("expected", BatchCounter.UNFINISHED, "unfinished jobs of"),
    ("unknown_costs", BatchCounter.UNKNOWN_COSTS, "jobs of unknown cost:"),
    ("pilot", BatchCounter.PILOT_LEFT, "unfinished jobs of the pilot:"),
)
#: Hash, which is the rule, too → the id of a finding, and what is counted.
_BY_NAME = {
    "reserved": ("{}", "what is reserved for {}"),
    "uses": ("{}", "how often unfinished jobs name it"),
    "unfinished": ("key {}", "the number of its unfinished jobs"),
    "stored": ("key {}", "the size of its jobs"),
}
_DAMAGED_FIRST = "First repair what the audit calls damaged: such records are not counted. Then run the audit again."
_UNKNOWABLE = (
    "None: it is not known in which states the forgotten jobs were counted. No job suffers from these counters."
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Compares the counters of one key with a recount.

    `gone`: jobs of each batch that were deleted before the first record was read. `damaged`: there are damaged records,
    so the correct counts are unknown, and no counter is corrected.
    """

    reader: Reader
    gone: Mapping[str, int]
    damaged: bool

    def of(self, key: str, stored: Mapping[str, str], counted: Counter[str]) -> Iterator[Finding]:
        """Yield the differences between the fields of a hash and the recount of each."""
        member, single = self.reader.keys.member, self.reader.keys.singleton
        if key.startswith(member("lane", "")):
            lane = key.removeprefix(member("lane", ""))
            for name in ("slots", "window"):
                if drift := _drift(key, name, stored, counted):
                    detail = f"differs from its recount by {drift.over:+d}"
                    yield self._finding(name, f"lane {lane}", detail, drift)
        elif key in (hashes := {single(rule): rule for rule in _BY_NAME}):
            yield from self._by_name(hashes[key], key, stored, counted)
        else:
            yield from self._batch(key, stored, counted)

    def _by_name(self, rule: str, key: str, stored: Mapping[str, str], counted: Counter[str]) -> Iterator[Finding]:
        """Compare a hash that counts by name, without zeros. Names that are no text are reported as damage."""
        for name in sorted(filter(is_text, {*stored, *counted})):
            if drift := _drift(key, name, stored, counted, absent=True):
                subject, what = (each.format(name) for each in _BY_NAME[rule])
                yield self._finding(rule, subject, f"{what} differs from a recount by {drift.over:+d}", drift)

    def _batch(self, key: str, stored: Mapping[str, str], counted: Counter[str]) -> Iterator[Finding]:
        batch = key.removeprefix(self.reader.keys.member("batch", ""))
        gone = whole(stored.get("gone"))
        if gone != self.gone.get(batch, 0) or (not stored and batch in self.gone):
            return  # some of its jobs were deleted while it was read
        if "created" not in stored:
            if any(counted.values()):
                yield Finding("batch", batch, "jobs name it, but there is no such batch", "Its counters are lost.")
            return
        yield from self._states(key, batch, stored, counted)
        for rule, start, what in _BY:
            for name in sorted({name for name in (*stored, *counted) if name.startswith(start)}):
                if drift := _drift(key, name, stored, counted, absent=True):
                    detail = (
                        f"its {what} {name.removeprefix(start) or 'none'} differ from their recount by {drift.over:+d}"
                    )
                    yield self._finding(rule, batch, detail, drift)

    def _states(self, key: str, batch: str, stored: Mapping[str, str], counted: Counter[str]) -> Iterator[Finding]:
        """Compare the counters by state. Deleted jobs still count in the state in which they ended."""
        gone = whole(stored.get("gone"))
        drifts = {state: _drift(key, state, stored, counted) for state in State}
        off = {state: drift for state, drift in drifts.items() if drift}
        ended = sum(drift.over for state, drift in off.items() if state in FINAL)
        lost = any(drift.over < 0 or state in _OPEN for state, drift in off.items())
        if lost or ended != gone:
            differences = ", ".join(f"{state} {drift.over:+d}" for state, drift in off.items()) or "equal"
            detail = f"counters against a recount: {differences}; {gone} forgotten since"
            # The final states of the deleted jobs are unknown.
            sure = [drift for state, drift in off.items() if not gone or state in _OPEN]
            yield self._finding("batch", batch, detail, *sure)
        jobs = sum(counted[state] for state in State) + gone
        accepted = _drift(key, "accepted", stored, Counter(accepted=jobs))
        over = whole(stored.get("accepted")) - sum(whole(stored.get(state)) for state in State)
        if accepted or (over and not (lost or ended != gone)):
            detail = f"accepted differs from the sum over states by {over}, from a recount by "
            detail += f"{accepted.over if accepted else 0:+d}"
            with self.reader.client.pipeline(transaction=False) as pipe:
                pipe.llen(self.reader.keys.member("members", batch))
                (listed,) = self.reader.ask(pipe)
            known = accepted is not None and listed == whole(stored.get("accepted")) - accepted.over
            yield self._finding("batch", batch, detail, *([accepted] if accepted and known else []))

    def _finding(self, rule: str, id_: str, detail: str, *drifts: Drift) -> Finding:
        if self.damaged:
            return Finding(rule, id_, detail, _DAMAGED_FIRST)
        commands = "; ".join(f"HINCRBY {each.key} '{each.field}' {-each.over}" for each in drifts)
        return Finding(rule, id_, detail, commands or _UNKNOWABLE, drifts=drifts)


def _drift(
    key: str, name: str, stored: Mapping[str, str], counted: Mapping[str, int], *, absent: bool = False
) -> Drift | None:
    over = whole(stored.get(name)) - counted.get(name, 0)
    # If the value is not a number, the difference is the whole count, even if that is 0.
    malformed = name in stored and str(whole(stored[name])) != stored[name]
    return Drift(key, name, over, absent) if over or malformed else None
