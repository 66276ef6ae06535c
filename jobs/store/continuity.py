"""The record of the installation: where Redis stands, and whether work may go on with what it holds.

What is compared, and by what rules, is in jobs.store.installation; who compares is the worker (worker.continuity).
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jobs.store.installation import Fate, Sighting, Standing
from jobs.store.queries import Reading
from jobs.units import duration_micros, from_micros


@dataclass(frozen=True, slots=True)
class Epoch:
    """What Redis remembers of itself: jobs accepted before `doubted_before` are looked up before they are sent."""

    number: int
    since: datetime
    doubted_before: datetime


class Continuity(Reading):
    """Reads and writes the record of the installation. Raises `StoreUnavailable`."""

    def standing(self, seen: Sequence[Sighting] = ()) -> Standing:
        """What is there now, and whether it has been where these sightings saw it."""
        now, last, round_at, jobs, witness, restarted, flat, fates = self._scripts.call(
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
            lost=fields.get("lost", ""),
            expected=Sighting.from_json(fields.get("expected", "")),
            trusted=_whole(fields.get("trusted")),
            fates=tuple((Fate(fate), int(accepted)) for fate, accepted in fates),
        )

    def found(self, there: Standing) -> bool:
        """Go on with what was looked at; begin an installation where there is none. False: it changed meanwhile."""
        lease, automatic = duration_micros(self.settings.submit_lease), "1" if self.settings.recovery else "0"
        return bool(self._scripts.call("found", _new_id(), lease, automatic, there.epoch) == "found")

    def refuse(self, there: Standing, reason: str, expected: Sighting | None) -> bool:
        """Take no work in and hand none out until `recover`. False: it changed meanwhile."""
        # "]" ends the reason in a script's error (jobs.store.scripts).
        text = expected.to_json() if expected else ""
        return bool(self._scripts.call("refuse", there.epoch, reason.replace("]", ")"), text) != "changed")

    def tolerate(self, there: Standing, known: Sighting) -> bool:
        """Go on with older data: all jobs are looked up before they are sent. False: it changed meanwhile."""
        lease = duration_micros(self.settings.submit_lease)
        return bool(self._scripts.call("tolerate", there.epoch, lease, known.epoch, known.at) == "tolerated")

    def recover(self, also_new: float = 0.0, known: Sequence[Sighting] = ()) -> Epoch:
        """Accept what is there as the truth: look up each job at the provider before it is sent.

        `also_new`: for so many seconds, those that are accepted from now on too. `known`: what is known of what is
        lost; a Redis without a record gets the id of the installation from there, where it is one.
        """
        ids = {sighting.installation for sighting in known if sighting.installation}
        number, since, before = self._scripts.call(
            "recover",
            duration_micros(self.settings.submit_lease),
            duration_micros(also_new),
            ids.pop() if len(ids) == 1 else _new_id(),
            max((sighting.epoch for sighting in known), default=0),
            max((sighting.at for sighting in known), default=0),
        )
        return Epoch(int(number), from_micros(since), from_micros(before))


def _whole(text: str | None) -> int:
    """A number as it was stored; 0 where it is missing or damaged."""
    try:
        return int(text or 0)
    except ValueError:
        return 0


def _new_id() -> str:
    return secrets.token_hex(16)
