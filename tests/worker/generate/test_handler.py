"""GenerateHandler, killed or overtaken by a revoke between two of its steps: a repeat of the message completes it."""

import json
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from celery.app.task import Context
from celery.exceptions import TaskRevokedError
from kombu.utils.json import loads

from jobs.fields import Field
from jobs.job import Delivery
from jobs.new_job import NewJob
from jobs.states import State
from jobs.store.store import Store
from schemas import GenerationRequest
from tests.support.world import MakeWorld, World
from worker.errors import GenerationRefused
from worker.generate.enqueue import Ending, GenerateCall, GenerateHandler
from worker.generate.task import parse_call
from worker.generate.unreachable import Reachability
from worker.messages import continuation_of

REQUEST = {"model": "kirin_image_omni", "prompt": "a fox"}
#: More store calls than one message makes.
MOST_CALLS = 8


class Killed(BaseException):
    """Stands for a worker that is killed."""


class WatchedStore:
    """The store, with an action before or after its n-th call."""

    def __init__(self, store: Store, at: int, action: Callable[[], object], *, before: bool) -> None:
        self._store, self._at, self._action, self._before = store, at, action, before
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        part = getattr(self._store, name)
        return part if name == "context" else WatchedStorePart(self, part)

    def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        now = self.calls == self._at
        if now and self._before:
            self._action()
        answer = method(*args, **kwargs)
        if now and not self._before:
            self._action()
        return answer


class WatchedStorePart:
    """One part of the store. It passes every call through `WatchedStore.call`."""

    def __init__(self, watched: WatchedStore, part: Any) -> None:
        self._watched, self._part = watched, part

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._watched.call, getattr(self._part, name))


def call_of(task_id: str = "fox", **changes: Any) -> GenerateCall:
    given = {"request": REQUEST, "continuation": json.dumps({"task_id": task_id}), **changes}
    return GenerateCall(task_id=task_id, **given)


@pytest.fixture
def w(world: MakeWorld) -> World:
    return world()


def handler(w: World, store: Any = None) -> GenerateHandler:
    return GenerateHandler(store or w.store, w.messages, w.images, Reachability(w.app), allow_private_hosts=False)


def test_unknown_parameters_are_passed_if_the_operator_wants_it(w: World) -> None:
    new = {"element_list": [{"element_id": 17}]}
    passing = GenerateHandler(
        w.store, w.messages, w.images, Reachability(w.app), allow_private_hosts=False, pass_unknown=True
    )
    ending = handler(w)(call_of("hare", request=REQUEST | new))
    assert ending is not None
    assert isinstance(ending.outcome, GenerationRefused)
    assert "element_list" in str(ending.outcome)
    assert passing(call_of(request=REQUEST | new)) is None
    w.submit("fox")
    assert w.store.jobs.get("fox", text=True).text.count("element_id") == 1


@pytest.mark.parametrize("ended", [False, True], ids=["under way", "ended"])
@pytest.mark.parametrize("request_", [{"external_task_id": "fox"}, REQUEST | {"external_task_id": "fox"}])
def test_another_producers_job_is_neither_read_nor_cancelled(request_: dict[str, Any], ended: bool, w: World) -> None:
    # Given a job that another producer enqueued over HTTP
    text = GenerationRequest(model="kirin_image_omni", params={"prompt": "a fox"}).text()
    w.store.jobs.enqueue([NewJob(id="fox", text=text, model="kirin_image_omni", owner="bakery")])
    if ended:
        w.submit("fox")
        w.settle("fox")
    before = w.job("fox").state
    # When a service that shares the broker asks for it by its id, forges the mark of a parked message, and revokes it
    for task_id, finishes in (("task-1", ""), ("fox", ""), ("task-2", "0123456789abcdef")):
        ending = handler(w)(call_of(task_id, request=request_, finishes=finishes))
        # Then it gets nothing
        assert ending is None if finishes else isinstance(ending and ending.outcome, GenerationRefused)
    handler(w).revoke(["task-1", "fox"])
    assert w.job("fox").state is before
    assert w.redis.hlen("{b}:k:fox") == 0


def test_a_task_that_the_version_before_parked_for_another_producers_job_gets_an_error(w: World) -> None:
    text = GenerationRequest(model="kirin_image_omni", params={"prompt": "a fox"}).text()
    w.store.jobs.enqueue([NewJob(id="fox", text=text, model="kirin_image_omni", owner="bakery")])
    w.redis.hset("{b}:k:fox", "task-1", json.dumps({"task_id": "task-1"}))
    w.redis.hset("{b}:j:fox", Field.OWED_AT_END, Delivery.CELERY)
    w.submit("fox")
    assert w.settle("fox").state is State.COMPLETED
    (message,) = w.store.celery.get_parked("fox")
    finishes = call_of("task-1", request={"external_task_id": "fox"}, finishes=message.mark)
    ending = handler(w)(finishes)
    assert ending is not None
    assert isinstance(ending.outcome, GenerationRefused)
    handler(w).acknowledge(ending)
    assert not w.job("fox").owed
    assert handler(w)(finishes) is None


@pytest.mark.parametrize("where", ["link", "link_error", "chord", "the link's link", "the request", "a model's field"])
@pytest.mark.parametrize("levels", [300, 450, 600, 900, 990, 2_000])
def test_what_is_nested_too_deep_is_refused_before_anything_is_recorded(levels: int, where: str, w: World) -> None:
    """Python gives up at some depth, which differs by version and by what it does."""
    deep = dict(w.app.signature("shop.paint", args=[nested(levels)], queue="shop"))
    options: dict[str, dict[str, Any]] = {
        "link": {"callbacks": [deep]},
        "link_error": {"errbacks": [deep]},
        "chord": {"chord": deep},
        "the link's link": {"callbacks": [dict(w.app.signature("shop.paint", queue="shop", link=[deep]))]},
    }
    fields: dict[str, dict[str, Any]] = {
        "the request": {"x": nested(levels)},
        "a model's field": {"image": nested(levels)},
    }
    given, more = options.get(where, {}), fields.get(where, {})
    context = Context({"id": "fox", "args": (), "kwargs": {}, **given})
    ending = handler(w)(parse_call(context, {**REQUEST, **more}))
    if ending is None:
        assert not more
        assert w.redis.hlen("{b}:k:fox") == 1
        return
    assert isinstance(ending.outcome, GenerationRefused)
    assert more or "nested" in str(ending.outcome)
    assert len(str(ending.outcome)) < 1_000
    assert not w.redis.exists("{b}:j:fox")
    # A repeat of it is the same message, and another message of this kind is not
    handler(w).acknowledge(ending)
    again = handler(w)(parse_call(context, {**REQUEST, **more}))
    assert again is not None
    assert not again.first_delivery
    other = Context({"id": "hen", "args": (), "kwargs": {}, **given})
    ending = handler(w)(parse_call(other, {**REQUEST, **more, "external_task_id": "hen"}))
    assert ending is not None
    assert ending.first_delivery


@pytest.mark.parametrize("lost", [True, False])
def test_an_accepted_job_is_not_refused_because_a_queue_is_missing_for_a_moment(lost: bool, w: World) -> None:
    """The worker died after it had recorded the job, and before it parked the message."""
    missing: list[str] = []
    serve = GenerateHandler(w.store, w.messages, w.images, lambda _: missing, allow_private_hosts=False)
    watched = WatchedStore(w.store, 3, killed, before=True)
    with pytest.raises(Killed):
        handler(w, watched)(call_of())
    assert w.redis.exists("{b}:j:fox")
    assert w.redis.hlen("{b}:k:fox") == 0
    if lost:
        missing.append("shop.paint: the broker has no queue 'shop'")
    assert serve(call_of()) is None
    assert w.redis.hlen("{b}:k:fox") == 1
    # Another message for the same job is refused while the queue is missing
    missing[:] = ["shop.frame: the broker has no queue 'shop'"]
    ending = serve(call_of("task-2", request={"external_task_id": "fox"}))
    assert ending is not None
    assert isinstance(ending.outcome, GenerationRefused)


def killed() -> None:
    raise Killed


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, MOST_CALLS))
def test_a_repeat_completes_a_message_that_was_killed_at_any_call(at: int, before: bool, w: World) -> None:
    watched = WatchedStore(w.store, at, killed, before=before)
    try:
        handler(w, watched)(call_of())
    except Killed:
        assert handler(w)(call_of()) is None
    else:
        assert watched.calls < at
    assert w.job("fox").state is State.QUEUED
    assert w.redis.hlen("{b}:k:fox") == 1
    # When the job has ended
    w.store.jobs.cancel("fox")
    ((message),) = w.store.celery.get_parked("fox")
    finishes = call_of(request={"external_task_id": "fox"}, finishes=message.mark)
    watched = WatchedStore(w.store, at, killed, before=before)
    try:
        ending = handler(w, watched)(finishes)
    except Killed:
        # The message is owed until it is confirmed. It comes again when no worker can still process it.
        w.ahead(30)
        ending = handler(w)(finishes)
    assert ending is not None
    assert ending.first_delivery
    assert isinstance(ending.outcome, TaskRevokedError)
    handler(w).acknowledge(ending)
    assert w.store.celery.get_parked("fox") == []


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, MOST_CALLS))
def test_a_task_revoked_at_any_call_never_continues(at: int, before: bool, w: World) -> None:
    watched = WatchedStore(w.store, at, partial(w.store.celery.revoke, ["fox"]), before=before)
    ending = handler(w, watched)(call_of())
    if watched.calls < at:
        assert w.job("fox").state is State.QUEUED
        return
    (job,) = w.store.jobs.get_many(["fox"])
    assert job is None or job.state is State.CANCELLED
    # Either this message ends the task, or the message that the job's end sends
    assert isinstance(ending, Ending) == (job is None)
    if ending:
        handler(w).acknowledge(ending)
    again = handler(w)(call_of())
    assert again is None or isinstance(again.outcome, TaskRevokedError)


def test_an_invalid_message_ends_with_a_refusal(w: World) -> None:
    ending = handler(w)(call_of(request={"model": "x"}))
    assert isinstance(ending, Ending)
    assert isinstance(ending.outcome, GenerationRefused)
    assert w.store.jobs.get_many(["fox"]) == [None]


def test_the_message_that_finishes_a_forgotten_job_is_dropped(w: World) -> None:
    """A late copy, after the retention. It must not turn a success into a failure."""
    assert handler(w)(call_of(request={"external_task_id": "fox"}, finishes="0123456789abcdef")) is None


def test_a_job_refuses_more_than_100_tasks(w: World) -> None:
    for number in range(100):
        assert handler(w)(call_of(f"t-{number}", request={**REQUEST, "external_task_id": "fox"})) is None
    ending = handler(w)(call_of("one more", request={**REQUEST, "external_task_id": "fox"}))
    assert isinstance(ending, Ending)
    assert "100 Celery tasks" in str(ending.outcome)


def test_the_earlier_expiry_applies(w: World) -> None:
    handler(w)(call_of("a", request={**REQUEST, "expires_in": 60}, expires_in=600.0))
    handler(w)(call_of("b", request={**REQUEST, "expires_in": 600}, expires_in=60.0))
    w.ahead(61)
    for _ in range(2):
        w.round(1)
    assert {w.job(name).state for name in ("a", "b")} == {State.EXPIRED}


# --- the check of what follows ----------------------------------------------------------------------------------------


def with_check(w: World, missing: list[str]) -> GenerateHandler:
    return GenerateHandler(w.store, w.messages, w.images, lambda _: missing, allow_private_hosts=False)


def test_a_parked_message_is_not_refused_when_a_queue_is_missing_later(w: World) -> None:
    linked = partial(call_of, continuation=json.dumps({"task_id": "fox", "link": [{"task": "shop.paint"}]}))
    missing = ["shop.paint: the broker has no queue"]
    assert with_check(w, [])(linked()) is None
    # When the broker delivers the message again, while the link's queue is away
    assert with_check(w, missing)(linked()) is None
    # When it delivers it once more after the end of the job, it does not refuse it either
    w.store.jobs.cancel("fox")
    assert with_check(w, missing)(linked()) is None
    assert len(w.store.celery.get_parked("fox")) == 1
    # Then another message under the same id is still refused
    for other in (call_of(), linked("hare")):
        ending = with_check(w, missing)(other)
        assert isinstance(ending and ending.outcome, GenerationRefused)


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def test_a_repeat_of_what_is_nested_too_deep_calls_no_errback_again(w: World) -> None:
    args = "[" * 100_000 + "]" * 100_000
    continuation = f'{{"task_id": "fox", "link": [{{"task": "shop.paint", "args": {args}}}]}}'
    ending = with_check(w, [])(call_of(continuation=continuation))
    assert ending is not None
    assert isinstance(ending.outcome, GenerationRefused)
    assert w.store.jobs.get_many(["fox"]) == [None]
    handler(w).acknowledge(ending)
    again = with_check(w, [])(call_of(continuation=continuation))
    assert again
    assert not again.first_delivery


@pytest.mark.parametrize(
    "value", [uuid4(), Decimal("1.5"), datetime.now(UTC), b"x"], ids=lambda each: type(each).__name__
)
def test_a_request_with_a_value_of_a_type_that_json_lacks_names_its_field(value: Any, w: World) -> None:
    ending = handler(w)(call_of(request=REQUEST | {"prompt": value}))
    assert ending is not None
    assert isinstance(ending.outcome, GenerationRefused)
    assert str(ending.outcome).startswith("prompt: ")


#: Arguments as kombu decodes them from a message.
TYPED = [uuid4(), Decimal("1.50"), datetime.now(UTC), datetime.now(UTC).date(), b"\xff", {"in": [uuid4()]}]


def test_arguments_of_types_that_json_lacks_reach_the_link_unchanged(w: World) -> None:
    link = json.loads(json.dumps(w.app.signature("shop.paint", queue="shop"))) | {"args": TYPED}
    context = Context(id="fox", callbacks=[link], chain=[link])
    assert handler(w)(call_of(continuation=continuation_of(context))) is None
    assert handler(w)(call_of(continuation=continuation_of(context))) is None
    w.store.jobs.cancel("fox")
    ((message),) = w.store.celery.get_parked("fox")
    # When the service sends the message that finishes it
    w.messages.finish("fox", message, "celery")
    text = json.loads(w.redis.rpop("celery"))
    _, _, embed = loads(b64decode(text["body"]))
    assert [each["args"] for each in (*embed["callbacks"], *embed["chain"])] == [TYPED, TYPED]
    # Then it is the same message after that, too
    assert continuation_of(Context(id="fox", **embed)) == message.continuation
