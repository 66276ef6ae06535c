import json
import os
import re
import signal
import subprocess
import sys
import threading
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from jobs.job import Delivery
from jobs.new_job import NewJob
from jobs.store.store import Store
from schemas import callback_path
from tests.support.producers import BOSS
from tests.support.waiting import load
from tests.support.webhook_server import AtProvider, CallBack, Messages, Serve, WebhookServer
from webhook.app import create_app
from webhook.settings import Settings

KEY = "a-producer-key-for-tests"
SECRET = "a-callback-secret-for-tests"
ROOT = Path(__file__).parents[2]

COMPLETED = {
    "id": "t1",
    "status": "completed",
    "output": [{"content": [{"type": "image", "url": "https://cdn.example.com/1.png", "jobId": "j"}]}],
    "usage": {"cost": "0.0065", "discount": 1},
}
FAILED = {
    "id": "t1",
    "status": "failed",
    "error": {"code": 2016001, "message": "prompt missing"},
    "usage": {"cost": ""},
}


@pytest.fixture(scope="session", autouse=True)
def compile_routes_once() -> Iterator[None]:
    """Keep what werkzeug compiles of each route: all apps have the same ones, and it took a third of the time."""
    compiled: dict[tuple[str, bool], Any] = {}
    compile_builder = Rule._compile_builder

    def once(rule: Rule, append_unknown: bool = True) -> Any:
        if rule.defaults:
            return compile_builder(rule, append_unknown)
        key = (rule.rule, append_unknown)
        if key not in compiled:
            compiled[key] = compile_builder(rule, append_unknown)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "_compile_builder", once)
        yield


class CompiledTemplates(BytecodeCache):
    """Compiled templates in memory."""

    def __init__(self) -> None:
        self._codes: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if code := self._codes.get(bucket.key):
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._codes[bucket.key] = bucket.bytecode_to_string()


@pytest.fixture(scope="session", autouse=True)
def compile_templates_once() -> Iterator[None]:
    """Keep what Jinja compiles of each template: all apps have the same ones, and it took most of a page's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(Flask.jinja_options, "bytecode_cache", CompiledTemplates())
        yield


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return Settings(
        redis_url=redis_url, broker_url=redis_url, admin_keys=(f"{BOSS}:{KEY}",), callback_secrets=(SECRET,)
    )


@pytest.fixture
def app(settings: Settings, store: Store) -> Flask:
    """The app with the real store, which sends real messages to the same Redis."""
    return create_app(settings, store)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client with an administrator's key."""
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {KEY}"
    return client


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as connection:
        yield connection


@pytest.fixture
def messages(raw: redis.Redis) -> Messages:
    """Return `messages(queue)`, which reads the arguments of every message in the queue as a worker would."""

    def read(queue: str) -> list[list[str]]:
        found = [json.loads(text) for text in raw.lrange(queue, 0, -1)]
        for each in found:
            assert each["headers"]["task"] == queue
            assert each["content-type"] == "application/json"
        return [json.loads(b64decode(each["body"]))[0] for each in found]

    return read


@pytest.fixture
def at_provider(store: Store) -> AtProvider:
    """Return `at_provider("id")`, which makes a job in progress."""

    def make(job_id: str, *, notify: bool = False) -> str:
        owed = frozenset({Delivery.NOTIFY}) if notify else frozenset[Delivery]()
        text = '{"labels":{"shop":"berlin"},"model":"kirin_image_omni","params":{"prompt":"a fox"}}'
        labels = {"shop": "berlin"}
        store.jobs.enqueue([NewJob(id=job_id, text=text, model="kirin_image_omni", owed=owed, labels=labels)])
        assert job_id in store.attempts.admit(1000).ids
        (claim,) = store.attempts.claim([job_id])
        assert store.attempts.mark_in_progress(job_id, claim.fence, f"task-{job_id}")
        return job_id

    return make


@pytest.fixture
def call_back(client: FlaskClient) -> CallBack:
    """Return `call_back("id", body)`, which posts to the job's callback address."""

    def post(external_task_id: str, body: object, secret: str = SECRET) -> TestResponse:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return client.post(callback_path(external_task_id, secret), data=data, content_type="application/json")

    return post


@pytest.fixture
def secret() -> str:
    return SECRET


@pytest.fixture
def completed() -> dict[str, Any]:
    return dict(COMPLETED)


@pytest.fixture
def failed() -> dict[str, Any]:
    return dict(FAILED)


@pytest.fixture
def fox() -> dict[str, Any]:
    """A valid generation request."""
    return {"model": "kirin_image_omni", "prompt": "a fox in the snow"}


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Return `serve({"BOOMERANG_…": …})`, which starts a real webhook process and keeps its log."""
    running: list[tuple[subprocess.Popen[str], threading.Thread]] = []

    def start(env: Mapping[str, str], *options: str) -> WebhookServer:
        own_settings = {"BOOMERANG_ADMIN_KEYS": f"{BOSS}:{KEY}", "BOOMERANG_CALLBACK_SECRETS": SECRET}
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "webhook.wsgi:app", "-b", "127.0.0.1:0", *options],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **own_settings, **env},
            stderr=subprocess.PIPE,
            text=True,
        )
        log: list[str] = []
        started = threading.Event()

        def follow() -> None:
            assert process.stderr
            with process.stderr:
                for line in process.stderr:
                    log.append(line.rstrip())
                    if "Listening at" in line:
                        started.set()
            started.set()

        follower = threading.Thread(target=follow)
        follower.start()
        running.append((process, follower))
        assert started.wait(30 * load()), log
        found = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", "\n".join(log))
        if found is None:
            raise RuntimeError("\n".join(log))
        return WebhookServer(int(found[1]), process.pid, log, {"Authorization": f"Bearer {KEY}"})

    yield start
    could_not_start = [process for process, _ in running if process.poll() is not None]
    for process, _ in running:
        # Not SIGQUIT: gunicorn's gthread worker may then deadlock on a lock that it holds
        process.send_signal(signal.SIGTERM)
    for process, follower in running:
        process.wait(40)  # longer than the grace period in docs/guides/run-processes.md
        follower.join(10)
    # Every process that had started must exit with 0
    assert {process.returncode for process, _ in running if process not in could_not_start} <= {0}
