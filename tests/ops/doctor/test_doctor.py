"""The doctor reports an operator's common mistakes with remedies, and reports nothing else as bad."""

import json
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner

from jobs.api_keys import PRODUCER, KeyRing
from jobs.images.backends import IMAGES
from jobs.settings import Settings
from jobs.store.store import Store
from ops.cli import main
from ops.doctor.check import Finding, Level
from ops.doctor.images import check_images
from ops.doctor.machine import check_machine, this_machine
from ops.doctor.redis_servers import check_info
from ops.doctor.service import (
    FEW_BITS,
    bits,
    check_callbacks,
    check_flower,
    check_installation,
    check_keys,
    check_rounds,
    check_secrets,
    check_stuck,
)
from ops.local import processes
from ops.local.stack import LocalStack, Options
from tests.support.waiting import WaitFor
from webhook.settings import Settings as WebhookSettings
from worker.settings import Settings as WorkerSettings

GOOD = {
    "redis_version": "7.2.11",
    "role": "master",
    "maxmemory_policy": "noeviction",
    "maxmemory": 1_000,
    "used_memory": 100,
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
}
LONG = "f3Jx0Qw9zT1mB7vK2nR8sYdL5hPcA6eG"


def test_a_correctly_configured_redis_passes() -> None:
    assert {finding.level for finding in check_info("X", GOOD, {"appendfsync": "always"}, state=True)} == {Level.OK}


@pytest.mark.parametrize(
    ("info", "fsync", "level", "subject"),
    [
        ({"redis_version": "5.0.14"}, "always", Level.BAD, "X"),
        ({"role": "slave"}, "always", Level.BAD, "X: role"),
        ({"maxmemory_policy": "allkeys-lru"}, "always", Level.BAD, "X: eviction"),
        ({"maxmemory": 0}, "always", Level.BAD, "X: memory"),
        ({"used_memory": 900}, "always", Level.WARNING, "X: memory"),
        ({"aof_enabled": 0}, "always", Level.BAD, "X: persistence"),
        ({"aof_last_write_status": "err"}, "always", Level.BAD, "X: persistence"),
        ({}, "everysec", Level.WARNING, "X: persistence"),
        ({}, "no", Level.BAD, "X: persistence"),
        ({}, "", Level.WARNING, "X: persistence"),  # a hosted Redis that does not disclose its configuration
    ],
)
def test_a_misconfigured_redis_is_reported(info: dict[str, Any], fsync: str, level: Level, subject: str) -> None:
    found = [
        each for each in check_info("X", GOOD | info, {"appendfsync": fsync}, state=True) if each.level is not Level.OK
    ]
    assert [(each.level, each.subject) for each in found] == [(level, subject)]
    assert found[0].remedy


def test_a_broker_may_lose_data_but_the_jobs_redis_may_not() -> None:
    (found,) = [
        each for each in check_info("X", GOOD | {"aof_enabled": 0}, {}, state=False) if each.level is not Level.OK
    ]
    assert found.level is Level.WARNING


@pytest.mark.parametrize(
    ("secret", "weak"), [("changeme-changeme", True), ("a" * 64, True), ("sim-key", True), (LONG, False)]
)
def test_guessable_secrets_are_recognized(secret: str, weak: bool) -> None:
    assert (bits(secret) < FEW_BITS) is weak


def test_weak_and_shared_secrets_are_reported_without_their_values() -> None:
    webhook = WebhookSettings(callback_secrets=("password-password",), api_keys=(f"shop:{LONG}", "key"))
    worker = WorkerSettings(provider_key=LONG)
    found = list(check_secrets(webhook, worker))
    assert {(each.level, each.subject) for each in found} == {
        (Level.BAD, "BOOMERANG_CALLBACK_SECRETS"),
        (Level.BAD, "BOOMERANG_API_KEYS"),
        (Level.BAD, "secrets"),
    }
    assert not [each for each in found if LONG in repr(each) or "password-" in repr(each)]


def test_secrets_given_as_hashes_cannot_be_judged() -> None:
    hashed = WebhookSettings(api_keys=(f"shop:sha256:{'a' * 64}",), admin_keys=("boss:weak",))
    found = list(check_secrets(hashed, WorkerSettings()))
    assert [(each.level, each.subject) for each in found] == [(Level.BAD, "BOOMERANG_ADMIN_KEYS")]


def test_at_least_one_key_must_exist(redis_url: str, store: Store) -> None:
    def look(**keys: Any) -> Finding:
        (found,) = check_keys(WebhookSettings(redis_url=redis_url, **keys))
        return found

    assert [each.subject for each in check_keys(WebhookSettings(redis_url=redis_url))] == ["keys of producers", "keys"]
    KeyRing(store.context.client, store.context.keys).migrate()
    assert look().level is Level.WARNING
    assert look(api_keys=("shop:one",)).level is Level.OK
    key, _ = KeyRing(store.context.client, store.context.keys).add("shop", PRODUCER)
    assert look().level is Level.OK
    KeyRing(store.context.client, store.context.keys).revoke(key.id)
    assert look().level is Level.WARNING


def test_late_rounds_of_reconcile_are_reported(redis_url: str, store: Store) -> None:
    settings = WorkerSettings(redis_url=redis_url)
    assert [each.level for each in check_rounds(settings)] == [Level.BAD]
    store.attempts.claim_due(1)
    assert [each.level for each in check_rounds(settings)] == [Level.OK]
    client, keys = store.context.client, store.context.keys
    client.hset(keys.singleton("epoch"), "run", "")
    assert [(each.level, each.subject) for each in check_rounds(settings)] == [
        (Level.OK, "rounds"),
        (Level.WARNING, "recovery"),
    ]


def test_a_replaced_installation_is_reported(redis_url: str, store: Store) -> None:
    apart = WorkerSettings(redis_url=redis_url, broker_url=redis_url.replace("/0", "/1"))
    assert [found.level for found in check_installation(apart)] == [Level.OK]
    # With one Redis for everything, the witness is lost with the jobs.
    alone = WorkerSettings(redis_url=redis_url, broker_url=redis_url, result_url=redis_url)
    assert [found.level for found in check_installation(alone)] == [Level.WARNING]
    store.continuity.refuse(store.continuity.standing(), "Redis came back older", None)
    (found,) = check_installation(apart)
    assert (found.level, "Redis came back older" in found.detail) == (Level.BAD, True)
    assert "recover" in found.remedy
    store.context.client.flushdb()
    assert [found.level for found in check_installation(apart)] == [Level.BAD]
    store.continuity.recover()
    assert [found.level for found in check_installation(apart)] == [Level.OK]


def test_dead_ends_are_reported(redis_url: str, store: Store) -> None:
    settings = WorkerSettings(redis_url=redis_url)
    assert [each.level for each in check_stuck(settings)] == [Level.OK]
    client, keys = store.context.client, store.context.keys
    client.zadd(keys.singleton("undelivered"), {"fox": 1})
    (finding,) = check_stuck(settings)
    assert (finding.level, finding.detail) == (Level.WARNING, "delivery 1")
    assert "boomerang-server stuck" in finding.remedy


class Answering(HTTPServer):
    """Answers every request with one status."""

    def __init__(self, status: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_GET  # noqa: N815 - http.server's own form

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def answering() -> Any:
    servers: list[tuple[Answering, Thread]] = []

    def make(status: int) -> str:
        server = Answering(status)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return server.url

    yield make
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("status", "level"), [(200, Level.BAD), (401, Level.OK), (403, Level.OK)])
def test_flower_without_a_password_is_reported(answering: Callable[[int], str], status: int, level: Level) -> None:
    (found,) = check_flower(answering(status))
    assert found.level is level


@pytest.mark.parametrize(
    ("status", "level", "detail_text"),
    [
        (204, Level.OK, "accepted"),
        (403, Level.BAD, "refuses our token"),
        (404, Level.BAD, "answers 404"),
        (301, Level.BAD, "answers 301"),
    ],
)
def test_the_callback_url_must_lead_to_this_service(
    answering: Callable[[int], str], status: int, level: Level, detail_text: str
) -> None:
    settings = WebhookSettings(public_url=answering(status), callback_secrets=(LONG,))
    (found,) = check_callbacks(settings)
    assert found.level is level
    assert detail_text in found.detail


def test_an_unreachable_address_is_reported() -> None:
    settings = WebhookSettings(public_url="http://127.0.0.1:1", callback_secrets=(LONG,))
    (found,) = check_callbacks(settings)
    assert (found.level, "cannot be reached" in found.detail) == (Level.BAD, True)


def test_the_image_store_is_checked(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert list(check_images(Settings())) == []
    for where, level in (("images", Level.OK), ("file/images", Level.BAD)):
        (found,) = check_images(Settings(image_store=f"file://{tmp_path}/{where}"))
        assert found.level is level
    assert [path.name for path in (tmp_path / "images").rglob("*") if path.is_file()] == [IMAGES.marker]


def test_a_kernel_on_which_redis_cannot_fork_is_reported(redis_url: str) -> None:
    here = this_machine()

    def levels(**other: Any) -> list[Level]:
        return [each.level for each in check_machine(redis_url, replace(here, **other))]

    assert levels(overcommit="0") == levels(overcommit="2") == [Level.WARNING]
    assert levels(overcommit="1") == [Level.OK]
    assert levels(overcommit=None) == []
    # Redis runs on another machine, whose kernel cannot be read here.
    assert levels(overcommit="0", memory=here.memory + 4096) == []
    assert levels(overcommit="0", system="Linux 0.0 x86_64") == []
    assert list(check_machine("redis://127.0.0.1:1/0", here)) == []


def test_bad_settings_are_reported_before_anything_else() -> None:
    env = {"BOOMERANG_MAX_IN_FLIGHT": "many", "BOOMERANG_CONCURRENCY": "0", "BOOMERANG_MAX_BODY": "1"}
    answer = CliRunner().invoke(main, ["doctor", "--json"], env=env)
    found = [json.loads(line) for line in answer.output.splitlines()]
    assert {each["subject"] for each in found} == set(env)
    assert answer.exit_code == 1


@pytest.mark.stack
def test_the_shipped_stack_passes(tmp_path: Path, wait_for: WaitFor) -> None:
    with LocalStack(Options(folder=tmp_path / "stack", flower=False), lambda *_: None) as stack:
        env = processes.environment(stack.plan, stack.redis_url, stack.broker_url) | {
            "BOOMERANG_PROVIDER_KEY": stack.plan.secrets.provider_key,
            **stack.plan.keys,
        }

        def run() -> tuple[int, dict[str, str]]:
            answer = CliRunner().invoke(main, ["doctor", "--json", "--flower", "http://127.0.0.1:1"], env=env)
            found = [json.loads(line) for line in answer.output.splitlines()]
            return answer.exit_code, {each["subject"]: each["level"] for each in found}

        wait_for(lambda: run()[0] == 0, timeout=30, message="nothing is bad once the first round was made")
        _, levels = run()
        assert {about for about, level in levels.items() if level == Level.WARNING} <= {"vm.overcommit_memory"}
        assert {"workers", "rounds", "callbacks", "provider, lane default"} <= levels.keys()
