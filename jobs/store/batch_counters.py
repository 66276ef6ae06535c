"""The deserializer of a batch from `batch.lua`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jobs import eta
from jobs.batch_ends import read_ends
from jobs.decoding import decoding, read_labels
from jobs.errors import BatchNotFound
from jobs.estimates import Estimate, Price, sum_up
from jobs.fields import BatchCounter, printable
from jobs.job import PRIORITIES
from jobs.read_models import Batch, Pilot
from jobs.review import LETTERS
from jobs.settings import Settings
from jobs.states import FINAL, State
from jobs.units import dollars, from_micros


def read_batch(batch_id: str, row: Sequence[Any], settings: Settings) -> Batch:
    """Read the script's answer. Raises `BatchNotFound` and `RecordDamaged`."""
    with decoding(f"batch {printable(batch_id)}"):
        now, speed, prices, *flat = row
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        if not fields:
            raise BatchNotFound(batch_id)
        counts = {state: int(fields.get(state, 0)) for state in State}
        created, seconds, rest = int(fields["created"]) / 1e6, int(now) / 1e6, json.loads(speed)
        # Neither a pause nor a stall of the service is a base for an estimate.
        resumed = max(created, int(fields.get("resumed", 0)) / 1e6, int(rest["resumed"]) / 1e6)
        cap = fields.get("cap")
        return Batch(
            id=batch_id,
            accepted=int(fields["accepted"]),
            counts=counts,
            cost=dollars(fields.get("spent", 0)),
            estimate=_estimate(fields, json.loads(prices), settings),
            pools=tuple(
                {
                    name.removeprefix(BatchCounter.PLACE).partition("|")[0]
                    for name in fields
                    if name.startswith(BatchCounter.PLACE)
                }
            ),
            created_at=from_micros(fields["created"]),
            owner=fields.get("key", ""),
            labels=read_labels(fields.get("labels", "{}")),
            priority=PRIORITIES[fields.get("class", "1")],
            weight=int(fields.get("weight", 1)),
            unknown_costs=int(fields.get("unknown_costs", 0)),
            max_cost=None if cap is None else dollars(cap),
            paused="paused" in fields,
            awaits_approval="hold" in fields,
            pilot=_pilot(fields),
            to_save=int(fields["to_save"]),
            unsaved=int(fields["unsaved"]),
            taking_in=fields.get("do") == "commit",
            errors={
                name.removeprefix(BatchCounter.FAILED): int(count)
                for name, count in fields.items()
                if name.startswith(BatchCounter.FAILED)
            },
            reviews={mark: int(fields.get(f"marked:{letter}", 0)) for mark, letter in LETTERS.items()},
            ends=read_ends(fields, None if sum(counts[each] for each in FINAL) == int(fields["accepted"]) else seconds),
            rate=eta.rate(fields, seconds, created),
            eta=eta.eta(
                left=sum(count for state, count in counts.items() if not state.final),
                queued=counts[State.QUEUED],
                per_second=eta.rate(fields, seconds, resumed),
                submit_rate=_submit_rate(settings),
                held=max(0.0, int(rest["hold"]) / 1e6 - seconds),
                paused="paused" in fields or "hold" in fields,
                age=seconds - resumed,
                pace=_pace(fields, rest, settings),
            ),
        )


def _pilot(fields: Mapping[str, str]) -> Pilot | None:
    if "pilot_size" not in fields:
        return None
    # Until the batch is approved, only its pilot can have cost anything.
    cost = fields.get("spent", "0") if "hold" in fields else fields.get("pilot_spent", "0")
    jobs = int(fields["pilot"]) if "pilot" in fields else None
    return Pilot(jobs, int(fields.get(BatchCounter.PILOT_LEFT, 0)), dollars(cost))


def _pace(fields: Mapping[str, str], shared: dict[str, Any], settings: Settings) -> eta.Pace:
    share = eta.share(
        shared["flows"],
        settings.key_limits,
        fields.get("class", "1"),
        fields.get("key", ""),
        int(fields.get("weight", 1)),
    )
    return eta.pace(shared["lanes"], eta.limits_of(settings.lanes, shared["lanes"]), share)


def _estimate(fields: Mapping[str, str], learned: Mapping[str, Any], settings: Settings) -> Estimate:
    counts = _by(fields, BatchCounter.UNFINISHED)
    jobs = [(Price.of(learned[name], settings.list_prices.of(name)), int(count)) for name, count in counts.items()]
    return sum_up(jobs, dollars(fields.get("spent", 0)))


def _submit_rate(settings: Settings) -> float:
    rates = [lane.submit_rate for lane in settings.lanes]
    return sum(rates) if all(rates) else 0.0


def _by(fields: Mapping[str, str], start: str) -> dict[str, str]:
    """Return the fields with this prefix, without it."""
    return {name.removeprefix(start): value for name, value in fields.items() if name.startswith(start)}
