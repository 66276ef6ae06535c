"""The reasons why jobs and batches wait, as text for answers.

Records do not contain the reason, because a million jobs may wait for the same one. The script `wait_reasons` finds it
by the rules of admission. This module gives the script the lanes and caps, and converts its answer to text.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

from jobs.decoding import decoding
from jobs.errors import RecordDamaged
from jobs.job import Job
from jobs.lane_health import paused_text
from jobs.lanes import ONLY, LaneSettings
from jobs.liveness import blocking, find_troubles
from jobs.read_models import Batch
from jobs.settings import Settings
from jobs.states import State
from jobs.store.liveness import PULSE, read_pulse
from jobs.store.scripts import Scripts
from jobs.store.spending import key_caps, lane_caps, next_day
from jobs.units import dollars, from_micros

log = logging.getLogger(__name__)

#: The command that settles unknown costs.
SETTLE_COST = "boomerang-server settle-cost"
ON_REQUEST = "paused on request"
WAITS_FOR_APPROVAL = "waits for an approval (POST /v1/batches/<id>/approve, or boomerang approve)"


class Stop(StrEnum):
    """Why a cap stops jobs of one price class (`stopped_at_cap` in jobs/lua/shared/money.lua)."""

    UNKNOWN_COST = "unknown_cost"
    ONE_AT_A_TIME = "one_at_a_time"
    TOO_DEAR = "too_dear"
    RESERVED = "reserved"
    USED_UP = "used_up"


def why_job(scripts: Scripts, settings: Settings, job: Job, pulse: Any = None) -> str | None:
    """Return why an unfinished job waits, if there is a reason; else the reason in its record.

    `pulse`: the answer of that verb, if it was called before.
    """
    if job.waits and job.paused:
        return ON_REQUEST
    lanes = lanes_of(settings, job.pool)
    if job.waits and not lanes:
        return "no configured lane takes it (BOOMERANG_LANES)"
    questions = [_question(settings, job.batch or "", job.id, lanes)] if job.waits else []
    if pulse is None:
        pulse, *answers = scripts.call_each([(PULSE,), *questions])
    else:
        answers = scripts.call_each(questions) if questions else []
    stall = _stall(pulse)
    if answers:
        stall = _read(settings, f"what job {job.id} waits for", answers[0], lanes, stall)
    return stall or job.reason


def with_reasons(scripts: Scripts, settings: Settings, batches: Sequence[Batch]) -> list[Batch]:
    """Return the batches with the reasons why they wait, after one round trip.

    While the service is stalled, none has an ETA.
    """
    if all(batch.done for batch in batches):
        return list(batches)
    lanes = {
        batch.id: [lane for pool in batch.pools for lane in lanes_of(settings, pool)]
        for batch in batches
        if batch.counts[State.QUEUED]
    }
    questions = [_question(settings, batch_id, "", among) for batch_id, among in lanes.items()]
    pulse, *answers = scripts.call_each([(PULSE,), *questions])
    stall = _stall(pulse)
    whys = {
        batch_id: _read(settings, f"what batch {batch_id} waits for", answer, lanes[batch_id], stall)
        for batch_id, answer in zip(lanes, answers, strict=True)
    }
    return [
        batch if batch.done else replace(batch, reason=whys.get(batch.id, stall), eta=None if stall else batch.eta)
        for batch in batches
    ]


def _stall(pulse: Any) -> str | None:
    """Return what keeps all jobs from going on, given the answer of `pulse`."""
    trouble = blocking(find_troubles(read_pulse(pulse)))
    return trouble.what if trouble else None


def _read(settings: Settings, what: str, answer: Any, lanes: Sequence[LaneSettings], stall: str | None) -> str | None:
    """Put an answer of `wait_reasons` into words; `stall` where it is damaged."""
    try:
        if isinstance(answer, RecordDamaged):
            raise answer
        with decoding(what):
            return _why(settings, json.loads(answer), lanes, stall)
    except RecordDamaged as error:
        log.warning("%s", error)
        return stall


def lanes_of(settings: Settings, pool: str) -> list[LaneSettings]:
    """Return the lanes that admit from a pool."""
    return [lane for lane in settings.lanes if pool in (lane.pool, ONLY + lane.name)]


def _question(settings: Settings, batch: str, job_id: str, lanes: Sequence[LaneSettings]) -> tuple[str, ...]:
    caps = {"keys": key_caps(settings), "lanes": lane_caps(lanes)}
    return "wait_reasons", batch, job_id, json.dumps([lane.name for lane in lanes]), json.dumps(caps)


def _why(settings: Settings, answer: Mapping[str, Any], lanes: Sequence[LaneSettings], stall: str | None) -> str | None:
    match answer.get("halted"):
        case "max_cost" | "unknown_cost":
            return _why_paused(answer)
        case "cancel":
            return stall or "it is being cancelled"
        case "approval" | "pilot":
            return _why_unapproved(answer["pilot"]) if "pilot" in answer else f"its batch {WAITS_FOR_APPROVAL}"
        case str():
            return ON_REQUEST
    if stall:
        return stall
    closed = {lane.name: closed_text(lane.name, answer["lanes"]) for lane in lanes}
    # Price classes stop one by one: a reason is worth saying where none of the jobs can go.
    whys = [_why_class(settings, answer, stops, lanes, closed) for stops in answer["classes"].values()]
    whys = whys or [_if_all(list(closed.values()))]
    return _if_all(whys) or (_why_unapproved(answer["pilot"]) if "pilot" in answer else None)


def _why_paused(answer: Mapping[str, Any]) -> str:
    """Say why a batch is paused at its cap, which is decided anew when it is resumed."""
    cap, unknown = f"max_cost of {usd(answer['cap'])}", int(answer["unknown"])
    if unknown:
        way_on = f"paused until it is resumed with a max_cost, or an operator settles the costs ({SETTLE_COST})"
        return f"the costs of {unknown} of its jobs are unknown, so {cap} cannot be kept: {way_on}"
    stops = [stops["batch"] for stops in answer["classes"].values() if "batch" in stops]
    if not stops:
        return f"paused at its {cap}, but its next job would fit now: resume it"
    return f"{_at_cap(stops[0], cap)}: paused until it is resumed with a higher one"


def _why_unapproved(pilot: Mapping[str, str]) -> str:
    """Say what a batch, or a job that is not of its pilot, waits for."""
    if "size" not in pilot:
        return WAITS_FOR_APPROVAL
    if "count" not in pilot:
        return f"its pilot of {pilot['size']} jobs begins at the end of the upload: repeat an upload that broke off"
    if int(pilot.get("left", 0)):
        left = f"{pilot['left']} of the {pilot['count']} jobs of its pilot have not ended"
        return f"{left}; the others wait for an approval"
    return f"its pilot of {pilot['count']} jobs is over: {WAITS_FOR_APPROVAL}"


def _if_all(whys: Sequence[str | None]) -> str | None:
    return whys[0] if whys and all(whys) else None


def _why_class(
    settings: Settings,
    answer: Mapping[str, Any],
    stops: Mapping[str, Any],
    lanes: Sequence[LaneSettings],
    closed: Mapping[str, str | None],
) -> str | None:
    now = int(answer["now"]) / 1e6
    if "batch" in stops:
        return _at_cap(stops["batch"], f"max_cost of {usd(answer['cap'])}")
    if "key" in stops:
        key = answer["key"]
        budget = settings.key_limits[key].max_cost_per_day
        return _at_cap(stops["key"], f"the budget of key {key} for today ({budget} USD)", now)
    by_lane: list[str | None] = []
    for lane in lanes:
        why = closed[lane.name]
        if not why and lane.name in stops["lanes"]:
            of_lane = f"the budget of lane {lane.name} for today ({lane.max_cost_per_day} USD)"
            why = _at_cap(stops["lanes"][lane.name], of_lane, now)
        by_lane.append(why)
    return _if_all(by_lane)


def closed_text(lane: str, closed: Mapping[str, Mapping[str, str]]) -> str | None:
    """Say why nothing is sent through a lane; None if it is not closed. `closed`: `closed_state` in Lua, by lane."""
    if lane not in closed:
        return None
    stands = closed[lane]
    if "paused" in stands:
        until = f" until {from_micros(stands['paused_until']).isoformat()}" if "paused_until" in stands else ""
        return f"lane {lane} is {paused_text(stands['paused'])}{until}"
    if "open" in stands:
        since = from_micros(stands["open"]).isoformat()
        return f"lane {lane} has not answered since {since}: {stands.get('because', '')}"
    return f"lane {lane} is on hold until {from_micros(stands['hold']).isoformat()}: {stands.get('why', '')}"


def _at_cap(stop: Mapping[str, str], cap: str, today: float | None = None) -> str:
    """Describe why a cap stops jobs. `today`: a time (seconds since 1970) of the day of the cap."""
    price, left = stop.get("price"), int(stop["left"])
    goes_on = f", goes on at {next_day(today).isoformat()}" if today is not None else ""
    match Stop(stop["why"]):
        case Stop.UNKNOWN_COST:
            settle = f"until an operator settles them ({SETTLE_COST})"
            return f"{cap} cannot be kept, because the costs of some results are unknown: waits {settle}{goes_on}"
        case Stop.ONE_AT_A_TIME:
            return f"{cap}: such jobs are sent one at a time until their cost is known"
        case Stop.TOO_DEAR:
            return f"{cap} is less than the expected cost of the next job ({usd(stop['price'])})"
        case Stop.RESERVED:
            return f"{cap} is used up or reserved for jobs under way"
        case Stop.USED_UP if price and left:
            return f"the expected cost of the next job ({usd(price)}) exceeds the {usd(left)} left of {cap}{goes_on}"
        case Stop.USED_UP:
            return f"{cap} is used up{goes_on}"


def usd(amount: str | int) -> str:
    """Write nano-dollars as an amount."""
    return f"{dollars(amount):f} USD"
