"""The record of the installation in Redis: whether Redis still holds all jobs, and whether work may continue.

jobs.store.installation has the rules; the worker (worker.continuity) applies them.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis

from jobs.connections.errors import translate_errors
from jobs.errors import why_refused
from jobs.store.arguments import flag
from jobs.store.context import StoreContext
from jobs.store.installation import Fate, Sighting, Standing, Trace, loss_in
from jobs.store.outcomes.installation import FoundOutcome, RefuseOutcome, TolerateOutcome
from jobs.store.redis_keys import Keys
from jobs.units import duration_micros, from_micros


@dataclass(frozen=True, slots=True)
class Epoch:
    """The epoch of Redis: jobs accepted before `lookup_before` are looked up before they are sent."""

    number: int
    since: datetime
    lookup_before: datetime


class Continuity:
    """Reads and writes the record of the installation. All methods raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._client = context.client
        self._keys = context.keys
        self._scripts = context.scripts
        self._settings = context.configured

    def refusal(self) -> str:
        """Return why no work is accepted or handed out, and what to do about it; "" while work continues."""
        installation, lost = record_fields(self._client, self._keys, "installation", "lost")
        if loss := loss_in(lost):
            return why_refused("lost", loss)
        return "" if installation else why_refused("new")

    def standing(self, seen: Sequence[Sighting] = ()) -> Standing:
        """Read the present state of Redis, and what it still has of each sighting."""
        now, last, round_at, jobs, witness, restarted, flat, traces = self._scripts.call(
            "standing", *(sighting.last for sighting in seen)
        )
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        return Standing(
            now=int(now),
            installation=fields.get("installation", ""),
            epoch=_whole(fields.get("number")),
            accepted=_whole(fields.get("accepted")),
            last=last,
            round_at=_whole(round_at),
            has_jobs=bool(jobs),
            is_witness=bool(witness),
            restarted=bool(restarted),
            lost=loss_in(fields.get("lost")),
            expected=Sighting.from_json(fields.get("expected", "")),
            trusted=_whole(fields.get("trusted")),
            traces=tuple(Trace(Fate(fate), accepted, int(until) * 1000) for fate, accepted, until in traces),
        )

    def losses(self) -> tuple[datetime, list[tuple[datetime, datetime]]]:
        """Return Redis's time, and between which times jobs were accepted whose records may be lost."""
        now, *_, flat, _ = self._scripts.call("standing")
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        # The version before began epochs without noting what may be lost.
        gaps = fields.get("gaps") or (f"0-{fields['since']}" if "since" in fields else "")
        return from_micros(now), [
            (from_micros(since), from_micros(until)) for since, until in re.findall(r"(\d{1,16})-(\d{1,16})", gaps)
        ]

    def establish(self, there: Standing) -> bool:
        """Continue with this data; begin an installation if there is none. False: the record changed meanwhile."""
        lease, automatic = duration_micros(self._settings.submit_lease), flag(self._settings.recovery)
        return bool(self._scripts.call("found", _new_id(), lease, automatic, there.epoch) == FoundOutcome.FOUND)

    def refuse(self, there: Standing, reason: str, expected: Sighting | None) -> bool:
        """Accept no work and hand none out until `recover`. False: the record changed meanwhile."""
        # "]" ends the reason in a script's error (jobs.store.scripts).
        text = expected.to_json() if expected else ""
        return bool(self._scripts.call("refuse", there.epoch, reason.replace("]", ")"), text) != RefuseOutcome.CHANGED)

    def tolerate(self, there: Standing, known: Sighting) -> bool:
        """Continue with older data: look up every job before it is sent. False: the record changed meanwhile."""
        lease = duration_micros(self._settings.submit_lease)
        return bool(
            self._scripts.call("tolerate", there.epoch, lease, known.epoch, known.at) == TolerateOutcome.TOLERATED
        )

    def recover(self, also_new: float = 0.0, known: Sequence[Sighting] = ()) -> Epoch:
        """Accept the present data as the truth: look up each job at the provider before it is sent.

        `also_new`: for so many seconds, new jobs are looked up, too. `known`: sightings of the lost installation; a
        Redis without a record gets the installation's id from them if they agree on one.
        """
        ids = {sighting.installation for sighting in known if sighting.installation}
        number, since, before = self._scripts.call(
            "recover",
            duration_micros(self._settings.submit_lease),
            duration_micros(also_new),
            ids.pop() if len(ids) == 1 else _new_id(),
            max((sighting.epoch for sighting in known), default=0),
            max((sighting.at for sighting in known), default=0),
        )
        return Epoch(int(number), from_micros(since), from_micros(before))


@translate_errors()
def record_fields(client: redis.Redis, keys: Keys, *fields: str) -> list[str | None]:
    """Read fields of the record of the installation; all None if the key has a wrong type."""
    try:
        found: list[Any] = client.hmget(keys.singleton("epoch"), list(fields))
    except redis.ResponseError as error:
        if "WRONGTYPE" not in str(error):
            raise
        return [None] * len(fields)
    return found


def _whole(text: str | None) -> int:
    """Read a stored number; 0 if it is missing or damaged."""
    try:
        return int(text or 0)
    except ValueError:
        return 0


def _new_id() -> str:
    return secrets.token_hex(16)
