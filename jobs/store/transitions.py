"""The result of a change of a job's state."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from jobs.states import State

OutcomeT_co = TypeVar("OutcomeT_co", bound=StrEnum, covariant=True)


@dataclass(frozen=True, slots=True)
class TransitionResult(Generic[OutcomeT_co]):
    """The effect of a verb on a job; `outcome` is the verb's (jobs.store.outcomes).

    `admit_hint`: send an admission hint, because waiting jobs can use the slots that became free. `owed`: a delivery is
    due.
    """

    outcome: OutcomeT_co
    state: State | None
    admit_hint: bool = False
    owed: bool = False


def read_transition(outcomes: type[OutcomeT_co], row: Iterable[Any]) -> TransitionResult[OutcomeT_co]:
    """Read a script's answer: outcome, state ('' for none), whether to send a hint, whether a delivery is due."""
    outcome, state, admit_hint, owed = row
    return TransitionResult(outcomes(outcome), State(state) if state else None, bool(admit_hint), bool(owed))
