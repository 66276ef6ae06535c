"""Convert a provider's final report into a state and a result. schemas creates the reports."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Protocol

from jobs.failures import NO_OUTPUT
from jobs.result import Result
from jobs.states import State


class _Output(Protocol):
    @property
    def type(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def watermark_url(self) -> str | None: ...


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
    def left_out(self) -> Sequence[str]: ...
    @property
    def error(self) -> _Error | None: ...
    @property
    def usage(self) -> _Usage | None: ...


#: The codes of warnings: results that were left out; an error without a code.
LEFT_OUT, REPORTED = "left_out", "reported_error"


def ended(report: Report) -> tuple[State, Result]:
    """Return the state and the result of a final report. A failure without a reason gets a message that says so.

    A completed task without a result has failed. What is wrong beside results becomes a warning.
    """
    state, usage, error = State(report.status), report.usage, report.error
    paid = Result()
    if usage:
        cost = usage.cost
        paid = Result(
            cost=cost.amount, discount=usage.discount, unreadable_cost=cost.unreadable, rounded_cost=cost.rounded
        )
    if state is State.COMPLETED and report.output:
        output = tuple(_output(each) for each in report.output)
        warnings = [{"code": LEFT_OUT, "message": f"left out: {problem}"} for problem in report.left_out]
        if error:
            warnings.append({"code": error.code or REPORTED, "message": error.message or _NO_REASON})
        return state, replace(paid, output=output, warnings=tuple(warnings))
    if state is State.COMPLETED:
        failure = {"code": NO_OUTPUT, "message": f"{no_output(report)}; another attempt would be paid for again"}
    else:
        code, message = (error.code, error.message) if error else ("", "")
        failure = {"code": code, "message": message or _NO_REASON}
    return State.FAILED, replace(paid, error=failure)


def no_output(report: Report) -> str:
    """Describe what a completed task has instead of a result."""
    error = report.error
    details = list(report.left_out) + ([f"error {error.code} {error.message}".rstrip()] if error else [])
    return f"the provider completed the task without a usable result ({', '.join(details) or 'there is none'})"


_NO_REASON = "the provider gave no reason"


def _output(output: _Output) -> dict[str, str]:
    marked = {"watermark_url": output.watermark_url} if output.watermark_url else {}
    return {"type": output.type, "url": output.url, **marked}
