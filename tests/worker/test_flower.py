"""A real Flower, asked over HTTP: it lists jobs with their true states and requires a login."""

import json
import socket
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flower.urls import handlers
from tornado.web import URLSpec

from ops.local.redis_server import free_port
from tests.support.worker_service import Processes, Service

pytestmark = pytest.mark.stack
WaitFor = Callable[..., None]
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Flower:
    """A running Flower. Call it with a path of its API to get the answer, or None for a 404."""

    url: str
    process: subprocess.Popen[bytes]
    get: Callable[[str], Any]

    def __call__(self, path: str) -> Any:
        return self.get(path)


@pytest.fixture
def flower(service: Service, processes: Processes, wait_for: WaitFor) -> Flower:
    """Start Flower as the stack starts it, and wait until it receives events."""
    port = free_port()
    env = {
        "FLOWER_ADDRESS": "127.0.0.1",
        "FLOWER_PORT": str(port),
        "FLOWER_BASIC_AUTH": "boomerang:a-password",
        "FLOWER_ENABLE_EVENTS": "False",
        "FLOWER_READ_ONLY": "True",
    }
    # Flower does not call the provider, so it gets no key
    ours = {name: value for name, value in service.env.items() if name != "BOOMERANG_PROVIDER_KEY"}
    process, log = processes.start({**ours, **env}, "flower")

    def get(path: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
        request.add_header("Authorization", "Basic " + b64encode(b"boomerang:a-password").decode())
        try:
            with DIRECT.open(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                raise

    def up() -> bool:
        assert process.poll() is None, log.read_text()
        # Flower must receive events before the test starts: send one until it is listed
        with service.producer.events.default_dispatcher(enabled=True) as dispatcher:
            dispatcher.send("task-sent", uuid="ready", name="probe")
        try:
            return "ready" in get("/api/tasks")
        except OSError:
            return False

    wait_for(up, 30)
    return Flower(f"http://127.0.0.1:{port}", process, get)


def _state(flower: Flower, job_id: str) -> str | None:
    tasks = flower("/api/tasks") or {}
    return tasks[job_id]["state"] if job_id in tasks else None


def test_flower_lists_jobs_of_both_entry_points_with_their_true_states(
    service: Service, flower: Flower, wait_for: WaitFor
) -> None:
    # Given jobs of both entry points at a slow provider
    service.simulator.turn(latency="3")
    service.enqueue("flower-http")
    service.send("flower-celery")
    seen: dict[str, list[str | None]] = {"flower-http": [], "flower-celery": []}

    def watch() -> bool:
        for job_id, states in seen.items():
            state = _state(flower, job_id)
            if not states or states[-1] != state:
                states.append(state)
        return all(states[-1] == "SUCCESS" for states in seen.values())

    wait_for(watch, 30, str(seen))
    # Then each was IN-PROGRESS before SUCCESS
    for states in seen.values():
        assert "IN-PROGRESS" in states
        assert states[-2:] == ["IN-PROGRESS", "SUCCESS"], states
    task = flower("/api/tasks")["flower-http"]
    assert (task["name"], task["uuid"]) == ("boomerang.generate", "flower-http")
    assert service.simulator.url in task["result"]


def test_flower_shows_a_failure(service: Service, flower: Flower, wait_for: WaitFor) -> None:
    service.simulator.turn(fail_permanent=1)
    service.enqueue("flower-fails")
    wait_for(lambda: _state(flower, "flower-fails") == "FAILURE", 20)
    assert "1301" in flower("/api/tasks")["flower-fails"]["exception"]


def test_tasks_that_are_no_jobs_have_their_true_state(service: Service, flower: Flower, wait_for: WaitFor) -> None:
    # Given a producer that sends events, as Flower then lists its tasks as PENDING
    service.producer.conf.task_send_sent_event = True
    send = service.producer.send_task
    states = {
        "flower-refused": "FAILURE",
        "flower-late": "REVOKED",
        "flower-alias": "SUCCESS",
        "flower-unknown": "FAILURE",
        "flower-built-in": "SUCCESS",
    }
    service.send("flower-refused", model="none")
    service.send("flower-late", expires=-1)
    service.send("flower-alias", model="kirin_image_omni", prompt="a fox", external_task_id="flower-other")
    send("shop.unknown", task_id="flower-unknown")
    send("celery.accumulate", args=[1], task_id="flower-built-in")
    service.producer.conf.task_send_sent_event = False
    wait_for(lambda: all(_state(flower, each) == state for each, state in states.items()), 30, str(states))
    tasks = flower("/api/tasks")
    assert "expired" in tasks["flower-late"]["exception"]
    assert tasks["flower-alias"]["runtime"] < 10
    assert "flower-other" in tasks["flower-alias"]["kwargs"]


def test_the_run_time_is_without_the_countdown_and_workers_are_counted(
    service: Service, flower: Flower, wait_for: WaitFor
) -> None:
    before = {each["hostname"]: each.get("task-received", 0) for each in flower("/workers?json=1")["data"]}
    service.simulator.turn(latency="1")
    service.send("flower-countdown", countdown=3)
    wait_for(lambda: _state(flower, "flower-countdown") == "SUCCESS", 30)
    task = flower("/api/tasks")["flower-countdown"]
    assert 0.9 < task["runtime"] < 3
    assert task["succeeded"] - task["started"] == pytest.approx(task["runtime"], abs=0.01)
    assert task["started"] - task["received"] > 2
    workers = {each["hostname"]: each for each in flower("/workers?json=1")["data"]}
    assert workers["w0@localhost"]["status"]
    received = {name: each.get("task-received", 0) for name, each in workers.items()}
    assert received["w0@localhost"] - before.get("w0@localhost", 0) == 1


def test_the_broker_page_lists_queues_that_it_may_not_count(flower: Flower, service: Service) -> None:
    service.redis.set("boomerang.deliver", "no list")
    try:
        queues = {each["name"]: each["messages"] for each in flower("/api/queues/length")["active_queues"]}
    finally:
        service.redis.delete("boomerang.deliver")
    assert queues["boomerang.deliver"] is None
    assert isinstance(queues["celery"], int)


#: Addresses without a login. They contain nothing about the service.
OPEN = {r"/healthcheck", r"/static/(.*)", r"/login/?", r"/logout", r".*"}


def test_every_flower_address_requires_a_login(flower: Flower) -> None:
    for handler in handlers:
        pattern = handler.regex.pattern.rstrip("$") if isinstance(handler, URLSpec) else handler[0]
        if pattern in OPEN:
            continue
        path = pattern.replace("(.+)", "x").replace("(.*)", "x")
        answered = set()
        for method in ("GET", "POST"):
            for login in (None, b"boomerang:wrong"):
                request = urllib.request.Request(f"{flower.url}{path}", method=method)
                if login:
                    request.add_header("Authorization", "Basic " + b64encode(login).decode())
                with pytest.raises(urllib.error.HTTPError) as refused:
                    DIRECT.open(request, timeout=10)
                answered.add(refused.value.code)
                refused.value.close()
        # 405: the address does not have this method
        assert answered <= {401, 405}, pattern
        assert 401 in answered, pattern
    request = urllib.request.Request(f"{flower.url}/metrics")
    request.add_header("Authorization", "Basic " + b64encode(b"boomerang:a-password").decode())
    with DIRECT.open(request, timeout=10) as answer:
        assert b"flower_" in answer.read()
    with DIRECT.open(f"{flower.url}/healthcheck", timeout=10) as answer:
        assert answer.status == 200


def test_flower_ends_cleanly(flower: Flower) -> None:
    flower.process.terminate()
    assert flower.process.wait(20) == 0


def test_flower_ends_cleanly_while_its_broker_does_not_answer(
    processes: Processes, env: dict[str, str], wait_for: WaitFor
) -> None:
    # Given a broker that accepts connections and does not answer
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        broker = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        port = free_port()
        more = {"FLOWER_ADDRESS": "127.0.0.1", "FLOWER_PORT": str(port), "FLOWER_BASIC_AUTH": "boomerang:a-password"}
        ours = {name: value for name, value in env.items() if name != "BOOMERANG_PROVIDER_KEY"}
        process, log = processes.start({**ours, "BOOMERANG_BROKER_URL": broker, **more}, "flower")

        def up() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                with DIRECT.open(f"http://127.0.0.1:{port}/healthcheck", timeout=5) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        wait_for(up, 60, "it serves")
        process.terminate()
        assert process.wait(20) == 0
