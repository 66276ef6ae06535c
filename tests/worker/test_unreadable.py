"""Whatever the provider answers about a job, the job ends, its slots become free, and other jobs go on."""

import gzip
import json
import logging
import socket
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from jobs.errors import StoreUnavailable
from jobs.policy import MOST_SUBMIT_TRIES
from jobs.states import State
from jobs.store.manual import Verdict
from jobs.store.stuck import Kind, counted, dead_ends
from tests.support.raw_server import Answer, RawServer, respond
from tests.support.world import MakeWorld, World

PRICE = Decimal("0.0065")
URL = "https://cdn.example.com/1.png"
CREATED = respond(200, b'{"id": "t1", "status": "in_progress"}')
RUNNING = respond(200, b'{"id": "t1", "status": "in_progress"}')
ABSENT = respond(404, b"{}")
DEADLINE = 3600.0


def _task(**more: Any) -> dict[str, Any]:
    output = [{"content": [{"type": "image", "url": URL}]}]
    return {"id": "t1", "status": "completed", "output": output, "usage": {"cost": str(PRICE)}, **more}


def _json(task: dict[str, Any]) -> Answer:
    return respond(200, json.dumps(task).encode())


class Provider(RawServer):
    """Gives `submit` to each POST, and to each GET the next of `polls`; the last one is repeated."""

    def __init__(self) -> None:
        self.submit: Answer = CREATED
        self.polls: list[Answer] = [RUNNING]
        super().__init__(self._next)

    def _next(self, connection: socket.socket) -> bool | None:
        if self.requests[-1][0] == "POST":
            return self.submit(connection)
        return (self.polls.pop(0) if len(self.polls) > 1 else self.polls[0])(connection)

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
    # World is closed first, so that the server does not wait for its connections.
    return world(provider.url, deadline=DEADLINE, read_timeout=0.5)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"

UNREADABLE: dict[str, Answer] = {
    "HTML": respond(200, b"<!doctype html><h1>please wait</h1>"),
    "nothing": respond(200, b""),
    "204": respond(204, b""),
    "text": respond(200, b"OK"),
    "a list": respond(200, b"[1, 2]"),
    "null": respond(200, b"null"),
    "no status": respond(200, b'{"id": "t1"}'),
    "another task": respond(200, json.dumps(_task(external_task_id="other")).encode()),
    "cut off before the price": respond(200, json.dumps(_task()).encode()[:-20]),
    "broken off": lambda c: (c.sendall(HEAD + json.dumps(_task()).encode()[:40]), True)[1],
    "never ending": lambda c: c.sendall(HEAD + b'{"id": '),
    "over 4 MiB, metadata first": respond(200, b'{"metadata": "' + b"x" * 5_000_000 + b'", "status": "completed"}'),
    "br": respond(200, b"\x8b\x08\x80{}\x03", "Content-Encoding: br"),
    "gzip that is none": respond(200, b"\x1f\x8bnonsense", "Content-Encoding: gzip"),
    "a gzip bomb": respond(200, gzip.compress(b" " * 30_000_000), "Content-Encoding: gzip"),
    "nesting": respond(200, b"[" * 30_000),
    "120 headers": respond(200, b"{}", *["X: y"] * 120),
    "a redirect": respond(302, b"", "Location: /login"),
    "400": respond(400, b'{"error": {"code": "1201", "message": "no"}}'),
}

READABLE: dict[str, bytes] = {
    "half a surrogate pair": json.dumps(_task(metadata={"prompt": "a boat \ud83d"})).encode(),
    "NaN": json.dumps(_task(metadata={"score": float("nan")})).encode(),
    "a raw newline": json.dumps(_task(metadata="a\nb")).replace("\\n", "\n").encode(),
    "a key twice": json.dumps(_task()).encode()[:-1] + b', "status": "completed", "usage": null}',
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps(_task()).encode(),
    "Latin-1": json.dumps(_task(metadata="caf\xe9"), ensure_ascii=False).encode("latin-1"),
    "UTF-16": json.dumps(_task()).encode("utf-16"),
    "deep nesting": json.dumps(_task()).encode()[:-1] + b', "metadata": ' + b"[" * 9000 + b"]" * 9000 + b"}",
    "over 4 MiB": json.dumps(_task(metadata="x" * 5_000_000)).encode(),
    "6,000 digits": json.dumps(_task()).encode()[:-1] + b', "seed": ' + b"9" * 6000 + b"}",
    "gzip": gzip.compress(json.dumps(_task()).encode()),
}


@pytest.mark.parametrize("body", READABLE.values(), ids=READABLE)
def test_an_odd_answer_completes_the_job(body: bytes, w: World, provider: Provider) -> None:
    provider.polls = [respond(200, body)]
    w.start()
    job = w.settle()
    assert (job.state, job.result.cost, job.result.output[0]["url"]) == (State.COMPLETED, PRICE, URL)
    assert w.lane_counters() == (0, 0, PRICE)


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_job_expires_and_frees_its_slots(answer: Answer, w: World, provider: Provider) -> None:
    provider.polls = [answer]
    w.start()
    w.round(40)
    assert w.job().state is State.IN_PROGRESS
    (end,) = dead_ends(w.store)
    assert (end.kind, end.id) == (Kind.UNREADABLE, "job-1")
    assert end.why.startswith("poll: ")
    assert "settle job-1 --failed" in end.do
    w.round(DEADLINE)
    job = w.job()
    assert (job.state, job.settled_by, w.lane_counters()[0]) == (State.EXPIRED, "deadline", 1)
    assert "the provider" in job.reason.partition("(")[2]
    for _ in range(2):  # for as long again, a late result is looked up
        w.round(DEADLINE)
    assert w.lane_counters()[:2] == (0, 0)
    assert list(dead_ends(w.store)) == []
    assert w.redis.zcard("{b}:alarms") == 0
    assert provider.posts == 1


def test_a_late_readable_answer_completes_an_expired_job(w: World, provider: Provider) -> None:
    provider.polls = [UNREADABLE["HTML"]]
    w.start()
    w.round(DEADLINE + 1)
    assert w.job().state is State.EXPIRED
    provider.polls = [_json(_task())]
    w.round(40)
    assert (w.job().state, w.lane_counters()) == (State.COMPLETED, (0, 0, PRICE))


@pytest.mark.parametrize("then", [RUNNING, _json(_task())], ids=["running", "completed"])
def test_a_readable_answer_ends_the_trouble(then: Answer, w: World, provider: Provider) -> None:
    provider.polls = [UNREADABLE["HTML"], then]
    w.start()
    w.round(40)
    assert counted(w.store, ())[Kind.UNREADABLE] == 1
    w.round(40)
    assert w.job().unreadable_since is None
    assert list(dead_ends(w.store)) == []


def test_an_unreadable_answer_is_logged_once_and_counted_each_time(
    w: World, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    secret = w.settings.provider_key or ""
    provider.polls = [respond(200, f"<h1>\x1b[31m {secret} {'x' * 9000}".encode())]
    w.start()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            w.round(40)
    (line,) = [each.getMessage() for each in caplog.records if "begins with" in each.getMessage()]
    assert line.startswith("job job-1: ")
    assert line.isprintable()
    assert secret not in line
    assert len(line) < 500
    assert w.store.statistics.totals().unreadable == 3


def test_a_job_whose_answers_are_all_unreadable_is_logged_once(
    w: World, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.submit = provider.polls[0] = UNREADABLE["HTML"]
    with caplog.at_level(logging.WARNING):
        w.start()
        for _ in range(4):
            w.round(DEADLINE)
    assert w.job().state is State.EXPIRED
    assert sum("begins with" in each.getMessage() for each in caplog.records) == 1


def test_an_unreadable_job_does_not_stop_its_lane(w: World, provider: Provider) -> None:
    provider.polls = [UNREADABLE["broken off"]]
    w.start()
    for _ in range(10):
        w.round(40)
    assert w.redis.hmget("{b}:lane:default", "open", "bad") == [None, None]
    w.start("job-2")
    assert w.job("job-2").state is State.IN_PROGRESS


def test_silence_still_suspends_the_deadline_but_is_listed(w: World, provider: Provider) -> None:
    provider.polls = [respond(500, b"")]
    w.start()
    w.round(40)
    assert list(dead_ends(w.store)) == []
    w.round(DEADLINE)
    assert w.job().state is State.IN_PROGRESS
    assert [(end.kind, end.id) for end in dead_ends(w.store)] == [(Kind.UNREADABLE, "job-1")]
    provider.polls = [_json(_task())]
    assert w.settle().state is State.COMPLETED


@pytest.mark.parametrize(
    "answer", [respond(201, b"<h1>created"), *(UNREADABLE[name] for name in ("HTML", "204", "a list", "br"))]
)
def test_an_unreadable_submission_is_looked_up_and_not_sent_again(answer: Answer, w: World, provider: Provider) -> None:
    provider.submit = answer
    provider.polls = [_json(_task())]
    w.start()
    assert w.job().state is State.IN_DOUBT
    assert w.settle().state is State.COMPLETED
    assert (provider.posts, w.lane_counters()) == (1, (0, 0, PRICE))


def test_an_unreadable_submission_that_created_nothing_is_sent_again(w: World, provider: Provider) -> None:
    provider.submit = UNREADABLE["HTML"]
    provider.polls = [ABSENT]
    w.start()
    for _ in range(3):
        w.ahead(15)
        w.reconciler()
    provider.submit = CREATED
    provider.polls = [_json(_task())]
    w.run_submits()
    assert w.settle().state is State.COMPLETED
    assert provider.posts == 2


@pytest.mark.parametrize(
    "answer", [respond(204, b""), *(UNREADABLE[name] for name in ("HTML", "nothing", "a list", "a gzip bomb"))]
)
@pytest.mark.slow
def test_unreadable_submissions_that_create_nothing_end(answer: Answer, w: World, provider: Provider) -> None:
    provider.submit = answer
    provider.polls = [ABSENT]
    w.start()
    waits = []
    for _ in range(60):
        w.round(15)
        if w.job().state is State.QUEUED:
            waits.append(w.alarm_in() or 0.0)
    job = w.job()
    assert (job.state, job.attempt, job.result.error["code"]) == (State.FAILED, 1, "unreadable_answer")
    assert "cannot be read" in job.result.error["message"]
    assert provider.posts == MOST_SUBMIT_TRIES
    assert max(waits) > 15
    assert (w.lane_counters()[:2], w.redis.zcard("{b}:alarms")) == ((0, 0), 0)


def test_the_last_unreadable_submission_is_looked_up_before_the_job_fails(w: World, provider: Provider) -> None:
    provider.submit = UNREADABLE["HTML"]
    provider.polls = [ABSENT]
    w.start()
    for _ in range(60):
        w.round(15)
        if provider.posts == MOST_SUBMIT_TRIES:
            break
    provider.polls = [_json(_task())]
    assert w.settle().state is State.COMPLETED
    assert (provider.posts, w.lane_counters()) == (MOST_SUBMIT_TRIES, (0, 0, PRICE))


def test_a_job_in_doubt_whose_look_ups_cannot_be_read_ends(w: World, provider: Provider) -> None:
    provider.submit = provider.polls[0] = UNREADABLE["HTML"]
    w.start()
    w.round(15)
    assert w.job().state is State.IN_DOUBT
    assert [(end.kind, end.id) for end in dead_ends(w.store)] == [(Kind.UNREADABLE, "job-1")]
    w.round(DEADLINE)
    for _ in range(2):
        w.round(40)
    assert w.job().state is State.EXPIRED
    for _ in range(2):
        w.round(DEADLINE)
    assert (w.lane_counters()[0], w.redis.zcard("{b}:alarms"), provider.posts) == (0, 0, 1)


@pytest.mark.parametrize("doubtful", [False, True])
def test_a_cancelled_job_whose_polls_cannot_be_read_frees_its_slots(
    doubtful: bool, w: World, provider: Provider
) -> None:
    provider.polls = [UNREADABLE["HTML"]]
    if doubtful:
        provider.submit = UNREADABLE["HTML"]
    w.start()
    w.store.jobs.cancel("job-1")
    for _ in range(4):
        w.round(DEADLINE)
    assert (w.job().state, w.lane_counters()[0], w.redis.zcard("{b}:alarms")) == (State.CANCELLED, 0, 0)


def test_a_later_attempt_that_cannot_be_read_expires_too(w: World, provider: Provider) -> None:
    failed = {"id": "t1", "status": "failed", "error": {"code": "002016095"}, "usage": {"cost": "0.001"}}
    provider.polls = [_json(failed), UNREADABLE["HTML"]]
    w.start()
    w.round(40)
    w.round(5)
    assert (w.job().attempt, w.job().state) == (2, State.IN_PROGRESS)
    w.round(DEADLINE + 1)
    assert (w.job().state, w.job().attempt) == (State.EXPIRED, 2)
    assert w.lane_counters()[2] == Decimal("0.001")


def test_a_person_gives_an_unreadable_job_up(w: World, provider: Provider) -> None:
    provider.polls = [UNREADABLE["HTML"]]
    w.start()
    w.round(40)
    assert w.store.manual.settle(w.job(), Verdict.NOT_SENT).outcome == "other"  # the provider has it
    before = w.job()
    assert w.store.manual.settle(before, Verdict.FAILED, by="alice").outcome == "settled"
    assert w.store.manual.settle(before, Verdict.FAILED, by="alice").outcome == "other"
    job = w.job()
    assert (job.state, job.settled_by, w.lane_counters()[0]) == (State.FAILED, "hand", 0)
    assert list(dead_ends(w.store)) == []


# --- errors of our own ------------------------------------------------------------------------------------------------

ERRORS = [RuntimeError("no"), ValueError("[::1"), UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "no"), MemoryError()]


def _failing(w: World, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(w.provider, "find_by_external_id", fail)
    monkeypatch.setattr(w.provider, "get_status", fail)


@pytest.mark.parametrize("doubtful", [False, True])
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_an_error_that_recurs_does_not_suspend_the_deadline(
    error: Exception, doubtful: bool, w: World, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    if doubtful:
        provider.submit = UNREADABLE["HTML"]
    w.start()
    _failing(w, error, monkeypatch)
    w.round(40)
    assert w.job().state is (State.IN_DOUBT if doubtful else State.IN_PROGRESS)
    assert [(end.kind, end.id) for end in dead_ends(w.store)] == [(Kind.UNREADABLE, "job-1")]
    w.round(DEADLINE)
    for _ in range(2):
        w.round(40)
    assert w.job().state is State.EXPIRED
    for _ in range(2):
        w.round(DEADLINE)
    assert (w.lane_counters()[0], w.redis.zcard("{b}:alarms"), provider.posts) == (0, 0, 1)


def test_a_job_goes_on_after_an_error(w: World, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    w.start()
    with monkeypatch.context() as patch:
        _failing(w, RuntimeError(), patch)
        w.round(40)
    provider.polls = [_json(_task())]
    assert w.settle().state is State.COMPLETED


def test_an_error_of_redis_expires_no_job(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    w.start()
    _failing(w, StoreUnavailable("Redis does not answer"), monkeypatch)
    w.round(DEADLINE + 1)
    assert (w.job().state, w.job().unreadable_since) == (State.IN_PROGRESS, None)


# --- completed without a result -------------------------------------------------------------------------------------

EMPTY: dict[str, dict[str, Any]] = {
    "an empty list": {"output": []},
    "none": {"output": None},
    "a URL that is a list": {"output": [{"content": [{"url": [URL]}]}]},
    "a URL that is a script": {"output": [{"content": [{"url": "javascript:alert(1)"}]}]},
    "an error beside it": {"output": [], "error": {"code": "002016095", "message": "internal"}},
}


@pytest.mark.parametrize("more", EMPTY.values(), ids=EMPTY)
def test_completed_without_a_result_fails_with_its_cost(more: dict[str, Any], w: World, provider: Provider) -> None:
    provider.polls = [_json(_task(**more))]
    w.start()
    w.round(40)
    w.round(60)
    assert w.job().state is State.IN_PROGRESS  # a result may still come
    w.round(300)
    job = w.job()
    assert (job.state, job.attempt, job.result.cost) == (State.FAILED, 1, PRICE)
    assert job.result.error["code"] == "no_output"
    assert "javascript" not in str(job)
    # It was paid for, so no other attempt is bought
    w.round(40)
    assert (provider.posts, w.lane_counters(), w.redis.zcard("{b}:alarms")) == (1, (0, 0, PRICE), 0)


def test_the_cost_of_the_last_answer_counts(w: World, provider: Provider) -> None:
    provider.polls = [_json(_task(output=[], usage={"cost": cost})) for cost in ("0.001", "0.002")]
    w.start()
    for _ in range(2):
        w.round(300)
    assert (w.job().state, w.lane_counters()[2]) == (State.FAILED, Decimal("0.002"))


def test_a_result_that_comes_after_the_status_completes_the_job(w: World, provider: Provider) -> None:
    provider.polls = [*[_json(_task(output=[]))] * 5, _json(_task())]
    w.start()
    assert w.settle(seconds=40).state is State.COMPLETED


def test_past_its_deadline_a_job_without_a_result_fails_at_once(w: World, provider: Provider) -> None:
    provider.polls = [_json(_task(output=[]))]
    w.start()
    w.round(DEADLINE + 1)
    assert (w.job().state, w.lane_counters()) == (State.FAILED, (0, 0, PRICE))


def test_a_cancelled_job_without_a_result_keeps_its_cost(w: World, provider: Provider) -> None:
    provider.polls = [_json(_task(output=[]))]
    w.start()
    w.store.jobs.cancel("job-1")
    for _ in range(2):
        w.round(300)
    assert (w.job().state, w.lane_counters()) == (State.CANCELLED, (0, 0, PRICE))


# --- too many results -----------------------------------------------------------------------------------------------


def test_results_beyond_what_was_asked_for_are_left_out(w: World, provider: Provider) -> None:
    content = [{"url": f"{URL}?{n}"} for n in range(5)]
    provider.polls = [_json(_task(output=[{"content": content}]))]
    w.start()
    result = w.settle().result
    assert [each["url"] for each in result.output] == [f"{URL}?0"]
    assert [each["code"] for each in result.warnings] == ["left_out"]
