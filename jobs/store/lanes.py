"""Lanes: their state, holds after refusals, and the probes of an open circuit breaker."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from jobs.connections.errors import translate_errors
from jobs.decoding import UNREADABLE, decoding
from jobs.fields import printable
from jobs.jitter import Random, draw, equal_jitter
from jobs.job import LANE
from jobs.lane_health import LaneEvent, Probe, paused_text
from jobs.lanes import ONLY
from jobs.limits import Subject
from jobs.read_models import Lane
from jobs.store.arguments import flag
from jobs.store.context import StoreContext
from jobs.store.outcomes.lanes import ProbeOutcome
from jobs.units import dollars, duration_micros, from_micros

#: Most seconds of a hold, also with a longer `Retry-After`. Then one job is submitted.
LONGEST_HOLD = 3600.0


class Lanes:
    """The verbs for a provider account as a whole. All raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._client = context.client
        self._keys = context.keys
        self._scripts = context.scripts
        self._context = context

    def hold(
        self,
        reason: str,
        *,
        base: float,
        cap: float,
        least: float = 0.0,
        throttled: bool = False,
        lane: str = LANE,
        random: Random = draw,
    ) -> float:
        """Hold a lane for `base` seconds, doubled with each refusal in a row up to `cap`, and at least `least`.

        The wait has equal jitter, as a share of it that Lua applies, because only Lua knows how often it doubles.

        `throttled`: the provider refused because of a limit, which lowers a learned limit. Returns when the hold ends,
        in seconds since 1970 by Redis's clock.
        """
        wait = (duration_micros(base), duration_micros(cap), duration_micros(min(least, LONGEST_HOLD)))
        share = f"{equal_jitter(1.0, random()):.6f}"
        return float(self._scripts.call("hold", lane, *wait, share, reason, flag(throttled))) / 1e6

    def pause(self, lane: str, reason: str = "", *, expires_in: float | None = None) -> None:
        """Submit nothing through a lane until it is resumed, or `expires_in` seconds have passed."""
        until = "" if expires_in is None else duration_micros(expires_in)
        self._scripts.call("pause_lane", lane, "1", until, reason)

    def resume(self, lane: str) -> bool:
        """End the pause of a lane. Returns whether to send an admission hint."""
        return bool(self._scripts.call("pause_lane", lane, "0", "", ""))

    def claim_probes(self) -> list[Probe]:
        """Claim the due probes of lanes whose circuit breaker is open. Each goes to one caller.

        The lease is that of submissions (BOOMERANG_SUBMIT_LEASE), which is longer than any call to the provider.
        """
        rows = self._scripts.call(
            "probe",
            duration_micros(self._context.configured.submit_lease),
            *(lane.name for lane in self._context.configured.lanes),
        )
        return [Probe(lane, int(count), reason, from_micros(since)) for lane, count, reason, since in rows]

    def record_probe(self, probe: Probe, *, answered: bool, reason: str = "", wait: float = 0.0) -> ProbeOutcome:
        """Record a probe: an answer closes the breaker; otherwise the next probe is due in `wait` seconds."""
        outcome, _ = self._scripts.call(
            "probed", probe.lane, probe.count, flag(answered), duration_micros(wait), reason
        )
        return ProbeOutcome(outcome)

    def get_all(self) -> tuple[Lane, ...]:
        """Read every configured lane, then removed lanes that still have jobs, then pools without a lane."""
        lanes = {lane.name: lane for lane in self._context.settings.lanes}
        served = {lane.pool for lane in lanes.values()}
        with translate_errors(), self._client.pipeline(transaction=False) as pipe:
            pipe.hkeys(self._keys.singleton("pools"))
            pipe.smembers(self._keys.singleton("lanes"))
            pools, names = pipe.execute()
        gone = [(name, ONLY + name) for name in sorted(names) if name not in lanes]
        gone += [(None, pool) for pool in sorted(pools) if pool not in served and not pool.startswith(ONLY)]
        found = self._lanes([*((lane.name, lane.pool) for lane in lanes.values()), *gone])
        return tuple(lane for lane in found if lane.settings or lane.slots or lane.dispatched or lane.ready)

    def get(self, name: str = LANE) -> Lane:
        """Read one lane."""
        pool = next((lane.pool for lane in self._context.settings.lanes if lane.name == name), ONLY + name)
        return self._lanes([(name, pool)])[0]

    def _lanes(self, wanted: Sequence[tuple[str | None, str]]) -> list[Lane]:
        """Read lanes by (name, pool); one without a name is a pool in which jobs wait."""
        of = self._keys.member
        with translate_errors(), self._client.pipeline(transaction=False) as pipe:
            for name, pool in wanted:
                pipe.hget(of("pool", pool), "ready")
                pipe.hget(of("pool", f"{ONLY}{name}"), "ready")
                pipe.hgetall(of("lane", name or ""))
                pipe.lrange(of("history", name or ""), 0, -1)
            pipe.time()
            *answers, (seconds, micros) = pipe.execute()
        now, rows = seconds * 1_000_000 + micros, [answers[start : start + 4] for start in range(0, len(answers), 4)]
        limits = self._limits([name for (name, _), row in zip(wanted, rows, strict=True) if name and "limit" in row[2]])
        found = []
        for (name, pool), row in zip(wanted, rows, strict=True):
            with decoding(f"lane {printable(name or pool or LANE)}"):
                found.append(self._lane(name, pool, row, limits, now))
        return found

    def _limits(self, learning: Sequence[str]) -> dict[str, int]:
        """Read the limits in force: learned ones from Redis, others from the settings."""
        limits = {lane.name: lane.max_in_flight for lane in self._context.settings.lanes}
        if learning:
            asked = [argument for name in learning for argument in (name, limits.get(name, 0))]
            limits.update(zip(learning, map(int, self._scripts.call("slots_limits", *asked)), strict=True))
        return limits

    def _lane(self, name: str | None, pool: str, row: Sequence[Any], limits: Mapping[str, int], now: int) -> Lane:
        shared, of_lane, fields, history = row
        ready = int(shared or 0) + (int(of_lane or 0) if pool != f"{ONLY}{name}" else 0)
        return Lane(
            name=name or pool or LANE,
            pool=pool,
            settings=next((lane for lane in self._context.settings.lanes if lane.name == name), None),
            configured=next((lane for lane in self._context.configured.lanes if lane.name == name), None),
            overrides=self._context.limits.overrides(Subject.LANE, name or ""),
            ready=ready,
            limit=limits.get(name or "", 0),
            history=tuple(_history(history)),
            **_standing(fields, now),
        )


def _history(entries: Sequence[str]) -> Iterator[LaneEvent]:
    """Read a lane's history. Unreadable entries are left out: nothing depends on them."""
    for entry in entries:
        with suppress(*UNREADABLE):
            yield LaneEvent.of(json.loads(entry))


def _standing(fields: Mapping[str, str], now: int) -> dict[str, Any]:
    """Read a lane's hash; `now` in µs."""
    open_since, pause_ends = fields.get("open"), fields.get("paused_until")
    paused = "paused" in fields and (pause_ends is None or int(pause_ends) > now)
    since: str | None
    until: str | None
    why: str | None
    if paused:
        since, until, why = fields["paused"], pause_ends, paused_text(fields.get("paused_why", ""))
    elif open_since:
        since, until, why = open_since, fields["probe"], fields.get("because")
    else:
        since, until, why = fields.get("since"), fields.get("hold"), fields.get("why")
    held = paused or open_since is not None or int(until or 0) > now
    return {
        "slots": int(fields.get("slots", 0)),
        "dispatched": int(fields.get("window", 0)),
        "held": held,
        "held_until": from_micros(until) if held and until else None,
        "held_since": from_micros(since) if held and since else None,
        "reason": why if held else None,
        "paused": paused,
        "open_since": from_micros(open_since) if open_since else None,
        "opened": int(fields.get("opened", 0)),
        "learned": float(fields["limit"]) if "limit" in fields else None,
        "cost": dollars(fields.get("spent", 0)),
        "unknown_costs": int(fields.get("unknown_costs", 0)),
    }
