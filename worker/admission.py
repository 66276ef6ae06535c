"""Admission: take queued jobs as the limits of each lane allow, and send them to workers."""

import logging
from collections.abc import Sequence

from jobs.errors import RecordDamaged
from jobs.lanes import LaneSettings
from jobs.store.store import Store
from worker.messages import Messages

log = logging.getLogger(__name__)

#: Jobs admitted in one call of the store.
STEP = 500


def admit(store: Store, messages: Messages, group: int, lanes: Sequence[LaneSettings], limit: int | None = None) -> int:
    """Admit up to `limit` jobs per lane (None: all that the limits allow), `group` per message. Returns how many.

    A lane with damaged data in Redis admits none. The others are not affected.
    """
    admitted = 0
    for lane in lanes:
        try:
            admitted += _admit(store, messages, group, lane, limit)
        except RecordDamaged as error:
            log.error("lane %s: no job is admitted: %s", lane.name, error)  # noqa: TRY400 - no traceback needed
    return admitted


def _admit(store: Store, messages: Messages, group: int, lane: LaneSettings, limit: int | None) -> int:
    admitted = 0
    more = True
    while more and (limit is None or admitted < limit):
        admission = store.attempts.admit(STEP if limit is None else min(STEP, limit - admitted), lane)
        ids, more = admission.ids, admission.more
        if ids:
            messages.submit(ids[start : start + group] for start in range(0, len(ids), group))
        admitted += len(ids)
    return admitted
