"""The errors of this package.

JobsError
├── StoreUnavailable   Redis does not answer, is full, loading or read-only: the change may have happened or not
│   ├── WorkRefused        Redis does not hold the jobs that it should hold: no work until an operator recovers it
│   ├── ImagesUnavailable  the image store does not answer
│   ├── ResultsUnavailable the result store does not answer
│   ├── RecordTooNew       a record was written by a later version of the service
│   ├── RecordDamaged      Redis holds a value that no version of the service writes
│   └── AccessRefused      Redis refuses the user: it is unknown, its password is wrong, or it lacks a right
├── JobNotFound        no job has this id
├── BatchNotFound      no batch has this id
├── BulkNotFound       no bulk action has this id
├── ImageNotFound      no image with this hash is stored
├── KeyNotFound        no API key has this id
├── KeyExists          an API key has this id already
├── NotAllowed         the state of the job or batch does not allow this
├── NoLane             no lane takes such a job
├── ServiceFull        the limit of unfinished jobs is reached
├── Unroutable         the broker has no queue for a message
├── DestinationRefused the operator does not allow messages to this queue or exchange
└── SettingsInvalid    environment variables are invalid; lists every problem
"""

from collections.abc import Sequence


class JobsError(Exception):
    """Base of all errors that leave this package."""


class StoreUnavailable(JobsError):
    """Redis did not answer or refused to write. The change may have happened; every verb is safe to repeat."""


class WorkRefused(StoreUnavailable):
    """Redis does not hold the jobs that it should hold: no work is accepted or handed out. Nothing changed."""


class ImagesUnavailable(StoreUnavailable):
    """The image store (BOOMERANG_IMAGE_STORE) did not answer: it may have the image or not."""


class ResultsUnavailable(StoreUnavailable):
    """The result store (BOOMERANG_RESULT_STORE) did not answer: it may have the object or not."""


class RecordTooNew(StoreUnavailable):
    """A later version of the service wrote the record, and this version may misread it. Nothing changed."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"A later version of Boomerang wrote the record of job {job_id}, and only that version may change it. "
            "Update this process, too."
        )


class RecordDamaged(StoreUnavailable):
    """Redis holds a value that no version of the service writes. The service does not act on it: a person repairs it.

    `what`: the damaged record or key, such as `job fox` or `batch x`. `why`: what is wrong with it.
    """

    def __init__(self, what: str, why: str) -> None:
        super().__init__(
            f"The data of {what} in Redis are damaged: {why}. `boomerang-server audit` lists each damaged value, "
            "and what to do about it."
        )
        self.what = what
        self.why = why


class AccessRefused(StoreUnavailable):
    """Redis refuses the user of BOOMERANG_REDIS_URL, or one of its commands. `reply` is the text of Redis."""

    def __init__(self, reply: str) -> None:
        super().__init__(f"Redis (BOOMERANG_REDIS_URL) refused this: {reply}")
        self.reply = reply


class Unroutable(JobsError):
    """The broker has no queue for a message: it was not delivered."""


class DestinationRefused(JobsError):
    """BOOMERANG_LINK_QUEUES does not allow messages to this queue or exchange."""


class ImageNotFound(JobsError):
    """No image with this hash is stored: it never was, or no job needed it for BOOMERANG_IMAGE_RETENTION."""

    def __init__(self, digest: str) -> None:
        super().__init__(
            f"There is no image image:sha256:{digest}. Upload it with POST /v1/images. "
            "Images that no unfinished job needs are deleted after BOOMERANG_IMAGE_RETENTION seconds."
        )
        self.digest = digest


class JobNotFound(JobsError):
    """No job has this id, or it ended longer ago than BOOMERANG_RETENTION."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id!r}. Ended ones are deleted after BOOMERANG_RETENTION seconds.")
        self.job_id = job_id


class BatchNotFound(JobsError):
    """No batch has this id."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(f"There is no batch {batch_id!r}. Ended ones are deleted after BOOMERANG_RETENTION seconds.")
        self.batch_id = batch_id


class BulkNotFound(JobsError):
    """No bulk action has this id."""

    def __init__(self, bulk_id: str) -> None:
        super().__init__(f"There is no bulk action {bulk_id!r}. Only the last ones are kept: GET /v1/bulk lists them.")
        self.bulk_id = bulk_id


class KeyNotFound(JobsError):
    """No API key has this id."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"There is no key {key_id!r}. `boomerang-server keys list` lists all keys.")
        self.key_id = key_id


class KeyExists(JobsError):
    """A key has this id already: the request was sent twice."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"A key {key_id} was made already.")


class NotAllowed(JobsError):
    """The state of the job or batch does not allow this; the message says why and what to do."""


class ServiceFull(JobsError):
    """The limit of unfinished jobs (BOOMERANG_MAX_UNFINISHED) is reached. Nothing was accepted."""


class NoLane(JobsError):
    """No lane of BOOMERANG_LANES takes a job of this model and these labels."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"no lane takes {model} with these labels. Use another model or other labels, "
            "or ask the operator of the service for a lane (BOOMERANG_LANES)"
        )


class SettingsInvalid(JobsError):
    """The environment has invalid variables: `problems` has one line for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("Bad settings:\n" + "\n".join(f"  {problem}" for problem in problems))
        self.problems = list(problems)


#: The command that lets work continue after a loss of data.
RECOVER = "boomerang-server recover"


def why_refused(kind: str, reason: str = "") -> str:
    """Describe why no work is accepted, with a remedy."""
    match kind:
        case "lost":
            return f"{reason}. New work is refused until an operator runs `{RECOVER}`."
        case "restarted":
            return "Redis (BOOMERANG_REDIS_URL) was restarted, and no worker has checked its data yet."
        case _:
            return (
                "Redis (BOOMERANG_REDIS_URL) holds no record of an installation: either no worker has started with it, "
                f"or it has lost its data. Start a worker, which finds out. If jobs are lost, run `{RECOVER}`."
            )
