"""The tasks at the provider, and where they are found: by their own id, or by key and external id."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ops.simulator.draw import Picture
from ops.simulator.ledger import Purchase


class Status(StrEnum):
    """The gateway's own three words."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task failed, as its owner is told."""

    code: str
    message: str


@dataclass(slots=True, eq=False)
class Task:
    """One task. Times are the event loop's, in seconds."""

    id: str
    key: str
    #: 1 for the first submission under this external id that came in, and so on: the occasion of its decisions
    occasion: str
    purchase: Purchase
    picture: Picture
    callback_url: str | None
    base: str
    created: float
    duration: float
    status: Status = Status.IN_PROGRESS
    failure: Failure | None = None
    #: the task created before under the same key and external id, where duplicates go unnoticed
    earlier: "Task | None" = None

    @property
    def who(self) -> str:
        """The name under which decisions about this task are drawn."""
        return self.purchase.external_task_id or self.id

    def progress(self, now: float) -> float:
        """0 to 0.99 while in progress, by the time passed."""
        return round(min(0.99, (now - self.created) / self.duration), 2) if self.duration else 0.99

    def lineage(self) -> Iterator["Task"]:
        """This task, then the ones created before under the same external id."""
        task: Task | None = self
        while task is not None:
            yield task
            task = task.earlier


@dataclass(slots=True)
class Account:
    """What one key has: tasks so far, images in flight (the sum of n), and the most that ever were."""

    tasks: int = 0
    in_flight: int = 0
    peak: int = 0


class Tasks:
    """The store. An external id stays taken although its task has been deleted."""

    def __init__(self) -> None:
        self._by_id: dict[str, Task] = {}
        self._by_external: dict[tuple[str, str], Task] = {}
        self.accounts: defaultdict[str, Account] = defaultdict(Account)
        #: the two youngest tasks: one of them is never the one that asks for another's
        self._young: tuple[Task | None, Task | None] = (None, None)

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def in_flight(self) -> int:
        """Images in flight, of all keys."""
        return sum(account.in_flight for account in self.accounts.values())

    def add(self, task: Task) -> None:
        """A new task, holding its slots."""
        self._by_id[task.id] = task
        self._young = (task, self._young[0])
        external_id = task.purchase.external_task_id
        if external_id is not None:
            task.earlier = self._by_external.get((task.key, external_id))
            self._by_external[task.key, external_id] = task
        account = self.accounts[task.key]
        account.tasks += 1
        account.in_flight += task.purchase.n
        account.peak = max(account.peak, account.in_flight)

    def end(self, task: Task, status: Status) -> None:
        """A task reached its end and gives its slots back."""
        task.status = status
        self.accounts[task.key].in_flight -= task.purchase.n

    def holds(self, task: Task) -> bool:
        """Whether the task is still on record (a reset may have come between)."""
        return self._by_id.get(task.id) is task

    def delete(self, task: Task) -> None:
        """Its results are gone; its external id stays taken."""
        self._by_id.pop(task.id, None)

    def get(self, task_id: str) -> Task | None:
        """By the provider's id."""
        return self._by_id.get(task_id)

    def other_than(self, task_id: str) -> Task | None:
        """A young task that is not this one, if there is any."""
        return next((task for task in self._young if task is not None and task.id != task_id), None)

    def known(self, key: str, external_id: str) -> bool:
        """Whether this key has used this external id, ever."""
        return (key, external_id) in self._by_external

    def by_external(self, key: str, external_id: str) -> list[Task]:
        """Present tasks under an external id, the newest first."""
        newest = self._by_external.get((key, external_id))
        return [task for task in newest.lineage() if self.holds(task)] if newest else []

    def named(self, external_id: str) -> list[Task]:
        """Present tasks under an external id of whichever key, the oldest first."""
        return [task for task in self._by_id.values() if task.purchase.external_task_id == external_id]
