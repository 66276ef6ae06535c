"""Turning waiting jobs into messages for workers, as slots, rate and holds allow."""

from jobs.store import Store
from worker.messages import Messages

#: Jobs taken out of the queue in one step.
STEP = 500


def admit(store: Store, messages: Messages, group: int, limit: int | None = None) -> int:
    """Admit up to `limit` jobs (None: all that may), `group` of them a message. Returns how many."""
    admitted = 0
    more = True
    while more and (limit is None or admitted < limit):
        admission = store.admit(STEP if limit is None else min(STEP, limit - admitted))
        ids, more = admission.ids, admission.more
        if ids:
            messages.submit(ids[start : start + group] for start in range(0, len(ids), group))
        admitted += len(ids)
    return admitted
