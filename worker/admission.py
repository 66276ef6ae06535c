"""Turning waiting jobs into messages for workers, as slots, rate and holds of each lane allow."""

import logging
from collections.abc import Sequence

from jobs.errors import RecordDamaged
from jobs.lanes import LaneSettings
from jobs.store.store import Store
from worker.messages import Messages

log = logging.getLogger(__name__)

#: Jobs taken out of the queue in one step.
STEP = 500


def admit(store: Store, messages: Messages, group: int, lanes: Sequence[LaneSettings], limit: int | None = None) -> int:
    """Admit up to `limit` jobs a lane (None: all that may), `group` of them a message. Returns how many.

    A lane that Redis holds something damaged of admits none; the others go on.
    """
    admitted = 0
    for lane in lanes:
        try:
            admitted += _admit(store, messages, group, lane, limit)
        except RecordDamaged as error:
            log.error("lane %s admits nothing: %s", lane.name, error)  # noqa: TRY400 - said whole by the error
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
