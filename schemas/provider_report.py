"""What the provider says about a task, in one form whatever the shape it came in.

The words and shapes are those of the provider contract ("Read tolerantly"): spelling and case of the status vary, the
error may be text or an object, and the upstream's own callback shapes say neither price nor error code.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any


class TaskStatus(StrEnum):
    #: The provider has the task and has not begun.
    WAITING = "waiting"
    #: The provider is at work.
    RUNNING = "running"
    #: Final: there is a result.
    COMPLETED = "completed"
    #: Final: there will be none.
    FAILED = "failed"
    #: A word that the contract does not list. Not final: log it, count it, keep polling.
    UNKNOWN = "unknown"

    @property
    def final(self) -> bool:
        return self in (TaskStatus.COMPLETED, TaskStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Output:
    """One generated resource. `type` is `image` where the provider names none."""

    type: str
    url: str


@dataclass(frozen=True, slots=True)
class TaskError:
    """`code` as the provider's tables print it (`002016095`, Kling's `1303`), empty where it gave only words."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Usage:
    """`cost` in USD, None where it was empty or unreadable; `discount` verbatim, never to be computed with."""

    cost: Decimal | None
    discount: Any = None


@dataclass(frozen=True, slots=True)
class TaskReport:
    """`word` is the status as it was spelt.

    `task_id` may be the upstream's, not ours. `upstream` marks the upstream's own callback shapes.
    """

    status: TaskStatus
    word: str
    task_id: str | None = None
    external_task_id: str | None = None
    output: tuple[Output, ...] = ()
    error: TaskError | None = None
    usage: Usage | None = None
    metadata: Any = None
    upstream: bool = False

    @property
    def settles(self) -> bool:
        """Whether the report alone can end the job: final, and nothing missing.

        Where it is False, the status endpoint must be asked. Completed needs an output and a cost. Failed needs an
        error. An upstream's own shape never settles: it cannot carry the price, which a failed task may have too, nor
        the error code by which a new attempt is decided.
        """
        if self.upstream:
            return False
        if self.status is TaskStatus.COMPLETED:
            return bool(self.output) and self.usage is not None and self.usage.cost is not None
        return self.status is TaskStatus.FAILED and self.error is not None


@dataclass(frozen=True, slots=True)
class Submission:
    """The answer to a submit. No `task_id`: nothing was created, and `error` says why if the provider did."""

    task_id: str | None
    report: TaskReport | None = None
    error: TaskError | None = None
