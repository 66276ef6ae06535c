"""The provider's report on a task, in one form for all shapes.

Source: the provider contract ("Read tolerantly"). Spelling and case of the status vary, the error is text or an object,
and the upstream's own callback shapes contain neither a price nor an error code.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from schemas.money import Cost


class TaskStatus(StrEnum):
    #: The provider has the task, but has not begun.
    WAITING = "waiting"
    #: The provider works on the task.
    RUNNING = "running"
    #: Final: there is a result.
    COMPLETED = "completed"
    #: Final: there will be none.
    FAILED = "failed"
    #: The contract does not list this status. It is not final: the service logs it and keeps polling.
    UNKNOWN = "unknown"

    @property
    def final(self) -> bool:
        return self in (TaskStatus.COMPLETED, TaskStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Output:
    """One generated resource. `type` is image, video or audio. `watermark_url`: the same with a watermark."""

    type: str
    url: str
    watermark_url: str | None = None


@dataclass(frozen=True, slots=True)
class TaskError:
    """`code` as the provider's tables print it (`002016095`, Kling's `1303`), empty if it sent only text."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Usage:
    """`discount` verbatim, not for calculations."""

    cost: Cost
    discount: Any = None


@dataclass(frozen=True, slots=True)
class TaskReport:
    """A report. `status_text` is the status as it was sent. `left_out`: results that cannot be used, and why.

    `created_at`: when the provider created the task, by its clock; None if it does not say so.
    `task_id` may be the upstream's instead of the gateway's. `upstream` marks the upstream's own callback shapes.
    """

    status: TaskStatus
    status_text: str
    task_id: str | None = None
    external_task_id: str | None = None
    output: tuple[Output, ...] = ()
    left_out: tuple[str, ...] = ()
    error: TaskError | None = None
    usage: Usage | None = None
    metadata: Any = None
    created_at: datetime | None = field(default=None, compare=False)
    upstream: bool = False

    def limited_to(self, most: int) -> "TaskReport":
        """Return the report with at most so many results."""
        excess = len(self.output) - most
        if excess <= 0:
            return self
        problem = f"{excess} result{'s'[: excess > 1]} beyond the {most} that {'were' if most > 1 else 'was'} asked for"
        return replace(self, output=self.output[:most], left_out=(*self.left_out, problem))

    @property
    def settles(self) -> bool:
        """Whether the report alone can end the job: it is final and complete. Otherwise, ask the status endpoint.

        A completed task needs an output and a cost, a failed one an error. The upstream's own shapes never suffice:
        they have no price, which a failed task may have too, and no error code, which decides on a new attempt.
        """
        if self.upstream:
            return False
        if self.status is TaskStatus.COMPLETED:
            return bool(self.output) and self.usage is not None and self.usage.cost.amount is not None
        return self.status is TaskStatus.FAILED and self.error is not None


@dataclass(frozen=True, slots=True)
class Submission:
    """The answer to a submission. Without a `task_id`, no task was created; `error` says why if the provider did."""

    task_id: str | None
    report: TaskReport | None = None
    error: TaskError | None = None
