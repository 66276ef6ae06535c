"""The errors of this package.

JobsError
├── StoreUnavailable   Redis is away, full, loading or read-only: nothing is known to have changed
│   ├── WorkRefused        Redis does not hold the jobs that it should hold: no work until an operator says so
│   ├── ImagesUnavailable  the image store is away
│   ├── RecordTooNew       a record was written by a later version of the service
│   ├── RecordDamaged      something in Redis is not as any version of the service writes it
│   └── AccessRefused      Redis refuses the user: an unknown one, a wrong password, or a right that it lacks
├── JobNotFound        no job has this id
├── BatchNotFound      no batch has this id
├── ImageNotFound      no image with this hash is there (any more)
├── KeyNotFound        no API key has this id
├── NotAllowed         the state of the job or batch does not allow this
├── NoLane             no lane takes such a job
├── NoRoom             there are as many unfinished jobs as there may be
├── Unroutable         the broker has no queue for a message
└── SettingsInvalid    the environment has invalid variables; carries every problem
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


class RecordTooNew(StoreUnavailable):
    """A later version of the service wrote the record, and this version may misread it. Nothing changed."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"The record of job {job_id} was written by a later version of Boomerang, which has to act upon it: "
            "update this process too."
        )


class RecordDamaged(StoreUnavailable):
    """Redis holds a value that no version of the service writes. The service leaves it alone; a person has to look.

    `what` names it, such as `job fox`, `batch x` or a key; `why`: what is wrong with it.
    """

    def __init__(self, what: str, why: str) -> None:
        super().__init__(
            f"What Redis holds of {what} is damaged: {why}. `boomerang-server audit` lists what is, and what to do."
        )
        self.what = what
        self.why = why


class AccessRefused(StoreUnavailable):
    """Redis refuses the user of BOOMERANG_REDIS_URL, or a command of it."""

    def __init__(self, said: str) -> None:
        super().__init__(f"Redis (BOOMERANG_REDIS_URL) refuses this: {said}")
        self.said = said


class Unroutable(JobsError):
    """The broker has no queue for a message: it was not delivered."""


class ImageNotFound(JobsError):
    """No image with this hash is there: it was never stored, or no job needed it for BOOMERANG_IMAGE_RETENTION."""

    def __init__(self, digest: str) -> None:
        super().__init__(
            f"There is no image image:sha256:{digest}; upload it with POST /v1/images. "
            "One that no unfinished job needs is kept for BOOMERANG_IMAGE_RETENTION seconds."
        )
        self.digest = digest


class JobNotFound(JobsError):
    """No job has this id, or it ended longer ago than BOOMERANG_RETENTION."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id!r}; ended jobs are kept for BOOMERANG_RETENTION seconds.")
        self.job_id = job_id


class BatchNotFound(JobsError):
    """No batch has this id."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(f"There is no batch {batch_id!r}; ended batches are kept for BOOMERANG_RETENTION seconds.")
        self.batch_id = batch_id


class KeyNotFound(JobsError):
    """No API key has this id."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"There is no key {key_id!r}; `boomerang-server keys list` shows those that there are.")
        self.key_id = key_id


class NotAllowed(JobsError):
    """The state of the job or batch does not allow this; the message says why and what to do."""


class NoRoom(JobsError):
    """There are as many unfinished jobs as there may be; nothing was accepted."""


class NoLane(JobsError):
    """No lane of BOOMERANG_LANES takes a job of this model and these labels."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"no lane takes {model} with these labels; use another model or other labels, "
            "or ask whoever runs the service for a lane (BOOMERANG_LANES)"
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
            return "Redis (BOOMERANG_REDIS_URL) was started again, and no worker has looked at its data so far."
        case _:
            return (
                "Redis (BOOMERANG_REDIS_URL) holds no record of an installation: no worker has started with it, or it "
                f"has lost its data. Start a worker, which finds out; if jobs are lost, run `{RECOVER}`."
            )
