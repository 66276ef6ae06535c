"""Convert a provider's final report into a state and a result. schemas creates the reports."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Protocol

from jobs.job import Result
from jobs.states import State


class _Output(Protocol):
    @property
    def type(self) -> str: ...
    @property
    def url(self) -> str: ...


class _Error(Protocol):
    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...


class _Cost(Protocol):
    @property
    def amount(self) -> Decimal | None: ...
    @property
    def unreadable(self) -> str | None: ...
    @property
    def rounded(self) -> str | None: ...


class _Usage(Protocol):
    @property
    def cost(self) -> _Cost: ...
    @property
    def discount(self) -> Any: ...


class Report(Protocol):
    """A task report whose status is `completed` or `failed`."""

    @property
    def status(self) -> str: ...
    @property
    def output(self) -> Sequence[_Output]: ...
    @property
    def error(self) -> _Error | None: ...
    @property
    def usage(self) -> _Usage | None: ...


def ended(report: Report) -> tuple[State, Result]:
    """Return the state and the result of a final report. A failure without a reason gets a message that says so."""
    state, usage = State(report.status), report.usage
    paid = Result()
    if usage:
        cost = usage.cost
        paid = Result(
            cost=cost.amount, discount=usage.discount, unreadable_cost=cost.unreadable, rounded_cost=cost.rounded
        )
    if state is State.COMPLETED:
        return state, replace(paid, output=tuple({"type": each.type, "url": each.url} for each in report.output))
    code, message = (report.error.code, report.error.message) if report.error else ("", "")
    return state, replace(paid, error={"code": code, "message": message or "the provider gave no reason"})
