"""Sending messages: hints by name, and the one that finishes a parked Celery task.

A message that cannot be sent is no loss: every job it speaks of has an alarm.
"""

import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from celery import Celery
from kombu.exceptions import BatchPublishError, OperationalError

from jobs.store.celery_messages import Message

log = logging.getLogger(__name__)

GENERATE, SUBMIT, RECONCILE, DELIVER = (
    "boomerang.generate",
    "boomerang.submit",
    "boomerang.reconcile",
    "boomerang.deliver",
)
#: The header of a message that finishes a parked one: that one's mark.
FINISHES = "boomerang_finishes"
#: Messages put on the wire together.
_BATCH = 250
#: What a hint needs not carry: pictures of its arguments for people, and a place for its result.
_LEAN: dict[str, Any] = {"ignore_result": True, "argsrepr": "", "kwargsrepr": "{}", "retry": False}


class Messages:
    """Sends what this service says to its workers."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def submit(self, groups: Iterable[Sequence[str]]) -> None:
        """One message for each group of admitted jobs."""
        self._send(SUBMIT, groups)

    def admit_hint(self) -> None:
        """Look whether waiting jobs can be admitted. For whoever the store has told to say so: nobody else does."""
        self._send(SUBMIT, [[]])

    def deliver(self, ids: Sequence[str]) -> None:
        """These jobs have ended and owe deliveries."""
        self._send(DELIVER, [ids])

    def finish(self, job_id: str, message: Message, queue: str) -> None:
        """Send a parked task's own message again, now that its record is final. Raises kombu's OperationalError."""
        continuation = json.loads(message.continuation)
        told = {name: value for name, value in continuation.items() if name != "ignore_result"}
        self._app.send_task(
            GENERATE,
            kwargs={"external_task_id": job_id},
            queue=queue,
            add_to_parent=False,
            # For the sender: it would subscribe to the result. The header is for the worker, which is to store it.
            ignore_result=True,
            headers={"ignore_result": continuation.get("ignore_result", False), FINISHES: message.mark},
            **{"task_id": message.task_id, **told},
        )

    def _send(self, name: str, groups: Iterable[Sequence[str]]) -> None:
        messages = [list(ids) for ids in groups]
        # Once more at once, for a connection that died unseen: the alarm would take a quarter of a minute. Should both
        # tries arrive, the second claim is refused.
        for last in (False, True):
            try:
                self._publish(name, messages)
                break
            except (OperationalError, BatchPublishError, OSError) as error:
                if last:
                    log.warning("%s could not be sent, the alarm will do it: %s", name, type(error).__name__)

    def _publish(self, name: str, messages: Iterable[list[str]]) -> None:
        producers = self._app.producer_pool
        with producers.acquire(block=True, timeout=10) as producer, producer.batch(max_size=_BATCH):
            for args in messages:
                self._app.send_task(name, args=args, queue=name, producer=producer, **_LEAN)


def continuation_of(request: Any) -> str:
    """How a parked task goes on, as JSON: what `send_task` needs to say its message again. A repeat has the same.

    `request` is the task's own context; `as_execution_options` is what Celery's own retry is made of.
    """
    options = request.as_execution_options()
    stamps = options.get("stamped_headers") or ()
    kept = {name: options[name] for name in (*_CONTINUES, *stamps) if options.get(name) is not None}
    if request.ignore_result:
        kept["ignore_result"] = True
    return json.dumps(kept, sort_keys=True)


_CONTINUES = (
    "task_id",
    "root_id",
    "parent_id",
    "group_id",
    "group_index",
    "shadow",
    "chord",
    "chain",
    "link",
    "link_error",
    "reply_to",
    "replaced_task_nesting",
    "stamped_headers",
)
