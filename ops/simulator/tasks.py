"""The provider's tasks, found by their id or by key and external id."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ops.simulator.draw import ImageSpec
from ops.simulator.ledger import Purchase


class Status(StrEnum):
    """The gateway's three statuses."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Failure:
    """The error of a failed task."""

    code: str
    message: str


@dataclass(slots=True, eq=False)
class Task:
    """A task. Times are the event loop's, in seconds."""

    id: str
    key: str
    #: "1" for the first submission with this external id, and so on: the occasion of its decisions.
    occasion: str
    purchase: Purchase
    image: ImageSpec
    callback_url: str | None
    base: str
    created: float
    duration: float
    status: Status = Status.IN_PROGRESS
    failure: Failure | None = None
    ended: float | None = None
    #: The previous task with the same key and external id, if duplicates go unnoticed.
    earlier: "Task | None" = None

    @property
    def subject(self) -> str:
        """The name that decisions about this task depend on."""
        return self.purchase.external_task_id or self.id

    def progress(self, now: float) -> float:
        """Return the progress of a running task by the time passed, 0 to 0.99."""
        return round(min(0.99, (now - self.created) / self.duration), 2) if self.duration else 0.99

    def lineage(self) -> Iterator["Task"]:
        """Yield this task, then the earlier ones with the same external id."""
        task: Task | None = self
        while task is not None:
            yield task
            task = task.earlier


@dataclass(slots=True)
class Account:
    """The counts of a key: tasks so far, images in flight (the sum of n), and their peak."""

    tasks: int = 0
    in_flight: int = 0
    peak: int = 0


class Tasks:
    """All tasks. An external id stays in use after its task was deleted."""

    def __init__(self) -> None:
        self._by_id: dict[str, Task] = {}
        self._by_external: dict[tuple[str, str], Task] = {}
        self.accounts: defaultdict[str, Account] = defaultdict(Account)
        #: The two newest tasks, so that one of them always differs from a given one.
        self._newest: tuple[Task | None, Task | None] = (None, None)

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def in_flight(self) -> int:
        """Images in flight, of all keys together."""
        return sum(account.in_flight for account in self.accounts.values())

    def add(self, task: Task) -> None:
        """Add a new task, which takes its slots."""
        self._by_id[task.id] = task
        self._newest = (task, self._newest[0])
        external_id = task.purchase.external_task_id
        if external_id is not None:
            task.earlier = self._by_external.get((task.key, external_id))
            self._by_external[task.key, external_id] = task
        account = self.accounts[task.key]
        account.tasks += 1
        account.in_flight += task.purchase.n
        account.peak = max(account.peak, account.in_flight)

    def end(self, task: Task, status: Status, now: float) -> None:
        """End a task and free its slots."""
        task.status, task.ended = status, now
        self.accounts[task.key].in_flight -= task.purchase.n

    def has(self, task: Task) -> bool:
        """Return whether the task is still stored. A reset or its expiry may have removed it."""
        return self._by_id.get(task.id) is task

    def delete(self, task: Task) -> None:
        """Delete a task. Its external id stays in use."""
        self._by_id.pop(task.id, None)

    def get(self, task_id: str) -> Task | None:
        """Find a task by the provider's id."""
        return self._by_id.get(task_id)

    def other_than(self, task_id: str) -> Task | None:
        """Return a recent task other than this one, if there is any."""
        return next((task for task in self._newest if task is not None and task.id != task_id), None)

    def is_used(self, key: str, external_id: str) -> bool:
        """Return whether this key has ever used this external id."""
        return (key, external_id) in self._by_external

    def by_external(self, key: str, external_id: str) -> list[Task]:
        """Return a key's tasks with this external id, newest first."""
        newest = self._by_external.get((key, external_id))
        return [task for task in newest.lineage() if self.has(task)] if newest else []

    def all_by_external_id(self, external_id: str) -> list[Task]:
        """Return the tasks of all keys with this external id, oldest first."""
        return [task for task in self._by_id.values() if task.purchase.external_task_id == external_id]
