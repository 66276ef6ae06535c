"""The result of a change of a job's state."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from jobs.states import State


@dataclass(frozen=True, slots=True)
class TransitionResult:
    """What a verb did with a job: the end of an attempt, a cancel, a retry or a pause.

    `outcome` is the script's own (see `finish.lua`, `cancel.lua`, `retry.lua`). `admit_hint`: send an admission hint,
    because waiting jobs can use the slots that became free. `owed`: a delivery is due.
    """

    outcome: str
    state: State | None
    admit_hint: bool = False
    owed: bool = False

    @classmethod
    def from_row(cls, row: Iterable[Any]) -> Self:
        """Read a script's answer: outcome, state ('' for none), whether to send a hint, whether a delivery is due."""
        outcome, state, admit_hint, owed = row
        return cls(str(outcome), State(state) if state else None, bool(admit_hint), bool(owed))
