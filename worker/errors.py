"""The errors of this package.

WorkerError
├── GenerationFailed   a Celery producer's job failed: code and message are the provider's
├── GenerationRefused  a Celery producer's request is not valid, or its id stands for another request
└── NotifyFailed       a producer's callback_url did not take the notification
"""


class WorkerError(Exception):
    """Base of all errors that leave this package."""


class GenerationFailed(WorkerError):
    """The job ended without pictures; raised out of `AsyncResult.get()` at the producer."""


class GenerationRefused(WorkerError):
    """The request was not accepted; the message names the fields and what to do."""


class NotifyFailed(WorkerError):
    """The notification did not arrive; it is tried again later."""
