"""Celery's remote control: a revoke cancels the job, whichever worker receives it."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from celery import bootsteps
from celery.worker.consumer.control import Control
from celery.worker.control import Panel

from jobs.errors import StoreUnavailable
from worker.generate.enqueue import GenerateHandler

log = logging.getLogger(__name__)


def revoke_step(handler: Callable[[], GenerateHandler]) -> type:
    """Return a bootstep that makes the commands `revoke` and `terminate` cancel jobs, and `rate_limit` spare our tasks.

    Celery's own commands keep the ids in the memory of the running workers, and write REVOKED as the result of tasks of
    any service.
    """

    class Revokes(bootsteps.StartStopStep):
        requires = (Control,)

        def start(self, parent: Any) -> None:
            for step in parent.steps:
                if isinstance(step, Control):
                    # Replace the table for this node only: all apps of a process share the original.
                    step.box.node.handlers = {**step.box.node.handlers, **commands(handler())}

    return Revokes


def commands(handler: GenerateHandler) -> dict[str, Callable[..., dict[str, str]]]:
    """Return the control commands by name, with the signature that Celery's mailbox calls."""

    def on_revoke(_state: Any, task_id: str | Iterable[str], **_: Any) -> dict[str, str]:
        ids = [task_id] if isinstance(task_id, str) else [str(each) for each in task_id or ()]
        try:
            cancelled = handler.revoke(ids)
        except StoreUnavailable as error:
            log.error("revoke of %s failed, send it again: %s", ids, error)  # noqa: TRY400 - no traceback needed
            return {"error": f"The revoke failed, send it again: {error}"}
        return {"ok": f"{len(cancelled)} of {len(ids)} jobs cancelled"}

    def on_terminate(_state: Any, task_id: str | Iterable[str], **_: Any) -> dict[str, str]:
        return on_revoke(_state, task_id)

    def by_headers(_state: Any, **_: Any) -> dict[str, str]:
        # The only key that `app.control.revoke_by_stamped_headers` reads.
        return {
            "ok": "Nothing was revoked: boomerang.generate cannot be revoked by stamped headers. Revoke it by task id."
        }

    def on_rate_limit(state: Any, task_name: str, rate_limit: str | int, **more: Any) -> dict[str, str]:
        # A worker would keep the messages unacknowledged until the broker delivers them again.
        if task_name.startswith("boomerang."):
            return {
                "ok": f"Nothing was changed: {task_name} has no rate limit. Limit its lane (BOOMERANG_SUBMIT_RATE)."
            }
        return dict(Panel.data["rate_limit"](state, task_name, rate_limit, **more))

    return {
        "rate_limit": on_rate_limit,
        "revoke": on_revoke,
        "terminate": on_terminate,
        "revoke_by_stamped_headers": by_headers,
    }
