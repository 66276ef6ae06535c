"""Forecasts of jobs that are not accepted: which would be, what they would cost, how long they would take."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from jobs import eta
from jobs.decoding import decoding
from jobs.estimates import Estimate, Price, sum_up
from jobs.job import CLASSES, Priority
from jobs.lanes import LaneSettings
from jobs.new_job import BatchOptions, NewJob, Outcome
from jobs.owners import ANYONE
from jobs.room import Room
from jobs.settings import Settings
from jobs.store.arguments import within
from jobs.store.context import StoreContext
from jobs.store.spending import key_caps
from jobs.store.wait_reasons import closed_text, lanes_of, usd
from jobs.units import dollars, nano

#: Parts of a lane's budget that a quote tells apart for producers.
STEPS = 10


@dataclass(frozen=True, slots=True)
class Checked:
    """What would become of a job. `missing`: hashes of images that it names and that are not stored."""

    outcome: Outcome
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Block:
    """What would keep jobs from being accepted or submitted: a `code` for programs, and a text."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What jobs would cost and wait for. `prices`: by price class. `seconds`: until all have ended; None: unknown."""

    prices: Mapping[str, Price]
    estimate: Estimate
    seconds: float | None
    blocks: tuple[Block, ...]


class Forecasts:
    """Reads what jobs that are not accepted would meet. Nothing is written. All raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._scripts = context.scripts
        self._context = context

    def check(
        self, jobs: Sequence[NewJob], *, caller: str = ANYONE, images: Collection[str] = ()
    ) -> tuple[Checked, ...]:
        """Return what would become of each job; at most a few hundred a call.

        `caller`: whose jobs and images may be there already. `images`: hashes of those that come with the jobs.
        """
        arguments = [text for job in jobs for text in (job.id, job.text)]
        answers = self._scripts.call("check", caller, json.dumps(dict.fromkeys(images, True)), *arguments)
        return tuple(map(_checked, answers))

    def forecast(
        self,
        owner: str,
        classes: Mapping[str, int],
        pools: Collection[str],
        options: BatchOptions,
        *,
        existing: Estimate | None = None,
        room: Room | None = None,
        shows_spent: bool = False,
    ) -> Forecast:
        """Return what so many jobs of each price class would cost, and what would block them.

        `pools`: those that they would wait in. `options`: of their batch, `existing`: what it costs without them.
        `shows_spent`: whether the caller may see what the lanes, which all producers share, have spent.
        """
        settings = self._context.settings
        lanes = {lane.name: lane for pool in pools for lane in lanes_of(settings, pool)}
        answer = self._scripts.call(
            "forecast", owner, json.dumps(list(classes)), json.dumps(sorted(pools)), json.dumps(list(lanes)),
            within(room),
        )  # fmt: skip
        with decoding("the forecast"):
            found = json.loads(answer)
            learned = found["classes"]
            prices = {each: Price.of(learned[each], settings.list_prices.of(each)) for each in classes}
            estimate = sum_up((prices[each], count) for each, count in classes.items())
            blocks = [
                *at_cap(options.max_cost, estimate, *([existing] if existing else [])),
                *_at_key_budget(settings, owner, found, estimate),
                *_at_lane_budgets(lanes, found, estimate, shows_spent=shows_spent),
                *_at_room(found.get("free"), sum(classes.values())),
                *_closed(settings, pools, found["lanes"]),
            ]
            seconds = _seconds(settings, owner, sum(classes.values()), options, found)
        return Forecast(prices=prices, estimate=estimate, seconds=seconds, blocks=tuple(blocks))


def _seconds(
    settings: Settings, owner: str, count: int, options: BatchOptions, found: Mapping[str, Any]
) -> float | None:
    pace = found["pace"]
    class_ = CLASSES[options.priority or Priority.NORMAL]
    share = eta.share(pace["flows"], settings.key_limits, class_, owner, options.weight)
    return eta.eta(
        left=count,
        queued=count,
        per_second=0,
        submit_rate=0,
        held=max(0.0, (int(pace["hold"]) - int(found["now"])) / 1e6),
        paused=False,
        pace=eta.pace(pace["lanes"], eta.limits_of(settings.lanes, pace["lanes"]), share),
    )


def _at_key_budget(settings: Settings, owner: str, found: Mapping[str, Any], estimate: Estimate) -> Iterator[Block]:
    if owner in (caps := key_caps(settings)):
        yield from _at_budget("key_budget", f"the budget of key {owner}", caps[owner], [found["key"]], estimate)


def _at_lane_budgets(
    lanes: Mapping[str, LaneSettings], found: Mapping[str, Any], estimate: Estimate, *, shows_spent: bool
) -> Iterator[Block]:
    budgets = [lane.max_cost_per_day for lane in lanes.values()]
    of_lanes = [budget for budget in budgets if budget is not None]
    if of_lanes and len(of_lanes) == len(budgets):
        what = f"the budget of {'lane' if len(lanes) == 1 else 'lanes'} {', '.join(lanes)}"
        used = [found["lanes"][name] for name in lanes]
        limit = sum(map(nano, of_lanes))
        if shows_spent:
            yield from _at_budget("lane_budget", what, limit, used, estimate)
            return
        # In coarse steps: many quotes of different sizes would otherwise find out what other producers spend.
        for block in _at_budget("lane_budget", what, limit, used, estimate, step=max(1, limit // STEPS)):
            yield Block(block.code, f"{what} for today may not suffice: jobs beyond it wait until tomorrow (UTC)")


def _closed(settings: Settings, pools: Collection[str], lanes: Mapping[str, Any]) -> Iterator[Block]:
    closed = {name: each["closed"] for name, each in lanes.items() if "closed" in each}
    for pool in sorted(pools):
        names = [lane.name for lane in lanes_of(settings, pool)]
        if names and all(name in closed for name in names):
            yield Block("lane_closed", "; ".join(closed_text(name, closed) or "" for name in names))


def _checked(answer: str) -> Checked:
    outcome, *missing = str(answer).split(" ")
    return Checked(Outcome(outcome), frozenset(missing))


def at_cap(cap: Decimal | None, *estimates: Estimate) -> Iterator[Block]:
    """Say whether a batch will reach its cap. `estimates`: of all its jobs, and what it has cost."""
    if cap is None:
        return
    if unpriced := sum(each.unpriced for each in estimates):
        yield Block(
            "unknown_price",
            f"the price of {unpriced:,} jobs is unknown: under max_cost they are sent one at a time until it is known",
        )
    elif (expected := sum((each.expected or Decimal(0) for each in estimates), Decimal(0))) > cap:
        yield Block(
            "max_cost",
            f"max_cost of {cap:f} USD is below the expected cost of {expected:f} USD: the batch will pause midway",
        )


def _at_budget(
    code: str, what: str, limit: int, used: Sequence[Mapping[str, Any]], estimate: Estimate, *, step: int = 1
) -> Iterator[Block]:
    """Say whether a budget will be used up. `step`: what is left counts in multiples of it, rounded down."""
    if any(int(each["unknown"]) for each in used):
        yield Block(code, f"{what} for today cannot be kept, because the costs of some results are unknown")
        return
    left = max(0, limit - sum(int(each["spent"]) + int(each["reserved"]) for each in used)) // step * step
    if left == 0 or (estimate.expected is not None and estimate.expected > dollars(left)):
        yield Block(code, f"{usd(left)} are left of {what} for today: jobs beyond that wait until tomorrow (UTC)")


def _at_room(free: int | None, count: int) -> Iterator[Block]:
    if free is not None and count > free:
        yield Block(
            "room", f"there is room for {int(free):,} more unfinished jobs: the others are refused (429) until jobs end"
        )
