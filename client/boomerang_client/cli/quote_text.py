"""Describe quotes for people."""

from datetime import timedelta

from boomerang_client.cli.screen import Screen
from boomerang_client.quotes import CostEstimate, LineProblem, Quote, QuotedKind
from boomerang_client.terminal import clean

#: Lines of kinds and of mistakes that are printed.
_MOST = 20


def report_quote(screen: Screen, quote: Quote, unit: str = "line") -> None:
    """Print a quote. `unit`: what the file calls its lines."""
    if screen.as_json:
        screen.result_json(quote.raw)
        return
    screen.result(
        f"{quote.accepted:,} jobs would be accepted, {quote.known:,} are known, {quote.rejected:,} would be rejected. "
        "Nothing was enqueued."
    )
    for problem in quote.problems[:_MOST]:
        screen.message(f"  {_problem_text(problem, unit)}")
    if len(quote.problems) > _MOST:
        screen.message(f"  and {len(quote.problems) - _MOST:,} more kinds of mistakes")
    for kind in quote.kinds[:_MOST]:
        screen.result(f"  {_kind_text(kind)}")
    if len(quote.kinds) > _MOST:
        screen.result(f"  and {len(quote.kinds) - _MOST:,} more kinds of jobs")
    if quote.accepted:
        unpriced = f"the price of {quote.unpriced:,} jobs is unknown" if quote.unpriced else ""
        screen.result(f"Cost: {unpriced or _cost_text(quote.cost)}.")
        screen.result(f"Time: {'unknown' if quote.seconds is None else timedelta(seconds=round(quote.seconds))}.")
    for block in quote.blocks:
        screen.result(f"Note: {clean(block.message)}.")


def _problem_text(problem: LineProblem, unit: str) -> str:
    more = ", …" if problem.lines > len(problem.first) else ""
    where = f"{unit}{'' if problem.lines == 1 else 's'} {', '.join(map(str, problem.first))}{more}"
    return f"{problem.lines:,} × {clean(problem.field)} {clean(problem.message)} ({where})"


def _kind_text(kind: QuotedKind) -> str:
    what = ", ".join(part for part in (kind.model, f"n={kind.n}", kind.resolution) if part)
    price = "of unknown price" if kind.price.expected is None else f"at {_cost_text(kind.price)}"
    return clean(f"{kind.jobs:,} × {what}: {price}")


def _cost_text(cost: CostEstimate) -> str:
    spread = f" ({cost.low} to {cost.high})" if cost.low != cost.high else ""
    return f"{cost.expected} USD{spread}, {cost.base}"
