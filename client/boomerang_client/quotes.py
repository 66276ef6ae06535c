"""Quotes: what an upload would do, cost and wait for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from boomerang_client.errors import LineError, line_errors
from boomerang_client.parsing.batches import read_notes
from boomerang_client.parsing.values import MALFORMED, as_money, as_number, as_object, unexpected
from boomerang_client.responses import Note

#: Refused lines that are listed, of a quote as of an upload; and first lines of each mistake.
MOST_ERRORS, FIRST_LINES = 1_000, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate:
    """An expected cost in US dollars, and its spread: all None while it is unknown.

    `base` says what it is based on: "learned" (the last costs of such jobs), "configured" (the operator's list prices),
    "mixed" or "unknown".
    """

    base: str
    expected: Decimal | None = None
    low: Decimal | None = None
    median: Decimal | None = None
    high: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotedKind:
    """Jobs of one model, `n` and resolution ("": the model's default). `price` is that of one job."""

    model: str
    n: int
    resolution: str
    jobs: int
    price: CostEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class LineProblem:
    """A mistake: its field, the first message, the number of lines that have it, and the first of them."""

    field: str
    message: str
    lines: int
    first: tuple[int, ...] = ()

    @property
    def view(self) -> dict[str, Any]:
        """The mistake as the service returns it in JSON."""
        shown = {"field": self.field, "message": self.message, "lines": self.lines}
        return {**shown, "codes": [], "first": list(self.first)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What an upload would do. Nothing is enqueued.

    `accepted` counts the jobs that would be new, `known` the lines whose job exists already, `rejected` the lines that
    would be refused. `errors` lists the first 1,000 of these, `problems` all by mistake. `cost` is of the new jobs,
    `unpriced` the number of those of unknown price. `seconds` is the time until all have ended, None if unknown.
    `blocks` says what would stop or delay them.
    """

    accepted: int
    cost: CostEstimate
    known: int = 0
    rejected: int = 0
    errors: tuple[LineError, ...] = ()
    problems: tuple[LineProblem, ...] = ()
    kinds: tuple[QuotedKind, ...] = ()
    unpriced: int = 0
    seconds: float | None = None
    blocks: tuple[Note, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def with_refused(self, refused: Sequence[LineError]) -> "Quote":
        """Return the quote with lines that were refused before it was asked for."""
        if not refused:
            return self
        found: dict[tuple[str, str], list[int]] = {}
        for one in refused:
            for name, messages in one.errors.items():
                for message in messages:
                    found.setdefault((name, message), []).append(one.line)
        problems = [
            LineProblem(field=name, message=message, lines=len(lines), first=tuple(lines[:FIRST_LINES]))
            for (name, message), lines in found.items()
        ]
        errors = tuple(sorted((*self.errors, *refused), key=lambda one: one.line)[:MOST_ERRORS])
        view = {
            **self.raw,
            "rejected": self.rejected + len(refused),
            "errors": [{"line": one.line, "errors": dict(one.errors), "codes": list(one.codes)} for one in errors],
            "problems": [*self.raw.get("problems", ()), *(one.view for one in problems)],
        }
        return replace(
            self,
            rejected=self.rejected + len(refused),
            errors=errors,
            problems=(*self.problems, *problems),
            raw=view,
        )


def read_quote(data: object) -> Quote:
    """Parse a quote. Raises UnexpectedAnswer."""
    view = as_object(data, "quote")
    try:
        return Quote(
            accepted=int(view["accepted"]),
            known=int(view.get("known") or 0),
            rejected=int(view.get("rejected") or 0),
            errors=line_errors(view.get("errors") or ()),
            problems=tuple(map(_problem, view.get("problems") or ())),
            kinds=tuple(map(_kind, view.get("kinds") or ())),
            cost=_cost(view["cost"]),
            unpriced=int(view.get("unpriced") or 0),
            seconds=as_number(view.get("seconds")),
            blocks=read_notes(view.get("blocks")),
            raw=view,
        )
    except MALFORMED as problem:
        raise unexpected("quote", problem) from problem


def _problem(view: Mapping[str, Any]) -> LineProblem:
    return LineProblem(
        field=str(view["field"]),
        message=str(view["message"]),
        lines=int(view["lines"]),
        first=tuple(map(int, view.get("first") or ())),
    )


def _kind(view: Mapping[str, Any]) -> QuotedKind:
    return QuotedKind(
        model=str(view["model"]),
        n=int(view["n"]),
        resolution=str(view.get("resolution") or ""),
        jobs=int(view["jobs"]),
        price=_cost(view),
    )


def _cost(view: Mapping[str, Any]) -> CostEstimate:
    return CostEstimate(
        base=str(view["base"]),
        expected=as_money(view.get("expected")),
        low=as_money(view.get("low")),
        median=as_money(view.get("median")),
        high=as_money(view.get("high")),
    )
