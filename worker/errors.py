"""The errors of this package.

WorkerError
├── GenerationFailed   a Celery producer's job failed, with the provider's code and message
├── GenerationRefused  a Celery producer's request is invalid, or its id belongs to another request
├── MessageUnfinished  a Celery message cannot be finished now, so it is processed again
└── NotifyFailed       a notification was not accepted at the producer's callback_url
"""


class WorkerError(Exception):
    """Base of all errors that leave this package."""


class GenerationFailed(WorkerError):
    """The job failed or expired. `AsyncResult.get()` raises it at the producer."""


class GenerationRefused(WorkerError):
    """The request was not accepted. The message names the fields and says what to do."""


class MessageUnfinished(WorkerError):
    """A server did not accept the result or what follows the task, or another worker is at it."""


class NotifyFailed(WorkerError):
    """The notification was not accepted. It is repeated later."""
