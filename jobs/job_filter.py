"""The filter of jobs: of a list, a count or a bulk action. The scripts apply it (jobs/lua/shared/selection.lua)."""

import json
from collections.abc import Collection, Mapping, Sized
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from jobs.failures import CODES, FailureClass, classify
from jobs.states import FINAL, State
from jobs.units import nano, to_micros


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """The conditions that a job must meet, all of them; of several values of one condition, any. Empty: every job.

    `labels` are the job's own, not those of its batch. `codes` are the error codes of failed jobs. Times: at `since` or
    later, and before `before`. Costs are in USD and include earlier attempts; a job without a price meets no condition
    about its cost. `batch` is the service's id. `owner`: only jobs of this producer; None: of any.
    """

    states: Collection[State] = ()
    batch: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    models: Collection[str] = ()
    lanes: Collection[str] = ()
    classes: Collection[FailureClass] = ()
    codes: Collection[str] = ()
    settled_by: Collection[str] = ()
    since: datetime | None = None
    before: datetime | None = None
    ended_since: datetime | None = None
    ended_before: datetime | None = None
    min_cost: Decimal | None = None
    max_cost: Decimal | None = None
    owner: str | None = None

    @property
    def named(self) -> frozenset[str]:
        """The names of the conditions that it sets."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return frozenset(
            name for name, value in values.items() if value is not None and (not isinstance(value, Sized) or len(value))
        )

    def possible_states(self, among: Collection[State] = tuple(State)) -> frozenset[State]:
        """Return the states in which a job can meet the filter, of those `among` which it may be."""
        states = frozenset(self.states or State) & frozenset(among)
        if self.codes:
            states &= {State.FAILED}
        if self.classes:
            states &= {State.FAILED} | ({State.COMPLETED} if FailureClass.UNSAVED in self.classes else set())
        if self.settled_by or self.ended_since or self.ended_before:
            states &= FINAL
        return states

    @property
    def may_change(self) -> bool:
        """Whether a job can begin to meet the filter, or cease to, in the course of its life."""
        return bool(self.named & _CHANGING)

    def to_script_json(self, among: Collection[State] = tuple(State)) -> str:
        """Serialize it for the scripts. `among`: the states in which a job is wanted at all."""
        states = self.possible_states(among)
        found: dict[str, Any] = {
            "owner": self.owner,
            "batch": self.batch,
            "states": _set(states) if states != frozenset(State) else None,
            "labels": [f"{name}={value}" for name, value in self.labels.items()] or None,
            "models": _set(self.models),
            "lanes": _set(self.lanes),
            "codes": _set(self.codes),
            "classes": _classes(self.classes),
            "settled_by": _set(self.settled_by),
            "since": _micros(self.since),
            "before": _micros(self.before),
            "ended_since": _micros(self.ended_since),
            "ended_before": _micros(self.ended_before),
            "min_cost": None if self.min_cost is None else nano(self.min_cost),
            "max_cost": None if self.max_cost is None else nano(self.max_cost),
            "may_change": self.may_change or None,
        }
        return json.dumps({name: value for name, value in found.items() if value is not None})


#: The filter that every job meets.
ALL_JOBS = JobFilter()
_CHANGING = frozenset(
    {"states", "lanes", "classes", "codes", "settled_by", "ended_since", "ended_before", "min_cost", "max_cost"}
)


def _set(values: Collection[str]) -> dict[str, bool] | None:
    return dict.fromkeys(sorted(values), True) if values else None


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)


def _classes(classes: Collection[FailureClass]) -> dict[str, Any] | None:
    """Return the codes of some classes of failure. Codes that are not listed are the provider's (jobs.failures)."""
    if not classes:
        return None
    found: dict[str, Any] = {"unsaved": FailureClass.UNSAVED in classes}
    if FailureClass.PROVIDER in classes:
        found["other_than"] = {code: True for code in CODES if classify(code) not in classes}
    else:
        found["codes"] = {code: True for code in CODES if classify(code) in classes}
    return found
