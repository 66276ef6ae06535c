"""With any key damaged in any kind, every call answers, and audit, repair and reconcile complete."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st

from jobs.api_keys import PRODUCER, KeyRing
from jobs.audit.audit import examine
from jobs.audit.repair import repair
from jobs.errors import StoreUnavailable, WorkRefused
from jobs.images.backends import open_images
from jobs.job import Delivery
from jobs.new_job import BatchOptions, NewJob
from jobs.result import Result
from jobs.states import State
from jobs.store.redis_keys import Keys
from jobs.store.store import Store
from jobs.store.stuck import counted, dead_ends
from schemas.images import read_image
from tests.support.drawing import Draw
from tests.support.redis_copy import copy, put_back
from tests.support.webhook_server import AtProvider, CallBack
from webhook.settings import Settings
from worker.app import create_app
from worker.messages import Messages
from worker.reconcile import Reconciler
from worker.settings import Settings as WorkerSettings

P = "{b}:"
TEXT = '{"model":"kirin_image_omni","params":{"prompt":"a fox"}}'
ODD: list[Any] = [
    b"",
    b"x",
    b"nan",
    b"inf",
    b"-1",
    b"1.5",
    b"1e400",
    b"\xff\xfe",
    b"9" * 400,
    b"{",
    b"[]",
    b"null",
    b'{"a":',
    b"7",
]
CALLS = (
    *(("GET", f"/v1/jobs/{job}") for job in ("fox", "done", "doubt", "failed", "whole")),
    *(("POST", f"/v1/jobs/{job}/{verb}") for job in ("fox", "whole") for verb in ("pause", "resume")),
    ("GET", "/v1/jobs"),
    ("GET", "/v1/jobs?status=completed"),
    ("GET", "/v1/jobs?label=shop%3Dberlin"),
    ("GET", "/v1/jobs?batch=pack"),
    ("GET", "/v1/batches"),
    ("GET", "/v1/batches?status=running"),
    ("GET", "/v1/batches/pack"),
    ("GET", "/v1/batches/pack/results"),
    ("GET", "/v1/batches/pack/results?format=csv"),
    ("GET", "/v1/batches/pack/errors"),
    ("POST", "/v1/batches/pack/pause"),
    ("POST", "/v1/batches/pack/resume"),
    ("POST", "/v1/batches/pack/retry"),
    ("GET", "/v1/lanes"),
    ("GET", "/v1/spend"),
    ("GET", "/model/v1/generation/task/done"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("POST", "/v1/jobs/doubt/cancel"),
    ("POST", "/v1/jobs/failed/retry"),
    ("POST", "/v1/batches/pack/cancel"),
)


def populate(store: Store, settings: Settings, image: bytes) -> None:
    """Write a job in each state and every other kind of record."""
    images = open_images(store, settings)
    images.put(read_image(image))

    def job(job_id: str, **changes: Any) -> NewJob:
        return NewJob(id=job_id, text=TEXT, model="kirin_image_omni", **changes)

    batch = BatchOptions(labels={"season": "spring"})
    store.jobs.enqueue([job("one", labels={"shop": "berlin"}), job("two"), job("fox")], "pack", batch)
    store.jobs.enqueue([job("whole")], "other", batch)
    every = [*("done", "doubt", "failed", "sent", "expired", "owing"), "waits"]
    store.jobs.enqueue([job(each, labels={"shop": "berlin"}, owed=frozenset(Delivery)) for each in every])
    store.celery.park("waits", "celery-1", "{}")
    store.attempts.admit(100)
    claims = {claim.id: claim for claim in store.attempts.claim([*every[:-1], "two"])}
    for each in ("done", "sent", "expired", "owing", "two"):
        store.attempts.mark_in_progress(each, claims[each].fence, f"task-{each}")
    store.attempts.finish(
        "done", State.COMPLETED, Result(output=({"type": "image", "url": "https://x/1.png"},)), "callback"
    )
    store.attempts.finish("owing", State.COMPLETED, Result(output=()), "callback")
    store.attempts.finish("failed", State.FAILED, Result(error={"code": "1", "message": "no"}), "poll")
    store.attempts.mark_in_doubt("doubt", claims["doubt"].fence, "timed out")
    store.jobs.cancel("expired")
    for due in store.deliveries.claim(["owing"]):
        store.deliveries.give_up(due, Delivery.NOTIFY, "404")
    store.lanes.hold("busy", base=1, cap=2)
    store.uploads.stage("token", [job("staged")])
    KeyRing(store.context.client, store.context.keys).add("shop", PRODUCER)


@pytest.fixture
def world(store: Store, settings: Settings, redis_url: str, draw: Draw) -> Iterator[dict[bytes, bytes]]:
    """A backup of the populated store."""
    populate(store, settings, draw())
    with redis.Redis.from_url(redis_url) as bare:
        yield copy(bare, P + "*")


@pytest.fixture
def round_of_reconcile(store: Store, settings: Settings) -> Iterator[Callable[[], int]]:
    """Return a function that runs a round of reconcile without a provider."""
    given_ = WorkerSettings(
        redis_url=settings.redis_url, broker_url=settings.broker_url, result_url=settings.broker_url
    )
    app = create_app(given_)
    with ThreadPoolExecutor(2) as pool:
        yield Reconciler(store, {}, given_, pool, Messages(app), images=open_images(store, given_))
    app.close()


def damage(bare: redis.Redis, draw: Callable[[Any], Any], key: bytes) -> str:
    """Damage one key. Return how."""
    type_ = bare.type(key).decode()
    odd = draw(st.sampled_from(ODD))
    kind = str(draw(st.sampled_from(["type", "value", "more", "less"] if type_ == "hash" else ["type", "value"])))
    if kind == "type":
        bare.delete(key)
        type_ = draw(st.sampled_from([each for each in ("string", "list", "set", "hash") if each != type_]))
    if type_ == "hash" and kind in {"value", "less"}:
        field = draw(st.sampled_from(sorted(bare.hkeys(key))))
        if kind == "value":
            bare.hset(key, field, odd)
        else:
            bare.hdel(key, field)
        return kind
    score = draw(st.sampled_from([0, -1, "inf", 1e300]))
    member = draw(st.sampled_from([*bare.zrange(key, 0, -1), odd])) if type_ == "zset" else odd
    commands: dict[str, tuple[Any, ...]] = {
        "string": ("SET", key, odd),
        "list": ("RPUSH", key, odd),
        "set": ("SADD", key, odd),
        "hash": ("HSET", key, odd, odd),
        "zset": ("ZADD", key, score, member),
        "stream": ("XADD", key, "*", "x", odd),
    }
    bare.execute_command(*commands[type_])
    return kind


@pytest.mark.slow
@given(data=st.data())
@how(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_call_answers_whatever_key_is_damaged(  # noqa: PLR0917 - fixtures
    data: st.DataObject,
    client: FlaskClient,
    store: Store,
    world: dict[bytes, bytes],
    redis_url: str,
    round_of_reconcile: Callable[[], int],
    call_back: CallBack,
    completed: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Damage one to three keys. Hypothesis stores the example of a failure."""
    with redis.Redis.from_url(redis_url) as bare:
        put_back(bare, world)
        kinds = {}
        for key in data.draw(st.lists(st.sampled_from(sorted(world)), min_size=1, max_size=3, unique=True)):
            kinds[key] = damage(bare, data.draw, key)
        found = examine(store)
        if "type" in kinds.values():
            assert any(each.rule == "damaged" for each in found.findings)
        whole = {key: bare.dump(key) for key in world if key.startswith(b"{b}:j:")}
        repair_or_refusal(store, kinds)
        assert {key for key in whole if bare.exists(key)} == {key for key, value in whole.items() if value}
        for method, path in CALLS:
            answer = client.open(path, method=method)
            assert answer.status_code != 500, (method, path, kinds, caplog.text[-3000:])
            answer.get_data()
        for job_id in ("sent", "fox", "two", "doubt"):
            assert call_back(job_id, {**completed, "external_task_id": job_id}).status_code in {204, 503}
        if bare.type(P + "alarms") == b"zset":
            bare.zadd(P + "alarms", dict.fromkeys(bare.zrange(P + "alarms", 0, -1), 0), xx=True)
        try:
            round_of_reconcile()
            counted(store, ())
            list(dead_ends(store))
        except StoreUnavailable as error:
            assert names_damage(error, kinds)  # noqa: PT017 - a refusal that says so is an answer
        examine(store)


def repair_or_refusal(store: Store, kinds: dict[bytes, str]) -> None:
    """Assert that a repair completes or refuses with the damage's name."""
    try:
        repair(store)
    except StoreUnavailable as error:
        assert names_damage(error, kinds)  # noqa: PT017 - as above


def names_damage(error: StoreUnavailable, kinds: dict[bytes, str]) -> bool:
    """Return whether the error names the damage, or refuses work because the installation's record is damaged."""
    return "damaged" in str(error) or (isinstance(error, WorkRefused) and Keys().singleton("epoch").encode() in kinds)


@pytest.mark.parametrize(
    "command",
    [
        ("HDEL", P + "j:sent", "s"),
        ("HSET", P + "j:sent", "c", "never"),
        ("HSET", P + "j:sent", "a", "x"),
        ("HSET", P + "j:sent", "r", b"\xff"),
    ],
    ids=lambda command: f"{command[0]} {command[2]}",
)
def test_a_callback_for_a_damaged_job_is_503_and_the_log_names_it(  # noqa: PLR0917 - fixtures
    client: FlaskClient,
    raw: redis.Redis,
    at_provider: AtProvider,
    call_back: CallBack,
    completed: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    command: tuple[Any, ...],
) -> None:
    at_provider("sent")
    at_provider("whole")
    raw.execute_command(*command)
    for answer in (call_back("sent", completed), client.get("/v1/jobs/sent"), client.post("/v1/jobs/sent/cancel")):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "job sent" in caplog.text
    listed = client.get("/v1/jobs").json["jobs"]
    assert [job["id"] for job in listed] == ["whole"]
    assert call_back("whole", completed).status_code == 204


def test_a_damaged_key_gets_503_and_the_others_work(client: FlaskClient, store: Store, raw: redis.Redis) -> None:
    ring = KeyRing(store.context.client, store.context.keys)
    (broken, secret), (_, other) = ring.add("shop", PRODUCER), ring.add("shop", PRODUCER)
    raw.hset(Keys().access, broken.id, json.dumps({"name": "shop"}))
    codes = [
        client.get("/v1/jobs", headers={"Authorization": f"Bearer {each}"}).status_code for each in (secret, other)
    ]
    assert codes == [503, 200]
    assert [key.name for key in ring.all()] == ["shop"]
    assert f"key {broken.id}" in {each.id for each in examine(store).findings}
