"""Each command as each Redis user: the operator may run all; any other gets an error sentence and exit code 2."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jobs.connections.client import connect
from jobs.new_job import NewJob
from jobs.settings import Settings
from jobs.store.store import Store
from ops.cli import main
from ops.local import redis_server
from ops.local.redis_server import RedisServer

COMMANDS: dict[str, tuple[str, ...]] = {
    "audit": ("audit",),
    "repair": ("audit", "--repair"),
    "stuck": ("stuck",),
    "settle": ("settle", "fox", "--not-sent", "--yes"),
    "settle all": ("settle", "--all-in-doubt-longer-than", "0s", "--failed", "--yes"),
    "redeliver": ("redeliver", "--all"),
    "recover": ("recover",),
    "keys add": ("keys", "add", "shop"),
    "keys list": ("keys", "list"),
    "doctor": ("doctor", "--json"),
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisServer, RedisServer]]:
    folder = tmp_path_factory.mktemp("operator")
    with (
        redis_server.running(folder / "state", durable=False, users="state") as state,
        redis_server.running(folder / "broker", durable=False, users="broker") as broker,
    ):
        yield state, broker


@pytest.fixture
def run(servers: tuple[RedisServer, RedisServer]) -> Callable[..., Any]:
    state, broker = servers

    def invoke(command: str, user: str = "operator", **env: str) -> Any:
        with connect(state.urls["worker"]) as client:
            store = Store(client, Settings())
            store.continuity.establish(store.continuity.standing())
            store.jobs.enqueue([NewJob(id="fox", text='{"prompt":"a fox"}', model="m")])
            store.attempts.admit(10)
            for claim in store.attempts.claim(["fox"]):
                store.attempts.mark_in_doubt("fox", claim.fence, "read timed out")
        given = {
            "BOOMERANG_REDIS_URL": state.urls.get(user, ""),
            "BOOMERANG_BROKER_URL": broker.urls.get(user, ""),
            "BOOMERANG_RESULT_URL": broker.urls.get(user, ""),
            "BOOMERANG_PROVIDER_URL": "http://127.0.0.1:1",
            "BOOMERANG_ALLOW_PRIVATE_HOSTS": "1",
        }
        return CliRunner().invoke(main, list(COMMANDS[command]), env={**given, **env})

    return invoke


@pytest.mark.parametrize("command", COMMANDS)
def test_the_operator_may_run_every_command(run: Callable[..., Any], command: str) -> None:
    answer = run(command)
    assert "refuse" not in answer.output
    assert answer.exit_code in {0, 1}, answer.output
    assert isinstance(answer.exception, (SystemExit, type(None)))
    if command == "doctor":
        found = {each["subject"]: each for each in map(json.loads, answer.output.splitlines())}
        assert found["BOOMERANG_REDIS_URL"]["level"] == found["BOOMERANG_BROKER_URL"]["level"] == "ok"
        assert "none answers" in found["workers"]["detail"]


@pytest.mark.parametrize(
    ("command", "user"),
    [("audit", "webhook"), ("audit", "worker"), ("repair", "worker"), ("doctor", "webhook"), ("doctor", "worker")],
)
def test_a_missing_permission_is_reported_in_a_sentence(run: Callable[..., Any], command: str, user: str) -> None:
    answer = run(command, user)
    assert answer.exit_code == 2, answer.output
    assert "Traceback" not in answer.output
    assert f"user {user!r}" in answer.output or f"user {user}" in answer.output
    assert command == "doctor" or "scan" in answer.output
    assert "docker compose run --rm operator" in answer.output


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "doctor"])
@pytest.mark.parametrize(
    "url",
    [
        "redis://operator:wrong@127.0.0.1:{port}/0",
        "redis://missing:wrong@127.0.0.1:{port}/0",
        "redis://health@127.0.0.1:{port}/0",
        "redis://127.0.0.1:1/0",
        "unix:///nowhere/redis.sock",
        "http://127.0.0.1:{port}/0",
        "redis://127.0.0.1:{port}/many",
        "redis://:99999/0",
        "sentinel://127.0.0.1:1/jobs/0",
    ],
)
def test_an_unusable_redis_is_reported_in_a_sentence(
    run: Callable[..., Any], servers: tuple[RedisServer, RedisServer], command: str, url: str
) -> None:
    answer = run(command, BOOMERANG_REDIS_URL=url.format(port=servers[0].port))
    assert answer.exit_code == 2, (answer.output, answer.exception)
    assert "Traceback" not in answer.output
    assert "BOOMERANG_REDIS_URL" in answer.output


def test_keys_list_is_not_truncated_in_a_pipe(run: Callable[..., Any]) -> None:
    run("keys add")
    lines = [line.split("\t") for line in run("keys list", COLUMNS="20").output.splitlines()]
    assert lines
    for key_id, name, *_ in lines:
        assert (len(key_id), name) == (12, "shop")


def test_doctor_checks_a_folder_without_a_stack(tmp_path: Path) -> None:
    answer = CliRunner().invoke(main, ["doctor", "--data", str(tmp_path / "nothing")])
    assert answer.exit_code == 2
