"""The errors of this package.

WorkerError
├── GenerationFailed   a Celery producer's job failed, with the provider's code and message
├── GenerationRefused  a Celery producer's request is invalid, or its id belongs to another request
├── MessageUnfinished  a Celery message cannot be finished now, so it is processed again
└── NotifyFailed       a notification was not accepted at the producer's callback_url
"""

from schemas import clean

#: Characters of a refusal that are stored as the task's result. The errors of a request have fewer bytes.
_LONGEST = 10_000


class WorkerError(Exception):
    """Base of all errors that leave this package."""


class GenerationFailed(WorkerError):
    """The job failed or expired. `AsyncResult.get()` raises it at the producer."""


class GenerationRefused(WorkerError):
    """The request was not accepted. The message names the fields, says what to do, and is cut to 10,000 characters."""

    def __init__(self, message: str) -> None:
        super().__init__(clean(message, _LONGEST))


class MessageUnfinished(WorkerError):
    """A server did not accept the result or what follows the task, or another worker is at it."""


class NotifyFailed(WorkerError):
    """The notification was not accepted. It is repeated later. `status`: of the answer; None without one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
