"""Why a job, or a batch, waits: what is paused, at a cap or on hold, told when it is asked for.

Nothing of it is written to the records: a million jobs may wait for one reason. The same rules as in admission
(`stopped_by_cap` in jobs/lua/shared/money.lua).
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from jobs.decoding import decoding
from jobs.errors import RecordDamaged
from jobs.job import Job, dollars, from_micros, nano
from jobs.lanes import ONLY, LaneSettings
from jobs.read_models import Batch
from jobs.settings import Settings
from jobs.states import State
from jobs.store.scripts import Scripts
from jobs.store.spending import next_day

log = logging.getLogger(__name__)

ON_REQUEST = "paused on request"


def why_job(scripts: Scripts, settings: Settings, job: Job) -> str | None:
    """What a queued job waits for, where that is worth saying; else what its record says."""
    if not job.waits:
        return job.reason
    if job.paused:
        return ON_REQUEST
    lanes = lanes_of(settings, job.pool)
    if not lanes:
        return "no lane that it may go to is configured (BOOMERANG_LANES)"
    try:
        with decoding(f"what job {job.id} waits for"):
            told = json.loads(scripts.call(*_question(job.batch or "", job.owner, lanes, [job.price_class])))
            return _why(settings, {**told, "batch": job.batch}, lanes) or job.reason
    except RecordDamaged as error:
        log.warning("%s", error)
        return job.reason


def with_reasons(scripts: Scripts, settings: Settings, batches: Sequence[Batch]) -> list[Batch]:
    """The batches with what they wait for, asked in one round trip."""
    lanes = {
        batch.id: [lane for pool in batch.pools for lane in lanes_of(settings, pool)]
        for batch in batches
        if batch.counts[State.QUEUED]
    }
    if not lanes:
        return list(batches)
    told = scripts.tries([_question(batch_id, "", among, None) for batch_id, among in lanes.items()])
    whys: dict[str, str | None] = {}
    for batch_id, each in zip(lanes, told, strict=True):
        try:
            if isinstance(each, RecordDamaged):
                raise each
            with decoding(f"what batch {batch_id} waits for"):
                whys[batch_id] = _why(settings, {**json.loads(each), "batch": batch_id}, lanes[batch_id])
        except RecordDamaged as error:
            log.warning("%s", error)
    return [replace(batch, reason=whys.get(batch.id)) for batch in batches]


def lanes_of(settings: Settings, pool: str) -> list[LaneSettings]:
    """The lanes that admit from a pool."""
    return [lane for lane in settings.lanes if pool in (lane.pool, ONLY + lane.name)]


def _question(batch: str, key: str, lanes: Sequence[LaneSettings], classes: list[str] | None) -> tuple[str, ...]:
    names = json.dumps([lane.name for lane in lanes])
    return "wait_reasons", batch, key, names, "" if classes is None else json.dumps(classes)


def _why(settings: Settings, told: Any, lanes: Sequence[LaneSettings]) -> str | None:
    if told.get("paused") == "max_cost":
        return f"max_cost of {_usd(told['cap'])} is reached: paused until it is resumed with a higher one"
    if "paused" in told:
        return ON_REQUEST
    if told.get("doing") == "cancel":
        return "it is being cancelled"
    money = _Money(settings, told)
    # Whatever can go of a batch is going; while one kind of its jobs is stopped the others are not.
    whys = [_why_class(money, told, each, lanes) for each in told["prices"]] or [_held(told, lanes)]
    return whys[0] if all(whys) else None


def _why_class(money: "_Money", told: Any, class_: str, lanes: Sequence[LaneSettings]) -> str | None:
    if why := money.of_batch(class_) or money.of_key(class_):
        return why
    by_lane = [_hold(told, lane.name) or money.of_lane(class_, lane) for lane in lanes]
    return by_lane[0] if by_lane and all(by_lane) else None


def _held(told: Any, lanes: Sequence[LaneSettings]) -> str | None:
    holds = [_hold(told, lane.name) for lane in lanes]
    return holds[0] if holds and all(holds) else None


def _hold(told: Any, lane: str) -> str | None:
    stands = told["lanes"][lane]
    if "open" in stands:
        return (
            f"lane {lane} has not answered since {from_micros(stands['open']).isoformat()}: {stands.get('because', '')}"
        )
    hold = stands.get("hold", "0")
    if int(hold) <= int(told["now"]):
        return None
    return f"lane {lane} is on hold until {from_micros(hold).isoformat()}: {stands.get('why', '')}"


class _Money:
    def __init__(self, settings: Settings, told: Any) -> None:
        self._settings = settings
        self._told = told

    def of_batch(self, class_: str) -> str | None:
        told = self._told
        if "cap" not in told:
            return None
        what = f"max_cost of {_usd(told['cap'])}"
        return self._breaks(class_, int(told["cap"]), int(told.get("spent", 0)), f"b{told['batch']}", what)

    def of_key(self, class_: str) -> str | None:
        key = self._told["key"]
        limits = self._settings.key_limits.get(key)
        if limits is None or limits.max_cost_per_day is None:
            return None
        what = f"the budget of key {key} for today ({limits.max_cost_per_day} USD)"
        return self._breaks(class_, nano(limits.max_cost_per_day), self._today("k" + key), "k" + key, what)

    def of_lane(self, class_: str, lane: LaneSettings) -> str | None:
        if lane.max_cost_per_day is None:
            return None
        what = f"the budget of lane {lane.name} for today ({lane.max_cost_per_day} USD)"
        return self._breaks(class_, nano(lane.max_cost_per_day), self._today("l" + lane.name), "l" + lane.name, what)

    def _today(self, who: str) -> int:
        return int(self._told["today"].get(who, 0))

    def _breaks(self, class_: str, cap: int, spent: int, who: str, what: str) -> str | None:
        told = self._told
        reserved = int(told["reserved"].get(who, 0))
        price = told["prices"][class_]
        if price == "":
            if spent + reserved < cap:
                if int(told["reserved"].get("?" + class_, 0)) == 0:
                    return None
                return f"{what}: jobs like it go one at a time until it is known what they cost"
            price = 1
        if spent + reserved + int(price) <= cap:
            return None
        daily = who[0] in "kl"
        if int(price) > cap:
            return f"{what} is less than it costs ({_usd(price)})"
        if reserved:
            return f"{what} is used up or reserved for jobs under way"
        return f"{what} is used up" + (f", goes on at {self._tomorrow().isoformat()}" if daily else "")

    def _tomorrow(self) -> datetime:
        return next_day(int(self._told["now"]) / 1e6)


def _usd(amount: str | int) -> str:
    return f"{dollars(amount):f} USD"
