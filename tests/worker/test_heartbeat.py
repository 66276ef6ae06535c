"""What a worker's heartbeats say, by what its loop has noted."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.errors import StoreUnavailable
from jobs.liveness import SILENT_AFTER
from worker.heartbeat import LOOP_SILENT_AFTER, Heart, running_tasks

TASKS = ["one", "two"]


class Liveness:
    """Keeps the heartbeats, or fails as Redis does."""

    def __init__(self) -> None:
        self.beats: list[tuple[str, list[str]]] = []
        self.error: Exception | None = None
        self.liveness = self

    def beat(self, state: str, queues: Any = ()) -> None:
        if self.error:
            raise self.error
        self.beats.append((state, list(queues)))


@pytest.fixture
def store() -> Liveness:
    return Liveness()


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def heart(store: Liveness, now: list[float]) -> Heart:
    made: Callable[[], Any] = lambda: store  # noqa: E731
    return Heart(made, clock=lambda: now[0])


def test_a_loop_that_runs_reads_its_queues(heart: Heart, store: Liveness, now: list[float]) -> None:
    heart.note_loop(["a", "b"])
    now[0] += LOOP_SILENT_AFTER
    heart.beat()
    assert store.beats == [("reading", ["a", "b"])]


@pytest.mark.parametrize("noted", [True, False])
def test_a_loop_that_is_silent_or_never_ran_is_cut_off(
    heart: Heart, store: Liveness, now: list[float], noted: bool
) -> None:
    if noted:
        heart.note_loop(["a"])
    now[0] += LOOP_SILENT_AFTER + 0.1
    heart.beat()
    assert store.beats == [("cut_off", [])]
    # It goes on as soon as the loop does
    heart.note_loop(["a"])
    heart.beat()
    assert store.beats[-1] == ("reading", ["a"])


def test_threads_in_use_are_a_trouble_only_while_no_task_ends(heart: Heart, store: Liveness, now: list[float]) -> None:
    for second in range(int(SILENT_AFTER) + 1):
        heart.note_loop(["a"], [f"task {second}", "two"], full=True)
        heart.beat()
        now[0] += 1
    assert {state for state, _ in store.beats} == {"reading"}
    heart.note_loop(["a"], TASKS, full=True)
    now[0] += SILENT_AFTER
    heart.note_loop(["a"], TASKS, full=True)
    heart.beat()
    assert store.beats[-1] == ("busy", ["a"])
    # The same tasks for long, with a free thread
    heart.note_loop(["a"], TASKS, full=False)
    heart.beat()
    assert store.beats[-1] == ("reading", ["a"])


@pytest.mark.parametrize("error", [StoreUnavailable("away"), ValueError("unexpected")])
def test_a_heartbeat_that_fails_does_not_end_the_thread(heart: Heart, store: Liveness, error: Exception) -> None:
    store.error = error
    heart.beat()
    store.error = None
    heart.beat()
    assert len(store.beats) == 1


class Requests:
    """Celery's set of active requests, which a thread of the pool changes during the first `changed` reads."""

    def __init__(self, changed: int) -> None:
        self._changed = changed

    def __iter__(self) -> Iterator[Any]:
        yield SimpleNamespace(id="one")
        self._changed -= 1
        if self._changed >= 0:
            raise RuntimeError("Set changed size during iteration")


def test_tasks_that_begin_or_end_during_a_read_do_not_end_the_worker() -> None:
    assert running_tasks(Requests(0)) == running_tasks(Requests(2)) == {"one"}
    assert running_tasks(Requests(1_000)) is None


def test_tasks_that_cannot_be_read_count_as_the_last_ones(heart: Heart, store: Liveness, now: list[float]) -> None:
    heart.note_loop(["a"], None)
    heart.note_loop(["a"], TASKS, full=True)
    now[0] += SILENT_AFTER
    heart.note_loop(["a"], None)
    heart.beat()
    assert store.beats[-1] == ("busy", ["a"])
