"""Which batches' manifests are to be written anew, and when."""

from secrets import randbelow

from jobs.connections.errors import translate_errors
from jobs.store.context import StoreContext
from jobs.units import duration_micros

#: Seconds from a saved result until the batch's manifest lists it. Results that come meanwhile share the work.
DELAY = 60.0
#: Seconds after which a worker that writes a manifest counts as killed.
LEASE = 3600.0


class Manifests:
    """One alarm for each batch whose manifest is out of date. All methods raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._client = context.client
        self._key = context.keys.singleton("manifests")
        self._rests = context.keys.singleton("manifest_rests")

    @translate_errors()
    def note(self, batch_id: str) -> None:
        """Note that a result of a batch was saved or removed. Three short commands for each save."""
        rest_end = int(self._client.zscore(self._rests, batch_id) or 0)
        self._client.zadd(self._key, {batch_id: max(self._now() + duration_micros(DELAY), rest_end)}, lt=True)

    @translate_errors()
    def claim(self) -> tuple[str, int] | None:
        """Claim one batch that is due, for LEASE seconds. Returns it, and the claim that `finish` needs.

        Rarely two workers claim the same batch. Both write the same manifest.
        """
        now = self._now()
        due = list(map(str, self._client.zrange(self._key, "-inf", now, byscore=True, offset=0, num=1)))
        if not due:
            return None
        # A claim is known by its score, so it is different from others of the same moment.
        claim = now + duration_micros(LEASE) + randbelow(1_000_000)
        return (due[0], claim) if self._client.zadd(self._key, {due[0]: claim}, xx=True, gt=True, ch=True) else None

    @translate_errors()
    def finish(self, batch_id: str, claim: int, rest: float) -> None:
        """Note that a manifest was written. What comes meanwhile and later waits `rest` seconds."""
        now = self._now()
        rest_end = now + duration_micros(rest)
        # First: a note that comes between the commands finds it.
        self._client.zadd(self._rests, {batch_id: rest_end})
        self._client.zremrangebyscore(self._rests, "-inf", now)
        # A note that came meanwhile has changed the score: then the alarm stays.
        if not self._client.zremrangebyscore(self._key, claim, claim):
            self._client.zadd(self._key, {batch_id: rest_end}, xx=True, gt=True)

    def _now(self) -> int:
        seconds, micros = self._client.time()
        return int(seconds) * 1_000_000 + int(micros)
