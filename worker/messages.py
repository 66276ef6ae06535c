"""Messages that the worker sends: hints, and those that finish parked Celery messages.

A message that cannot be sent is no loss, because every job that it names has an alarm.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from celery import Celery
from kombu.exceptions import BatchPublishError, OperationalError
from kombu.utils.json import dumps, loads

from jobs.store.celery_messages import Message
from jobs.task_names import DELIVER, GENERATE, SAVE, SUBMIT

log = logging.getLogger(__name__)

#: Header of a message that finishes a parked one. Its value is the parked one's mark.
FINISHES = "boomerang_finishes"
#: Most messages published in one batch.
_BATCH = 250
#: Options of a hint: no result, no readable copy of its arguments, no retries.
_HINT_OPTIONS: dict[str, Any] = {"ignore_result": True, "argsrepr": "", "kwargsrepr": "{}", "retry": False}


class Messages:
    """Sends messages to workers."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def submit(self, groups: Iterable[Sequence[str]]) -> None:
        """Send a submit message for each group of admitted jobs."""
        self._send(SUBMIT, groups)

    def admit_hint(self) -> None:
        """Ask a worker to admit queued jobs. Call only when a store method returned `admit_hint=True`."""
        self._send(SUBMIT, [[]])

    def deliver(self, ids: Sequence[str]) -> None:
        """Ask a worker to make the deliveries of these ended jobs."""
        self._send(DELIVER, [ids])

    def save(self) -> None:
        """Ask a worker to save results. Call only when `saves.find_due` says so."""
        self._send(SAVE, [[]])

    def finish(self, job_id: str, message: Message, queue: str) -> None:
        """Send a parked message again after its job has ended. Raises kombu's OperationalError."""
        continuation = loads(message.continuation)  # type: ignore[no-untyped-call]
        options = {name: value for name, value in continuation.items() if name != "ignore_result"}
        self._app.send_task(
            GENERATE,
            kwargs={"external_task_id": job_id},
            queue=queue,
            add_to_parent=False,
            # This argument keeps the sender from subscribing to the result. The header below is for the worker.
            ignore_result=True,
            headers={"ignore_result": continuation.get("ignore_result", False), FINISHES: message.mark},
            **{"task_id": message.task_id, **options},
        )

    def _send(self, name: str, groups: Iterable[Sequence[str]]) -> None:
        messages = [list(ids) for ids in groups]
        # Repeat once at once, in case the connection was dead: the alarm would take 15 s. If both messages arrive, the
        # second claim is refused.
        for last in (False, True):
            try:
                self._publish(name, messages)
                break
            except (OperationalError, BatchPublishError, OSError) as error:
                if last:
                    log.warning(
                        "%s: message not sent, the jobs' alarms will replace it: %s", name, type(error).__name__
                    )

    def _publish(self, name: str, messages: Iterable[list[str]]) -> None:
        producers = self._app.producer_pool
        with producers.acquire(block=True, timeout=10) as producer, producer.batch(max_size=_BATCH):
            for args in messages:
                self._app.send_task(name, args=args, queue=name, producer=producer, **_HINT_OPTIONS)


def continuation_of(request: Any) -> str:
    """Return a message's continuation as JSON: the options with which `send_task` sends it again.

    `request` is the task's request. Celery's own retry uses its `as_execution_options`, too.
    """
    options = request.as_execution_options()
    stamps = options.get("stamped_headers") or ()
    kept = {name: options[name] for name in (*_CONTINUATION_OPTIONS, *stamps) if options.get(name) is not None}
    if request.ignore_result:
        kept["ignore_result"] = True
    # Kombu has decoded the datetimes, UUIDs … in the signatures' arguments, and encodes them again.
    return str(dumps(kept, sort_keys=True))  # type: ignore[no-untyped-call]


_CONTINUATION_OPTIONS = (
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
