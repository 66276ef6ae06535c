"""The errors of this package.

WorkerError
├── GenerationFailed   a Celery producer's job failed, with the provider's code and message
├── GenerationRefused  a Celery producer's request is invalid, or its id belongs to another request
├── MessageUnfinished  a Celery message cannot be finished now, so it is processed again
├── DownloadFailed     a file could not be downloaded
├── SaveFailed         the results of a job could not be saved
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


class DownloadFailed(WorkerError):
    """A file could not be downloaded. `gone`: it no longer exists. `retry_after`: seconds that the server asks for."""

    def __init__(self, why: str, *, gone: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(why)
        self.gone = gone
        self.retry_after = retry_after


class SaveFailed(WorkerError):
    """The results of a job were not saved: none of them is recorded. `why` names no address, only a host.

    `final`: a repeat cannot succeed. `wrong_file`: the server sent a file that cannot be the result, as if it were; it
    may do so forever. `retry_after`: seconds that the server asks for.
    """

    def __init__(self, why: str, *, final: bool = False, wrong_file: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(why)
        self.why = why
        self.final = final
        self.wrong_file = wrong_file
        self.retry_after = retry_after


class NotifyFailed(WorkerError):
    """The notification was not accepted. It is repeated later. `status`: of the answer; None without one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
