"""Fuzz tests with mutated callbacks: no body causes a 500, and nothing changes without the right token."""

import json
import random
from collections import Counter
from collections.abc import Iterator

import pytest
import redis
from flask import Flask

from jobs.audit.audit import audit
from jobs.new_job import NewJob
from jobs.states import State
from jobs.store.store import Store
from schemas import BodyInvalid, TaskReport, callback_path, parse_json, read_callback

#: The shapes of the provider's contract, and others seen in practice.
SHAPES = (
    {
        "id": "t1",
        "status": "completed",
        "output": [{"content": [{"type": "image", "url": "https://cdn.example.com/1.png", "jobId": "j"}]}],
        "usage": {"cost": "0.0065", "discount": 1},
    },
    {"id": "t1", "status": "failed", "error": {"code": 2016001, "message": "prompt missing"}, "usage": {"cost": ""}},
    {"id": "t1", "status": "in_progress", "external_task_id": "fox", "created_at": 1722769557},
    {
        "task_id": "u1",
        "task_status": "succeed",
        "task_status_msg": "",
        "task_info": {"external_task_id": "fox"},
        "task_result": {"images": [{"index": 0, "url": "https://c.example.com/1"}]},
        "created_at": 1722769557708,
    },
    {"task_id": "u1", "task_status": "failed", "task_status_msg": "risk", "task_info": {"external_task_id": "fox"}},
    {
        "id": "9876543210",
        "status": "succeeded",
        "message": "",
        "external_id": "fox",
        "outputs": [{"type": "image", "url": "https://c.example.com/1", "watermark_url": ""}],
        "create_time": 1781080778802,
        "update_time": 1781080794151,
    },
    {"data": {"id": "t1", "status": "queued"}},
    {"code": 0, "message": "ok", "data": {"id": "t1", "status": "completed", "output": [], "usage": {"cost": 0.1}}},
)
CORPUS = tuple(json.dumps(shape, ensure_ascii=number % 2 == 0).encode() for number, shape in enumerate(SHAPES))
#: Fragments that break parsers.
TOKENS = (
    b"NaN", b"-Infinity", b"1e999", b"-0", b"1" * 5000, b"[" * 100, b'{"a":' * 100, b"null", b"true",
    b'""', b"[]", b"{}",
    b'"\\ud800"', b'"\\udc00\\ud800"', b"\xef\xbb\xbf", b"\xff\xfe", b"\xc0\xaf", b"\xed\xa0\x80", b"\x00", b"\\u0000",
    b'"status":"completed"', b'"data":{', b'"output":', b'"usage":{"cost":"1e-400"}', b'"cost":-1', b"2016001",
    b"\\", b'"',
    "\u2028\U0001f98a".encode(), b"9" * 40, b"0.1e-308", b'"__proto__":1', b"\r\n", b"}" * 50,
)  # fmt: skip


def mutated(rng: random.Random) -> Iterator[bytes]:
    """Yield bodies without end, each a few mutations away from a valid one or from a mixture of two."""
    while True:
        body = bytearray(rng.choice(CORPUS))
        for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 8))):
            at = rng.randrange(len(body) + 1)
            to = min(len(body), at + rng.choice((1, 2, 8, 40)))
            match rng.randrange(7):
                case 0:
                    body[at:to] = rng.randbytes(to - at)
                case 1:
                    del body[at:to]
                case 2:
                    body[at:at] = rng.choice(TOKENS)
                case 3:
                    body[at:to] = rng.choice(TOKENS)
                case 4:
                    body[at:at] = body[at:to]
                case 5:
                    other = rng.choice(CORPUS)
                    body[at:] = other[rng.randrange(len(other)) :]
                case _:
                    del body[at:]
        yield bytes(body)


def read(count: int) -> Counter[str]:
    """Read this many bodies and count the outcomes. Raise any error other than a refusal."""
    became: Counter[str] = Counter()
    for body, _ in zip(mutated(random.Random(count)), range(count), strict=False):
        try:
            report = read_callback(parse_json(body))
        except BodyInvalid:
            became["refused"] += 1
            continue
        assert report is None or isinstance(report, TaskReport)
        became["unreadable" if report is None else report.status] += 1
        # An accepted result can be stored and returned
        if report is not None:
            json.dumps([str(report.output), str(report.error), str(report.usage)]).encode()
    return became


def post(app: Flask, redis_url: str, secret: str, count: int) -> Counter[tuple[str, int]]:
    """Post this many bodies, each with its job's token and without it."""
    before = _contents(redis_url)
    client, statuses, rng = app.test_client(), Counter[tuple[str, int]](), random.Random(count)
    for body, number in zip(mutated(rng), range(count), strict=False):
        job_id = f"fox-{number % 10}"
        forged = callback_path(job_id, "an-unknown-secret")
        for path in (forged, forged[: rng.randrange(12, len(forged))]):
            statuses["stranger", client.post(path, data=body).status_code] += 1
    assert _contents(redis_url) == before
    for body, number in zip(mutated(rng), range(count), strict=False):
        path = callback_path(f"fox-{number % 10}", secret)
        statuses["provider", client.post(path, data=body).status_code] += 1
    return statuses


def _contents(redis_url: str) -> dict[bytes, bytes]:
    """Return everything in Redis except keys that expire."""
    with redis.Redis.from_url(redis_url) as client:
        return {name: client.dump(name) for name in client.scan_iter("*") if client.ttl(name) < 0}


def kept(app: Flask, store: Store, redis_url: str, secret: str, count: int) -> None:
    ids = [f"fox-{number}" for number in range(10)]
    store.jobs.enqueue([NewJob(id=job_id, text="{}", model="m") for job_id in ids])
    store.attempts.admit(10)
    for claim in store.attempts.claim(ids):
        assert store.attempts.mark_in_progress(claim.id, claim.fence, f"t-{claim.id}")

    statuses = post(app, redis_url, secret, count)

    # 411: the body was empty
    assert {status for who, status in statuses if who == "stranger"} == {403, 411}
    assert {status for who, status in statuses if who == "provider"} == {204}
    # Valid bodies with a valid token ended jobs, and the counters are correct
    assert {store.jobs.get(job_id).state for job_id in ids} <= {State.IN_PROGRESS, State.COMPLETED}
    assert State.COMPLETED in {store.jobs.get(job_id).state for job_id in ids}
    assert audit(store) == []


@pytest.mark.slow
def test_no_body_breaks_the_reader() -> None:
    became = read(20_000)
    assert {"refused", "unreadable", "completed", "failed", "running", "waiting", "unknown"} <= {*map(str, became)}


@pytest.mark.slow
def test_no_body_causes_a_500_or_a_change_without_a_token(
    app: Flask, store: Store, redis_url: str, secret: str
) -> None:
    kept(app, store, redis_url, secret, 1_000)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_a_million_bodies_are_read() -> None:
    became = read(1_000_000)
    assert sum(became.values()) == 1_000_000
    print(f"\na million mutated callbacks: {dict(became)}")  # noqa: T201 - a long run says what it did


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_requests(app: Flask, store: Store, redis_url: str, secret: str) -> None:
    kept(app, store, redis_url, secret, 35_000)
