"""Back-pressure: when the service refuses more jobs, and what it answers."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry, Counter

from jobs.audit.audit import audit
from jobs.key_limits import KeyLimits
from jobs.new_job import NewJob
from jobs.store.memory import Memory
from jobs.store.statistics import Held
from jobs.store.store import Store
from schemas.views.provider_compat import TaskRefused
from tests.support.hints import one_hint
from tests.support.producers import own
from tests.support.webhook_server import Messages
from webhook.app import create_app
from webhook.backpressure import MAX_AGE, MAX_AGE_BYTES, Backpressure, Usage
from webhook.settings import Settings

MB = 1024 * 1024


@dataclass
class Readings:
    """A memory reading and a clock that the test sets. It counts the readings."""

    memory_now: Memory | None = None
    held: Held = field(default_factory=lambda: Held({}, {}))
    names: tuple[str, ...] = ()
    now: float = 100.0
    count: int = 0
    turned_away: Counter = field(default_factory=lambda: Counter("away", "…", ["reason"], registry=CollectorRegistry()))

    def usage(self) -> Usage:
        self.count += 1
        return Usage(self.memory_now, self.held)

    def pressure(self, **settings: Any) -> Backpressure:
        configured = Settings(**settings)
        return Backpressure(
            self.usage,
            configured,
            self.turned_away,
            names=lambda: self.names,
            key_limits=lambda: configured.key_limits,
            clock=lambda: self.now,
        )


@pytest.mark.parametrize(
    ("settings", "memory", "limit"),
    [
        pytest.param({}, Memory(84 * MB, 100 * MB), None, id="below the share"),
        pytest.param({}, Memory(85 * MB, 100 * MB), 0, id="the share is used"),
        pytest.param({}, Memory(85 * MB, 0), None, id="a Redis without a limit"),
        pytest.param({}, None, None, id="a Redis that does not report its memory"),
        pytest.param({"max_memory": 0.5}, Memory(50 * MB, 100 * MB), 0, id="another share"),
        pytest.param({"max_memory": 1.0}, Memory(99 * MB, 100 * MB), None, id="all of it"),
        pytest.param({"max_memory": 0.0}, Memory(100 * MB, 100 * MB), None, id="not watched"),
        pytest.param({"max_memory": 20.0 * MB}, Memory(20 * MB, 0), 0, id="bytes"),
        pytest.param({"max_memory": 20.0 * MB}, Memory(19 * MB, 0), None, id="fewer bytes"),
        pytest.param({"max_unfinished": 7}, Memory(1, 100), 7, id="a number of jobs"),
        pytest.param({"max_unfinished": 7}, Memory(99, 100), 0, id="a number of jobs, and no memory"),
    ],
)
def test_settings_and_memory_limit_the_number_of_jobs(
    settings: dict[str, Any], memory: Memory | None, limit: int | None
) -> None:
    assert Readings(memory).pressure(**settings).room(1).most == limit


def test_memory_is_read_at_intervals_or_after_much_input() -> None:
    readings = Readings(Memory(1, 100))
    pressure = readings.pressure()
    for _ in range(50):
        pressure.room(MAX_AGE_BYTES // 100)
    assert readings.count == 1
    for _ in range(51):
        pressure.room(MAX_AGE_BYTES // 100)
    assert readings.count == 2
    readings.now += MAX_AGE
    readings.memory_now = Memory(99, 100)
    assert (pressure.room(1).most, readings.count) == (0, 3)


@pytest.mark.parametrize(("memory", "reason"), [(Memory(1, 100), "jobs"), (Memory(99, 100), "memory")])
def test_a_refusal_has_a_reason_and_retry_after(memory: Memory, reason: str) -> None:
    readings = Readings(memory)
    problem = readings.pressure(max_unfinished=12_000).refused(id="b")
    assert (problem.status, problem.headers["Retry-After"], problem.more) == (429, "30", {"id": "b"})
    assert {"jobs": "12,000 unfinished jobs", "memory": "BOOMERANG_MAX_MEMORY"}[reason] in problem.detail
    assert "Send the same again" in problem.detail
    assert readings.turned_away.labels(reason)._value.get() == 1


@pytest.mark.parametrize(
    ("memory", "unfinished", "variable"),
    [
        (Memory(1, 100), 11, None),
        (Memory(1, 100), 12, "BOOMERANG_MAX_UNFINISHED"),
        (Memory(99, 100), 0, "BOOMERANG_MAX_MEMORY"),
        (None, 0, "INFO"),
    ],
)
def test_the_warning_names_the_limit_that_is_reached(
    memory: Memory | None, unfinished: int, variable: str | None
) -> None:
    note = Readings(memory).pressure(max_unfinished=12).warning(unfinished)
    assert note is None if variable is None else variable in str(note)


HALF: dict[str, Any] = {"kept_room": 0.5, "max_unfinished": 100}
LIMITED = {"shop": KeyLimits(max_stored=30 * MB, max_unfinished=40)}


@pytest.mark.parametrize(
    ("settings", "used", "held", "reason"),
    [
        pytest.param({}, 60, Held({}, {"shop": 60 * MB}), None, id="alone, below what is kept for the other"),
        pytest.param({}, 64, Held({}, {"shop": 60 * MB}), "BOOMERANG_KEPT_ROOM", id="the rest is kept for the other"),
        pytest.param({}, 64, Held({}, {"shop": 40 * MB, "press": 21 * MB}), None, id="the other uses its part"),
        pytest.param({}, 84, Held({}, {"shop": 21 * MB, "press": 1 * MB}), None, id="within its own part"),
        pytest.param({}, 85, Held({}, {"shop": 1 * MB}), "BOOMERANG_MAX_MEMORY", id="full for all"),
        pytest.param(
            {"key_limits": LIMITED}, 40, Held({}, {"shop": 30 * MB}), "max_stored", id="its own limit of bytes"
        ),
        pytest.param({"key_limits": LIMITED}, 40, Held({"shop": 40}, {}), "max_unfinished", id="its own limit of jobs"),
        pytest.param(HALF, 1, Held({"shop": 75}, {}), "BOOMERANG_KEPT_ROOM", id="jobs are kept for the other"),
        pytest.param(HALF, 1, Held({"shop": 50, "press": 50}, {}), "100 unfinished jobs", id="jobs of all"),
    ],
)
def test_a_part_is_kept_for_each_key_and_the_refusal_names_the_limit(
    settings: dict[str, Any], used: int, held: Held, reason: str | None
) -> None:
    readings = Readings(Memory(used * MB, 100 * MB), held=held, names=("shop", "press"))
    pressure = readings.pressure(**{"kept_room": 0.5} | settings)
    if reason is None:
        assert pressure.full(1, "shop") is None
        return
    assert pressure.full(1, "shop") or pressure.room(1, "shop").most or pressure.room(1, "shop").own
    problem = pressure.refused(owner="shop")
    assert (problem.status, reason in problem.detail) == (429, True)
    assert "shop" in problem.detail or "all" not in str(reason)


def test_a_single_key_can_use_all() -> None:
    readings = Readings(Memory(84 * MB, 100 * MB), held=Held({}, {"shop": 84 * MB}), names=("shop",))
    pressure = readings.pressure(max_unfinished=100)
    assert (pressure.full(1, "shop"), pressure.room(1, "shop").kept) == (None, {})


# --- over HTTP, on a real Redis -------------------------------------------------------------------------------------

LINE = b'{"model":"kirin_image_omni","prompt":"a fox"}\n'


@pytest.fixture
def limited(settings: Settings, store: Store, client: FlaskClient) -> Callable[..., FlaskClient]:
    """Return `limited(max_unfinished=3)`, which makes a client of a service with these settings."""

    def make(**changes: Any) -> FlaskClient:
        producer = create_app(replace(settings, **changes), store).test_client()
        producer.environ_base = client.environ_base
        return producer

    return make


@pytest.fixture
def full_memory(raw: redis.Redis) -> Iterator[None]:
    """Redis uses 90 % of its memory limit."""
    raw.config_set("maxmemory", int(raw.info("memory")["used_memory"] / 0.9))
    yield
    raw.config_set("maxmemory", 0)


def counted(client: FlaskClient, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + " ")), 0.0)


def test_a_job_beyond_the_limit_gets_429(
    limited: Callable[..., FlaskClient], fox: dict[str, Any], store: Store
) -> None:
    client = limited(max_unfinished=1)
    client.post("/v1/jobs", json=fox | {"external_task_id": "first"})

    answer = client.post("/v1/jobs", json=fox | {"external_task_id": "second"})

    assert (answer.status_code, answer.content_type) == (429, "application/problem+json")
    assert answer.headers["Retry-After"] == "30"
    assert "Nothing was enqueued" in answer.json["detail"]
    assert client.get("/v1/jobs/second").status_code == 404
    # Repeats of an accepted job are not refused
    assert client.post("/v1/jobs", json=fox | {"external_task_id": "first"}).status_code == 200
    assert client.post("/v1/jobs", json=fox | {"external_task_id": "first", "n": 2}).status_code == 409
    assert counted(client, 'boomerang_turned_away_total{reason="jobs"}') == 1
    assert "BOOMERANG_MAX_UNFINISHED" in client.get("/readyz").json["dependencies"]["room"]
    assert client.get("/readyz").status_code == 200
    # When a job has ended, the next one is accepted
    store.jobs.cancel(own("first"))
    assert client.post("/v1/jobs", json=fox | {"external_task_id": "second"}).status_code == 201


def test_the_providers_contract_refuses_in_the_providers_form(
    limited: Callable[..., FlaskClient], fox: dict[str, Any]
) -> None:
    client = limited(max_unfinished=1)
    client.post("/v1/jobs", json=fox)
    answer = client.post("/model/v1/generation", json=fox)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "30")
    assert answer.json["error"]["code"] == "1303"
    assert TaskRefused().validate(json.loads(answer.text)) == {}


@pytest.mark.slow
def test_an_upload_stops_at_the_limit_and_a_repeat_continues(
    limited: Callable[..., FlaskClient], store: Store, messages: Messages
) -> None:
    # Given a limit of one and a half chunks
    client = limited(max_unfinished=750)

    with one_hint(lambda: messages("boomerang.submit")):
        stopped = client.post("/v1/batches", data=LINE * 1200 + b"not json\n")

    # Then the answer says how many were accepted and how to continue, and workers get a hint
    assert (stopped.status_code, stopped.headers["Retry-After"]) == (429, "30")
    assert (stopped.json["accepted"], stopped.json["known"]) == (750, 0)
    batch = stopped.json["id"]
    assert "750 jobs" in stopped.json["detail"]
    assert f"?id={batch}" in stopped.json["detail"]
    assert counted(client, 'boomerang_jobs_received_total{outcome="created"}') == 750
    # Until a job ends, a repeat adds nothing and loses nothing
    again = client.post(f"/v1/batches?id={batch}", data=LINE * 1200)
    assert (again.status_code, again.json["accepted"], again.json["known"]) == (429, 0, 750)
    for number in range(1, 501):
        store.jobs.cancel(own(f"{batch}.{number}"))
    last = client.post(f"/v1/batches?id={batch}", data=LINE * 1200 + b"not json\n")
    assert last.status_code == 201
    assert {name: last.json[name] for name in ("accepted", "known", "rejected")} == {
        "accepted": 450, "known": 750, "rejected": 1
    }  # fmt: skip
    # A complete repeat is accepted at any limit
    full = limited(max_unfinished=1)
    assert full.post(f"/v1/batches?id={batch}", data=LINE * 1200).json["known"] == 1200
    assert audit(store) == []


def test_a_paused_batch_of_one_key_leaves_room_for_others(
    settings: Settings, store: Store, client: FlaskClient, fox: dict[str, Any]
) -> None:
    app = create_app(replace(settings, api_keys=("shop:s" + "1" * 40, "press:s" + "2" * 40), max_unfinished=80), store)
    shop, press, operator = app.test_client(), app.test_client(), app.test_client()
    operator.environ_base = client.environ_base
    for producer, digit in ((shop, "1"), (press, "2")):
        producer.environ_base = client.environ_base | {"HTTP_AUTHORIZATION": f"Bearer s{digit * 40}"}
    stopped = shop.post("/v1/batches?id=all", data=LINE * 100)
    assert (stopped.status_code, stopped.json["accepted"]) == (429, 70)
    assert "BOOMERANG_KEPT_ROOM" in stopped.json["detail"]
    assert "the key shop has 70" in stopped.json["detail"]
    shop.post("/v1/batches/all/pause")
    for number in range(10):
        assert press.post("/v1/jobs", json=fox | {"external_task_id": f"fox{number}"}).status_code == 201
    assert press.post("/v1/jobs", json=fox).status_code == 429
    assert counted(operator, 'boomerang_turned_away_total{reason="key"}') == 1
    assert audit(store) == []


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda raw, key: raw.set(key, "no hash"), id="no hash"),
        pytest.param(lambda raw, key: raw.hset(key, "shop", "many"), id="no number"),
    ],
)
def test_damaged_counts_of_what_keys_hold_refuse_nothing(
    limited: Callable[..., FlaskClient],
    raw: redis.Redis,
    fox: dict[str, Any],
    damage: Callable[[redis.Redis, str], None],
) -> None:
    for name in ("unfinished", "stored", "stored-images"):
        damage(raw, f"{{b}}:{name}")
    assert limited(max_unfinished=5).post("/v1/jobs", json=fox).status_code == 201


@pytest.mark.slow
def test_an_atomic_upload_beyond_the_limit_enqueues_nothing(
    limited: Callable[..., FlaskClient], store: Store, raw: redis.Redis
) -> None:
    client = limited(max_unfinished=750)
    answer = client.post("/v1/batches?id=b&on_error=abort", data=LINE * 1200)
    assert (answer.status_code, answer.json["accepted"]) == (429, 0)
    assert "Nothing was enqueued" in answer.json["detail"]
    assert client.get("/v1/batches/b").status_code == 404
    assert list(raw.scan_iter("{b}:[uv]:*")) == []
    assert client.post("/v1/batches?id=b&on_error=abort", data=LINE * 750).status_code == 201
    assert client.post("/v1/batches?id=b&on_error=abort", data=LINE * 750).json["known"] == 750
    assert audit(store) == []


@pytest.mark.usefixtures("full_memory")
def test_a_nearly_full_redis_refuses_new_work(
    limited: Callable[..., FlaskClient], fox: dict[str, Any], store: Store
) -> None:
    store.jobs.enqueue([NewJob(id="old", text="{}", model="kirin_image_omni")])
    client = limited()
    for path, data in (
        ("/v1/jobs", LINE),
        ("/v1/batches", LINE),
        ("/v1/batches?on_error=abort", LINE),
        ("/model/v1/generation", LINE),
    ):
        answer = client.post(path, data=data)
        assert answer.status_code == 429, path
        assert "BOOMERANG_MAX_MEMORY" in answer.text
    assert counted(client, 'boomerang_turned_away_total{reason="memory"}') == 4
    assert "BOOMERANG_MAX_MEMORY" in client.get("/readyz").json["dependencies"]["room"]
    assert [job.given_id for job in store.jobs.page().jobs] == ["old"]
    # Accepted jobs can still be changed
    assert client.post("/v1/jobs/old/cancel").json["status"] == "cancelled"
    assert limited(max_memory=0.95).post("/v1/jobs", json=fox).status_code == 201
