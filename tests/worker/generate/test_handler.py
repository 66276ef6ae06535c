"""GenerateHandler, killed or overtaken by a revoke between two of its steps: a repeat of the message completes it."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from celery.exceptions import TaskRevokedError

from jobs.states import State
from jobs.store.store import Store
from tests.support.world import MakeWorld, World
from worker.errors import GenerationRefused
from worker.generate.enqueue import Ending, GenerateCall, GenerateHandler

REQUEST = {"model": "kirin_image_omni", "prompt": "a fox"}
#: More calls of the store than one message ever makes.
MOST_CALLS = 8


class Killed(BaseException):
    """The worker ends here."""


class Watched:
    """The store, with something that happens at its n-th call: before it, or after it was carried out."""

    def __init__(self, store: Store, at: int, happens: Callable[[], object], *, before: bool) -> None:
        self._store, self._at, self._happens, self._before = store, at, happens, before
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        part = getattr(self._store, name)
        return part if name == "context" else WatchedPart(self, part)

    def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        now = self.calls == self._at
        if now and self._before:
            self._happens()
        answer = method(*args, **kwargs)
        if now and not self._before:
            self._happens()
        return answer


class WatchedPart:
    """One part of the watched store."""

    def __init__(self, watched: Watched, part: Any) -> None:
        self._watched, self._part = watched, part

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._watched.call, getattr(self._part, name))


def asked(task_id: str = "fox", **changes: Any) -> GenerateCall:
    given = {"request": REQUEST, "continuation": json.dumps({"task_id": task_id}), **changes}
    return GenerateCall(task_id=task_id, **given)


@pytest.fixture
def w(world: MakeWorld) -> World:
    return world()


def handler(w: World, store: Any = None) -> GenerateHandler:
    return GenerateHandler(store or w.store, w.messages, w.images, allow_private_hosts=False)


def killed() -> None:
    raise Killed


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, MOST_CALLS))
def test_killed_at_any_call_a_repeat_is_as_good_as_the_first(at: int, before: bool, w: World) -> None:
    watched = Watched(w.store, at, killed, before=before)
    try:
        handler(w, watched)(asked())
    except Killed:
        assert handler(w)(asked()) is None
    else:
        assert watched.calls < at
    assert w.job("fox").state is State.QUEUED
    assert w.redis.hlen("{b}:k:fox") == 1
    # And at its end
    w.store.jobs.cancel("fox")
    ((message),) = w.store.celery.get_parked("fox")
    finishes = asked(request={"external_task_id": "fox"}, finishes=message.mark)
    watched = Watched(w.store, at, killed, before=before)
    try:
        ending = handler(w, watched)(finishes)
    except Killed:
        # It is owed until told, so it comes again, once nobody can be at it any more.
        w.ahead(30)
        ending = handler(w)(finishes)
    assert ending is not None
    assert ending.first_delivery
    assert isinstance(ending.outcome, TaskRevokedError)
    handler(w).acknowledge(ending)
    assert w.store.celery.get_parked("fox") == []


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, MOST_CALLS))
def test_revoked_at_any_call_it_never_goes_on(at: int, before: bool, w: World) -> None:
    watched = Watched(w.store, at, partial(w.store.celery.revoke, ["fox"]), before=before)
    ending = handler(w, watched)(asked())
    if watched.calls < at:
        assert w.job("fox").state is State.QUEUED
        return
    (job,) = w.store.jobs.get_many(["fox"])
    assert job is None or job.state is State.CANCELLED
    # Either this message says so, or the one that the end will send
    assert isinstance(ending, Ending) == (job is None)
    again = handler(w)(asked())
    assert again is None or isinstance(again.outcome, TaskRevokedError)


def test_what_is_wrong_with_a_message_is_its_ending(w: World) -> None:
    ending = handler(w)(asked(request={"model": "x"}))
    assert isinstance(ending, Ending)
    assert isinstance(ending.outcome, GenerationRefused)
    assert w.store.jobs.get_many(["fox"]) == [None]


def test_too_many_tasks_for_one_job(w: World) -> None:
    for number in range(100):
        assert handler(w)(asked(f"t-{number}", request={**REQUEST, "external_task_id": "fox"})) is None
    ending = handler(w)(asked("one more", request={**REQUEST, "external_task_id": "fox"}))
    assert isinstance(ending, Ending)
    assert "100 Celery tasks" in str(ending.outcome)


def test_the_sooner_of_both_expiries_counts(w: World) -> None:
    handler(w)(asked("a", request={**REQUEST, "expires_in": 60}, expires_in=600.0))
    handler(w)(asked("b", request={**REQUEST, "expires_in": 600}, expires_in=60.0))
    w.ahead(61)
    for _ in range(2):
        w.round(1)
    assert {w.job(name).state for name in ("a", "b")} == {State.EXPIRED}
