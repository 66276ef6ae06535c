"""Celery's remote control: a revoke cancels the job, whichever worker hears it and whoever has had the message."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from celery import bootsteps
from celery.worker.consumer.control import Control

from jobs.errors import StoreUnavailable
from worker.generate.enqueue import GenerateHandler

log = logging.getLogger(__name__)


def revoke_step(door: Callable[[], GenerateHandler]) -> type:
    """A step of a worker's start that lets its `revoke` and `terminate` speak to the record.

    Celery's own would keep the ids in the memory of whichever workers are there, and would write REVOKED for tasks that
    are another service's.
    """

    class Revokes(bootsteps.StartStopStep):
        requires = (Control,)

        def start(self, parent: Any) -> None:
            for step in parent.steps:
                if isinstance(step, Control):
                    # This node's only: the table is shared by all apps of a process.
                    step.box.node.handlers = {**step.box.node.handlers, **commands(door())}

    return Revokes


def commands(door: GenerateHandler) -> dict[str, Callable[..., dict[str, str]]]:
    """The control commands by name, as Celery's mailbox calls them."""

    def on_revoke(_state: Any, task_id: str | Iterable[str], **_: Any) -> dict[str, str]:
        ids = [task_id] if isinstance(task_id, str) else [str(each) for each in task_id or ()]
        try:
            cancelled = door.revoke(ids)
        except StoreUnavailable as error:
            log.error("revoke of %s not carried out, send it again: %s", ids, error)  # noqa: TRY400 - one line says it
            return {"error": f"not carried out, send it again: {error}"}
        return {"ok": f"{len(cancelled)} of {len(ids)} jobs cancelled"}

    def on_terminate(_state: Any, task_id: str | Iterable[str], **_: Any) -> dict[str, str]:
        return on_revoke(_state, task_id)

    def by_headers(_state: Any, **_: Any) -> dict[str, str]:
        # Under the one name that `app.control.revoke_by_stamped_headers` reads.
        return {"ok": "nothing done: boomerang.generate is not revoked by stamped headers; revoke it by its ids"}

    return {"revoke": on_revoke, "terminate": on_terminate, "revoke_by_stamped_headers": by_headers}
