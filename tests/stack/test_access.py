"""The users of both Redis servers may run every command that their processes need."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
import requests
from celery import Celery, chord
from click.testing import CliRunner

from boomerang_client import Client, Status
from boomerang_client.celery import signature
from ops.cli import main
from ops.local.stack import LocalStack, Options
from tests.support.admin import with_admin
from tests.support.verdict import requests_of

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
WaitFor = Callable[..., None]
#: Lost callbacks cause polls, and lost answers cause look-ups.
FAULTS = "--seed 3 --latency 0.2 --drop-callbacks 0.3 --lost-answers 0.1"
SETTINGS = {
    "BOOMERANG_POLL_FIRST": "1",
    "BOOMERANG_POLL_MAX": "2",
    "BOOMERANG_LOOKUP_GRACE": "1",
    "BOOMERANG_MAX_IN_FLIGHT": "20",
    "BOOMERANG_RETENTION": "60",
}
IMAGE = Path(__file__).parents[2] / "ops" / "assets" / "images" / "horse.png"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    folder = tmp_path_factory.mktemp("access")
    options = Options(folder=folder / "stack", simulator=FAULTS, settings=SETTINGS, warnings=False)
    with with_admin(folder / "access"), LocalStack(options, lambda *_: None) as running:
        yield running


def refused(url: str) -> set[tuple[str, str, str]]:
    """Return refused commands as (user, reason, object), except the client library's own at connection.

    Redis 6 refuses arguments of CLIENT that it does not know; the client library ignores that.
    """
    with redis.Redis.from_url(url, decode_responses=True) as client:
        found = {(str(entry["username"]), str(entry["reason"]), str(entry["object"])) for entry in client.acl_log()}
    return {each for each in found if each[1:] != ("command", "client")}


def users(url: str) -> set[str]:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return {str(each["user"]) for each in client.client_list()} - {"admin"}


@pytest.fixture(autouse=True)
def _nothing_is_refused(stack: LocalStack, wait_for: WaitFor) -> Iterator[None]:
    yield
    assert (refused(stack.redis_url), refused(stack.broker_url)) == (set(), set())


def test_each_redis_has_only_its_own_users(stack: LocalStack, wait_for: WaitFor) -> None:
    with Client(stack.url, stack.key) as client:
        assert client.enqueue(next(requests_of(1))).wait(timeout=60).status is Status.COMPLETED
    wait_for(
        lambda: users(stack.broker_urls["admin"]) == {"worker", "webhook", "beat", "flower"}, 30, "all are connected"
    )
    # Neither beat nor Flower connects to the jobs' Redis.
    assert users(stack.state_urls["admin"]) == {"worker", "webhook"}


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A session without proxies: a test's traffic stays on loopback."""
    with requests.Session() as made:
        made.trust_env = False
        yield made


def test_jobs_over_http_need_no_more_permissions(
    stack: LocalStack, session: requests.Session, wait_for: WaitFor
) -> None:
    session.headers["Authorization"] = f"Bearer {stack.key}"
    uploaded = session.post(f"{stack.url}/v1/images", data=IMAGE.read_bytes(), headers={"Content-Type": "image/png"})
    assert uploaded.ok, uploaded.text
    with Client(stack.url, stack.key) as client:
        client.enqueue_batch(list(requests_of(60)), id="http")
        client.enqueue_batch(list(requests_of(5)), id="whole", on_error="abort")
        waiting = client.enqueue_batch(list(requests_of(30)), id="ended")
        session.post(f"{stack.url}/v1/batches/{waiting.id}/pause").raise_for_status()
        session.post(f"{stack.url}/v1/batches/{waiting.id}/resume").raise_for_status()
        session.post(f"{stack.url}/v1/batches/{waiting.id}/cancel").raise_for_status()
        wait_for(lambda: all(client.batch(each).done for each in ("http", "whole", "ended")), 90, "all have ended")
        assert {job.status for job in client.results("http")} == {Status.COMPLETED}
    for path in ("/readyz", "/metrics", "/v1/lanes", "/v1/spend?by=day", "/v1/jobs?limit=5", "/v1/batches"):
        assert session.get(f"{stack.url}{path}", timeout=10).ok, path
    # The request of a client that follows a batch.
    events = session.get(f"{stack.url}/v1/batches/http/events", timeout=10, stream=True)
    assert next(events.iter_lines()) == b"id: done"
    events.close()


@pytest.fixture
def app(stack: LocalStack) -> Iterator[Celery]:
    """The Celery app of another service, with the user `producer`."""
    url = stack.broker_urls["producer"]
    app = Celery("shop", broker=url, backend=url, set_as_current=False)
    yield app
    app.backend.result_consumer.stop()
    app.backend.result_consumer._pubsub = None
    app.close()


def test_celery_producers_need_no_more_permissions(stack: LocalStack, app: Celery, wait_for: WaitFor) -> None:
    members = [signature(app, model="kirin_image_omni", prompt=f"fox {number}") for number in range(10)]
    chord(members, app=app)(app.signature("shop.all", queue="shop"))
    task = app.send_task(
        "boomerang.generate",
        kwargs={"model": "kirin_image_omni", "prompt": "a fox"},
        queue="celery",
        link=app.signature("shop.one", queue="shop-links"),
    )
    assert task.get(timeout=60)["output"]
    late = app.send_task(
        "boomerang.generate",
        kwargs={"model": "kirin_image_omni", "prompt": "a late fox"},
        queue="celery",
        countdown=600,
    )
    (answer,) = app.control.revoke(late.id, reply=True, timeout=5)
    assert "ok" in next(iter(answer.values()))
    url = stack.broker_urls["producer"]
    with closing(redis.Redis.from_url(url)) as queues:
        wait_for(lambda: queues.llen("shop") == queues.llen("shop-links") == 1, 60, "body and link are called")
    wait_for(lambda: late.state == "REVOKED", 30, "the revoked task has ended")


def test_flower_needs_no_more_permissions(stack: LocalStack, session: requests.Session) -> None:
    address = stack.plan.url("flower")
    assert session.get(f"{address}/api/workers", timeout=10).status_code == 401
    session.auth = ("boomerang", stack.plan.secrets.flower_password)
    for path in ("/workers", "/tasks", "/broker", "/metrics", "/api/tasks", "/api/queues/length"):
        assert session.get(f"{address}{path}", timeout=30).ok, path
    workers = session.get(f"{address}/api/workers?refresh=1", timeout=30).json()
    assert [sorted(queue["name"] for queue in each["active_queues"]) for each in workers.values()] == [
        ["boomerang.deliver", "boomerang.reconcile", "boomerang.save", "boomerang.submit", "celery"]
    ]


def test_the_operators_commands_need_no_more_permissions(stack: LocalStack, wait_for: WaitFor) -> None:
    broker = stack.broker_urls["operator"]
    env = {
        "BOOMERANG_REDIS_URL": stack.state_urls["operator"],
        "BOOMERANG_BROKER_URL": broker,
        "BOOMERANG_RESULT_URL": broker,
        "BOOMERANG_PUBLIC_URL": stack.url,
        "BOOMERANG_CALLBACK_SECRETS": stack.plan.secrets.callback_secret,
        "BOOMERANG_PROVIDER_URL": stack.plan.url("simulator"),
        "BOOMERANG_PROVIDER_KEY": stack.plan.secrets.provider_key,
        "BOOMERANG_ALLOW_PRIVATE_HOSTS": "1",
        "BOOMERANG_RESULT_STORE": f"file://{stack.plan.folder.resolve() / 'results'}",
        **stack.plan.keys,
    }
    wait_for(lambda: CliRunner().invoke(main, ["audit"], env=env).exit_code == 0, 60, "all invariants hold")
    answer = CliRunner().invoke(main, ["doctor", "--json", "--flower", stack.plan.url("flower")], env=env)
    levels: dict[str, Any] = {each["subject"]: each["level"] for each in map(json.loads, answer.output.splitlines())}
    assert answer.exit_code == 0, answer.output
    assert (levels["workers"], levels["BOOMERANG_REDIS_URL: persistence"], levels["Flower"]) == ("ok", "ok", "ok")
