"""What stops submissions to a lane: holds after refusals, and the circuit breaker with its probes.

The scripts open the breaker when they record the outcomes of calls (`record_call` in jobs/lua/shared/lanes.lua).
"""

import logging

from jobs.jitter import Random, draw
from jobs.lane_health import PROBE_BASE, PROBE_CAP, Probe
from jobs.logs import about
from jobs.policy import backoff
from jobs.store.outcomes.lanes import ProbeOutcome
from jobs.store.store import Store
from worker.provider import Held, Provider, Unavailable

log = logging.getLogger(__name__)

#: (first wait, longest wait) in seconds, doubled with each refusal in a row. A rate limit is soon over. A person has to
#: solve a problem of the account, and the solution should take effect within minutes.
THROTTLED = (1.0, 60.0)
ACCOUNT = (15.0, 300.0)


def hold(store: Store, lane: str, held: Held) -> None:
    """Stop submissions to a lane for a while. Its jobs keep their places in the queue and their attempts."""
    base, cap = THROTTLED if held.throttled else ACCOUNT
    until = store.lanes.hold(
        held.reason, base=base, cap=cap, least=held.retry_after, throttled=held.throttled, lane=lane
    )
    level = logging.INFO if held.throttled else logging.ERROR
    with about(lane=lane):
        log.log(level, "lane %s: on hold until %.0f, no job is submitted: %s", lane, until, held.reason)


def probe(store: Store, provider: Provider, due: Probe, known: str = "", random: Random = draw) -> None:
    """Ask the provider once. Any answer closes the breaker, even a refusal: the provider is there.

    Every other probe asks for a `known` task, because a provider may answer with a 5xx if there is no task.
    """
    if due.count == 0:
        log.warning(
            "lane %s: circuit breaker opened, no job is submitted: the provider does not answer (%s)",
            due.lane,
            due.reason,
        )
    answer = provider.probe(known if due.count % 2 else "")
    if isinstance(answer, Unavailable) and answer.silent:
        pause = backoff(PROBE_BASE, PROBE_CAP, due.count + 1, random())
        store.lanes.record_probe(due, answered=False, wait=pause)
        log.info("lane %s: probe %d failed, the next is in %.1f s: %s", due.lane, due.count + 1, pause, answer.reason)
        return
    reason = f"the provider answered probe {due.count + 1}"
    if store.lanes.record_probe(due, answered=True, reason=reason) is ProbeOutcome.CLOSED:
        log.warning(
            "lane %s: circuit breaker closed, jobs are submitted again: %s; it opened at %s",
            due.lane,
            reason,
            due.since,
        )
