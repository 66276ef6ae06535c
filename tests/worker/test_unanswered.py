"""A provider that answers other calls, but not about one job: the job ends. In an outage, no job does."""

import json
import socket
from collections.abc import Iterator
from decimal import Decimal

import pytest

from jobs.states import State
from jobs.store.stuck import Kind, dead_ends
from tests.support.raw_server import Answer, RawServer, close, reset, respond
from tests.support.world import MakeWorld, World
from worker.answers import ANSWER_PATIENCE
from worker.provider.client import UNUSED_ID

DEADLINE = 3600.0
CREATED = respond(200, b'{"id": "t1", "status": "in_progress"}')
RUNNING = CREATED
ABSENT = respond(404, b"{}")
DOWN = respond(503, b"")
DONE = respond(
    200,
    json.dumps(
        {
            "id": "t1",
            "status": "completed",
            "output": [{"content": [{"type": "image", "url": "https://cdn.example.com/1.png"}]}],
            "usage": {"cost": "0.0065"},
        }
    ).encode(),
)
#: Each answer that says nothing about a task, and could be an outage, or a problem of the account.
NO_ANSWER: dict[str, Answer] = {
    **{str(status): respond(status, b"no") for status in (408, 429, 500, 501, 502, 503, 504, 529, 599)},
    **{f"{status} of the account": respond(status, b"{}") for status in (401, 402, 403)},
    "429 for long": respond(429, b"", "Retry-After: 86400"),
    "a connection that closes": close,
    "a connection that is reset": reset,
    "silence": lambda _: None,
    "half of the headers": lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "no HTTP": lambda c: c.sendall(b"\0\x01\x02\r\n\r\n"),
}


class Provider(RawServer):
    """Answers a GET by the task's id, with `default` for others, among them the probe's."""

    def __init__(self) -> None:
        self.submit: Answer = CREATED
        self.by_id: dict[str, Answer] = {}
        self.default: Answer = ABSENT
        super().__init__(self._next)

    def _next(self, connection: socket.socket) -> bool | None:
        method, path, *_ = self.requests[-1]
        if method == "POST":
            return self.submit(connection)
        return self.by_id.get(path.rpartition("/")[2], self.default)(connection)

    def count(self, name: str) -> int:
        return sum(path.endswith(f"/{name}") for _, path, *_ in self.requests)

    @property
    def posts(self) -> int:
        return sum(method == "POST" for method, *_ in self.requests)


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def w(provider: Provider, world: MakeWorld) -> World:
    return world(provider.url, deadline=DEADLINE, connect_timeout=0.1, read_timeout=0.1)


def rounds(w: World, seconds: float, step: float = 60.0) -> None:
    """Run rounds for so many seconds, often enough that a job is polled in each."""
    for _ in range(round(seconds / step)):
        w.round(step)


@pytest.mark.slow
@pytest.mark.parametrize("answer", NO_ANSWER.values(), ids=NO_ANSWER)
def test_a_job_without_an_answer_ends_although_it_is_alone(answer: Answer, w: World, provider: Provider) -> None:
    provider.by_id = {"job-1": answer, "t1": answer}
    w.start()
    w.round(DEADLINE - 1)
    assert w.job().state is State.IN_PROGRESS
    w.round(60)
    rounds(w, ANSWER_PATIENCE - 240, 120)
    assert w.job().state is State.IN_PROGRESS  # part of the provider may be away for a while
    assert [(end.kind, end.id) for end in dead_ends(w.store)] == [(Kind.UNREADABLE, "job-1")]
    rounds(w, 360, 120)
    job = w.job()
    assert (job.state, job.settled_by, w.lane_counters()[0]) == (State.EXPIRED, "deadline", 1)
    rounds(w, DEADLINE + ANSWER_PATIENCE + 600, 300)
    assert (w.job().state, w.lane_counters()[0], w.redis.zcard("{b}:alarms")) == (State.EXPIRED, 0, 0)
    assert list(dead_ends(w.store)) == []
    assert provider.posts == 1


@pytest.mark.slow
@pytest.mark.parametrize("answer", NO_ANSWER.values(), ids=NO_ANSWER)
def test_an_outage_ends_no_job_however_long_it_takes(answer: Answer, w: World, provider: Provider) -> None:
    w.start()
    provider.default = answer
    for _ in range(30):
        w.round(DEADLINE)
    assert (w.job().state, w.lane_counters()[0]) == (State.IN_PROGRESS, 1)
    provider.default = DONE
    for _ in range(3):
        w.round(300)
    assert (w.job().state, w.lane_counters()) == (State.COMPLETED, (0, 0, Decimal("0.0065")))


def test_after_an_outage_one_more_answer_counts(w: World, provider: Provider) -> None:
    w.start()
    provider.default = DOWN
    rounds(w, DEADLINE + 2 * ANSWER_PATIENCE)
    provider.default, provider.by_id = ABSENT, {"job-1": RUNNING}
    rounds(w, 120)
    assert w.job().state is State.EXPIRED


def test_the_patience_starts_after_an_outage(w: World, provider: Provider) -> None:
    provider.by_id = {"job-1": DOWN, "t1": DOWN}
    w.start()
    w.round(DEADLINE)
    rounds(w, ANSWER_PATIENCE - 120)
    provider.default = DOWN
    rounds(w, 2 * ANSWER_PATIENCE)
    assert w.job().state is State.IN_PROGRESS
    provider.default = ABSENT
    rounds(w, ANSWER_PATIENCE - 120)
    assert w.job().state is State.IN_PROGRESS
    rounds(w, 300)
    assert w.job().state is State.EXPIRED


def test_an_answer_in_between_starts_the_patience_anew(w: World, provider: Provider) -> None:
    provider.by_id = {"job-1": NO_ANSWER["403 of the account"], "t1": NO_ANSWER["403 of the account"]}
    w.start()
    w.round(DEADLINE - 900)
    assert w.job().unanswered_since
    provider.by_id = {"job-1": RUNNING}
    w.round(60)
    assert (w.job().unanswered_since, w.job().unreadable_since) == (None, None)


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refusal_about_one_task_holds_no_lane(status: int, w: World, provider: Provider) -> None:
    provider.by_id = dict.fromkeys(["job-1", "t1"], respond(status, b"{}"))
    w.start()
    w.round(40)
    assert w.held_for() <= 0
    assert [(end.kind, end.id) for end in dead_ends(w.store)] == [(Kind.UNREADABLE, "job-1")]
    w.start("job-2")
    assert w.job("job-2").state is State.IN_PROGRESS


def test_a_refusal_of_the_account_holds_the_lane(w: World, provider: Provider) -> None:
    provider.default = NO_ANSWER["403 of the account"]
    w.start()
    w.round(40)
    assert w.held_for() > 0


def test_a_refusal_of_the_account_holds_the_lane_soon_after_an_answer(w: World, provider: Provider) -> None:
    w.start()
    provider.by_id = {"job-1": RUNNING}
    w.round(40)
    provider.by_id = {}
    provider.default = NO_ANSWER["401 of the account"]
    w.round(40)
    assert w.held_for() > 0
    assert list(dead_ends(w.store)) == []


def test_answers_about_other_jobs_replace_the_probe(w: World, provider: Provider) -> None:
    # Given a provider that does not know of tasks that do not exist: it answers the probe with 500
    provider.default = DOWN
    provider.by_id = {"job-1": DOWN, "job-2": RUNNING}
    w.start("job-1")
    w.round(DEADLINE)
    w.redis.hdel("{b}:lane:default", "bad")
    w.start("job-2")
    rounds(w, ANSWER_PATIENCE + 120, 30)
    assert w.job("job-1").state is State.EXPIRED
    assert w.job("job-2").state is State.IN_PROGRESS


def test_many_late_jobs_share_a_probe(w: World, provider: Provider) -> None:
    ids = [f"job-{n}" for n in range(8)]
    provider.by_id = dict.fromkeys([*ids, "t1"], NO_ANSWER["429"])
    w.start(*ids)
    w.round(DEADLINE)
    assert provider.count(UNUSED_ID) == 1


def test_a_late_job_is_asked_for_by_the_providers_id(w: World, provider: Provider) -> None:
    provider.by_id = {"job-1": DOWN, "t1": DONE}
    w.start()
    w.round(DEADLINE)
    assert w.job().state is State.COMPLETED


@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize(
    "answer", [NO_ANSWER[name] for name in ("500", "429", "401 of the account", "a connection that is reset")]
)
def test_a_job_in_doubt_whose_look_ups_get_no_answer_ends(
    answer: Answer, cancelled: bool, w: World, provider: Provider
) -> None:
    provider.submit = respond(504, b"")
    provider.by_id = {"job-1": answer}
    w.start()
    if cancelled:
        w.store.jobs.cancel("job-1")
    w.round(DEADLINE - 120)
    assert w.job().at_provider is State.IN_DOUBT
    rounds(w, 2 * ANSWER_PATIENCE, 120)
    assert w.job().state is (State.CANCELLED if cancelled else State.EXPIRED)
    rounds(w, DEADLINE + ANSWER_PATIENCE + 600, 300)
    assert (w.lane_counters()[0], w.redis.zcard("{b}:alarms"), provider.posts) == (0, 0, 1)


def test_in_an_outage_a_job_in_doubt_stays_in_doubt(w: World, provider: Provider) -> None:
    provider.submit = respond(504, b"")
    provider.default = DOWN
    w.start()
    rounds(w, 2 * DEADLINE, 300)
    assert (w.job().state, w.lane_counters()[0]) == (State.IN_DOUBT, 1)


@pytest.mark.parametrize("lookup_path", ["/model/v1/generation/task/{id}", None])
def test_an_outage_ends_although_the_provider_answers_no_probe(
    lookup_path: str | None, world: MakeWorld, provider: Provider
) -> None:
    # Given a provider that answers with 500 if there is no task
    provider.default = respond(500, b"")
    provider.by_id = {"job-1": RUNNING, "t1": RUNNING}
    w = world(provider.url, deadline=DEADLINE, connect_timeout=0.1, read_timeout=0.1, lookup_path=lookup_path)
    w.start()
    w.round(40)
    # When it was away
    provider.by_id = {}
    rounds(w, 300, 30)
    assert w.redis.hexists("{b}:lane:default", "open")
    provider.by_id = {"job-1": DONE, "t1": DONE}
    rounds(w, 120, 30)
    # Then its lane opens again
    assert not w.redis.hexists("{b}:lane:default", "open")
    assert w.job().state is State.COMPLETED
