"""A lane's circuit breaker, while it is open: one look now and then, for all processes, until the provider answers.

The scripts open it where they record the outcomes of calls (`record_call` in jobs/lua/shared/lanes.lua).
"""

import logging
import secrets

from jobs.lane_health import PROBE_BASE, PROBE_CAP, Probe
from jobs.policy import backoff
from jobs.store.store import Store
from worker.provider import Provider, Unavailable

log = logging.getLogger(__name__)


def probe(store: Store, provider: Provider, due: Probe) -> None:
    """Look once; an answer closes the breaker, whatever it says: a key that is refused is another matter."""
    if due.count == 0:
        log.warning(
            "lane %s: circuit breaker open, the provider does not answer (%s); nothing is sent", due.lane, due.reason
        )
    looked = provider.probe()
    if isinstance(looked, Unavailable) and looked.silent:
        pause = backoff(PROBE_BASE, PROBE_CAP, due.count + 1, secrets.randbelow(1000) / 1000)
        store.lanes.record_probe(due, answered=False, wait=pause)
        log.info("lane %s: probe %d: %s; next in %.1f s", due.lane, due.count + 1, looked.reason, pause)
        return
    reason = f"the provider answered probe {due.count + 1}"
    if store.lanes.record_probe(due, answered=True, reason=reason) == "closed":
        log.warning("lane %s: circuit breaker closed, %s; it was open since %s", due.lane, reason, due.since)
