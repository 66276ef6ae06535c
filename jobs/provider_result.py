"""Convert a provider's final report into a state and a result. schemas creates the reports."""

from collections.abc import Sequence
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


class _Usage(Protocol):
    @property
    def cost(self) -> Decimal | None: ...
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
    cost, discount = (usage.cost, usage.discount) if usage else (None, None)
    if state is State.COMPLETED:
        output = tuple({"type": each.type, "url": each.url} for each in report.output)
        return state, Result(output=output, cost=cost, discount=discount)
    code, message = (report.error.code, report.error.message) if report.error else ("", "")
    error = {"code": code, "message": message or "the provider gave no reason"}
    return state, Result(error=error, cost=cost, discount=discount)
