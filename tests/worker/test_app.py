"""Worker and beat: their settings, what they need to start, and how they treat malformed messages."""

import json
import os
import pickle
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from jobs.errors import SettingsInvalid
from jobs.task_names import DELIVER
from tests.support.worker_service import Processes
from tests.support.world import MakeWorld
from worker.app import configuration, create_app
from worker.services import Services
from worker.settings import Settings, Switch

ROOT = Path(__file__).parents[2]
WaitFor = Callable[..., None]
SETTINGS = Settings(provider_key="k")

CONFIGURED: dict[str, Any] = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_retry_on_worker_lost": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_enable_prefetch_count_reduction": False,
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,
    "worker_pool": "threads",
    "worker_send_task_events": True,
    "broker_connection_max_retries": None,
    "broker_connection_retry_on_startup": True,
    "broker_channel_error_retry": False,
    "broker_pool_acquire_timeout": 10,
    "accept_content": ["json"],
    "result_accept_content": ["json"],
    "task_serializer": "json",
    "result_serializer": "json",
    "enable_utc": True,
    "timezone": "UTC",
}
TRANSPORT: dict[str, Any] = {
    "socket_timeout": 5,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 5,
    "visibility_timeout": 300,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "unacked_restore_limit": 1000,
}


@pytest.mark.parametrize(("name", "value"), CONFIGURED.items(), ids=CONFIGURED)
def test_celery_has_the_documented_setting(name: str, value: Any) -> None:
    assert create_app(SETTINGS).conf[name] == value


@pytest.mark.parametrize(("name", "value"), TRANSPORT.items(), ids=TRANSPORT)
def test_setting_of_the_redis_transport(name: str, value: Any) -> None:
    assert configuration(SETTINGS)["broker_transport_options"][name] == value


@pytest.mark.parametrize("switch", Switch)
def test_remote_control_is_a_setting(switch: Switch) -> None:
    env = {"BOOMERANG_REMOTE_CONTROL": switch.value}
    assert create_app(Settings.from_env(env)).conf.worker_enable_remote_control == (switch is Switch.ON)


@pytest.mark.parametrize("name", ["retry_on_timeout", "global_keyprefix"])
def test_options_that_are_never_set(name: str) -> None:
    assert name not in configuration(SETTINGS)["broker_transport_options"]


def test_a_broker_other_than_redis_gets_no_redis_options() -> None:
    conf = configuration(Settings(provider_key="k", broker_url="amqp://localhost//"))
    assert conf["broker_transport_options"] == {"confirm_publish": True}
    assert conf["worker_disable_prefetch"] is False


def test_a_broker_and_results_behind_sentinel() -> None:
    url = "sentinels://:pw@a,b:2/3?master=jobs&sentinel_password=other"
    conf = configuration(Settings(provider_key="k", broker_url=url, result_url=url))
    assert conf["broker_url"] == conf["result_backend"] == "sentinel://:pw@a:26379/3;sentinel://:pw@b:2/3"
    # In addition to the options of every Redis
    assert conf["broker_transport_options"].items() >= {**TRANSPORT, "master_name": "jobs"}.items()
    assert conf["worker_disable_prefetch"] is True
    assert conf["result_backend_transport_options"]["master_name"] == "jobs"
    for options in (conf["broker_transport_options"], conf["result_backend_transport_options"]):
        assert options["sentinel_kwargs"].items() >= {"password": "other", "socket_timeout": 1.0, "ssl": True}.items()
        assert options["sentinel_kwargs"]["retry"].get_retries() == 0
    assert conf["broker_use_ssl"]["ssl_cert_reqs"] == conf["redis_backend_use_ssl"]["ssl_cert_reqs"] == "required"


def test_a_worker_reads_only_its_queues_even_after_sending_to_another() -> None:
    app = create_app(SETTINGS)
    assert app.amqp.queues["shop"].name == "shop"
    assert set(app.amqp.queues.consume_from) == {
        "celery",
        "boomerang.submit",
        "boomerang.reconcile",
        "boomerang.deliver",
    }


def test_each_app_has_its_own_tasks() -> None:
    app = create_app(SETTINGS)
    ours = {name for name in app.tasks if not name.startswith("celery.")}
    assert ours == {f"boomerang.{name}" for name in ("generate", "submit", "reconcile", "deliver", "save")}
    other = create_app(SETTINGS)
    assert other.tasks["boomerang.submit"] is not app.tasks["boomerang.submit"]


def test_beat_has_one_entry_without_countdown_or_expiry() -> None:
    schedule = configuration(SETTINGS)["beat_schedule"]
    assert [entry["task"] for entry in schedule.values()] == ["boomerang.reconcile"]
    assert schedule["boomerang.reconcile"]["schedule"] == 1.0
    # An expiry would depend on the clock of the worker that takes the message
    assert {"countdown", "expires"}.isdisjoint(schedule["boomerang.reconcile"]["options"])


# --- the environment ------------------------------------------------------------------------------------------------


def test_every_bad_variable_is_named_at_once() -> None:
    bad = {
        "BOOMERANG_REDIS_URL": "http://x",
        "BOOMERANG_PROVIDER_URL": "ftp://x",
        "BOOMERANG_PROVIDER_KEY": "two words",
        "BOOMERANG_LOOKUP_PATH": "no-id",
        "BOOMERANG_ENVELOPE": "round",
        "BOOMERANG_CONCURRENCY": "0",
        "BOOMERANG_SUBMIT_GROUP": "many",
        "BOOMERANG_READ_TIMEOUT": "-1",
        "BOOMERANG_POLL_FIRST": "soon",
        "BOOMERANG_AMBIGUOUS": "guess",
        "BOOMERANG_EVENTS": "maybe",
        "BOOMERANG_MAX_ATTEMPTS": "0",
    }
    with pytest.raises(SettingsInvalid) as raised:
        Settings.from_env(bad)
    named = {problem.partition(":")[0] for problem in raised.value.problems}
    assert named == bad.keys()
    assert "two words" not in str(raised.value)


def test_a_lease_shorter_than_a_post_is_refused() -> None:
    env = {"BOOMERANG_PROVIDER_KEY": "k", "BOOMERANG_SUBMIT_LEASE": "20", "BOOMERANG_READ_TIMEOUT": "20"}
    with pytest.raises(SettingsInvalid, match="BOOMERANG_SUBMIT_LEASE: must be at least 5 s longer"):
        Settings.from_env(env)


def test_the_key_is_in_no_repr() -> None:
    settings = Settings.from_env({"BOOMERANG_PROVIDER_KEY": "canary", "BOOMERANG_REDIS_URL": "redis://:canary@x/0"})
    assert settings.provider_key == "canary"
    assert "canary" not in repr(settings)


@pytest.mark.stack
def test_a_process_with_invalid_settings_names_them_and_ends() -> None:
    bad = {"BOOMERANG_CONCURRENCY": "0", "BOOMERANG_PROVIDER_URL": "x"}
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **bad}
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker.main:app", "worker"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert all(name in done.stderr for name in bad)
    assert "Traceback" not in done.stderr


NO_SOCKETS = """
import socket, sys
def refuse(*args, **kwargs):
    raise SystemExit(f"a socket was opened at import: {args}")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
import threading
before = threading.active_count()
import worker.main
assert threading.active_count() == before, threading.enumerate()
sys.stdout.write(worker.main.app.main)
"""


@pytest.mark.stack
def test_importing_opens_no_socket_and_starts_no_thread() -> None:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "BOOMERANG_PROVIDER_KEY": "k"}
    done = subprocess.run(
        [sys.executable, "-c", NO_SOCKETS], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "boomerang"), done.stderr


# --- real processes -------------------------------------------------------------------------------------------------


def _message(body: bytes, content_type: str = "application/json", task: str = "boomerang.submit") -> str:
    headers = {"lang": "py", "task": task, "id": "x", "argsrepr": "", "kwargsrepr": "", "retries": 0}
    properties = {
        "correlation_id": "x",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": "boomerang.submit"},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": os.urandom(8).hex(),
    }
    return json.dumps(
        {
            "body": b64encode(body).decode(),
            "content-encoding": "binary" if "python" in content_type else "utf-8",
            "content-type": content_type,
            "headers": headers,
            "properties": properties,
        }
    )


class Trap:
    """An object that makes a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.stack
def test_worker_and_beat_start_from_the_environment_alone_and_survive_bad_messages(
    env: dict[str, str], processes: Processes, world: MakeWorld, tmp_path: Path, wait_for: WaitFor
) -> None:
    w = world(concurrency=2)
    # Given malformed messages before and between good ones
    trap = tmp_path / "trap"
    empty = json.dumps([[], {}, {}]).encode()
    bad = [
        _message(pickle.dumps([[Trap(trap)], {}, {}]), "application/x-python-serialize"),
        _message(b"not JSON"),
        # These two would end a plain Celery worker, and the second also every worker after it
        "no message",
        _message(b"[1]"),
        _message(json.dumps([["no-such-job"], {}, {}]).encode()),
        _message(json.dumps([[1, None, {}], {"x": 1}, {}]).encode()),
        _message(empty, task="boomerang.no-such-task"),
        _message(empty, task="celery.backend_cleanup"),
    ]
    w.enqueue("job-1")
    w.redis.lpush("boomerang.submit", *bad, _message(empty))
    # When the processes start
    worker, log = processes.start(env, "worker")
    beat, _ = processes.start(env, "beat")
    # Then the job ends, and no message is left
    wait_for(lambda: w.job().state.final, 40)
    wait_for(lambda: w.messages_in("boomerang.submit") == 0 and w.redis.hlen("unacked") == 0, 20)
    assert not trap.exists()
    assert worker.poll() is None
    assert beat.poll() is None
    # And the worker ends cleanly on SIGTERM
    worker.terminate()
    beat.terminate()
    assert worker.wait(40) == 0
    beat.wait(20)
    assert "canary" not in log.read_text()
    assert list(ROOT.glob("celerybeat*")) == []


@pytest.mark.stack
@pytest.mark.parametrize("switch", Switch)
def test_remote_control_is_optional_and_gossip_is_off(
    env: dict[str, str], processes: Processes, world: MakeWorld, wait_for: WaitFor, switch: Switch
) -> None:
    # Given a worker, and beat, with a broker in a database that no other test uses
    database = "5"
    env["BOOMERANG_BROKER_URL"] = f"{env['BOOMERANG_REDIS_URL'].rpartition('/')[0]}/{database}"
    w = world(broker_url=env["BOOMERANG_BROKER_URL"])
    w.enqueue("job-1")
    worker, log = processes.start({**env, "BOOMERANG_REMOTE_CONTROL": switch.value}, "worker", "--loglevel=info")
    processes.start(env, "beat")
    # When the job has ended
    wait_for(lambda: w.job().state.final, 40)
    # Then the worker answers a ping only when remote control is on
    answers = w.app.control.ping(timeout=1.0)
    assert len(answers) == (switch is Switch.ON)
    # And it subscribes to nothing else
    clients = [each for each in w.redis.client_list() if each["db"] == database]
    patterns = {name for each in clients if (name := each["psub"]) != "0"}
    assert clients
    assert patterns == ({"1"} if switch is Switch.ON else set())
    assert "mingle" not in log.read_text()
    worker.terminate()
    assert worker.wait(40) == 0


def test_only_internal_tasks_ignore_their_results() -> None:
    """Those of Celery follow jobs: `self.replace(group(…))` waits for the result of `celery.accumulate`."""
    tasks = create_app(SETTINGS).tasks
    internal = {*(f"boomerang.{name}" for name in ("submit", "reconcile", "deliver", "save")), "celery.chord_unlock"}
    assert {name for name, task in tasks.items() if task.ignore_result} == internal


def step_of(app: Celery, name: str) -> Any:
    (step,) = [each for each in app.steps["worker"] if getattr(each, "__name__", "") == name]
    return step


def test_a_worker_that_stops_begins_no_notification(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Services] = []

    def create(app: Celery, settings: Settings) -> Services:
        made.append(Services(app, settings))
        return made[-1]

    monkeypatch.setattr("worker.app.Services", create)
    step = step_of(create_app(SETTINGS), "BeginNoMore")(SimpleNamespace())
    step.stop(None)
    assert made[0].stopping.is_set()
    step.start(None)
    assert not made[0].stopping.is_set()


def test_a_worker_with_a_public_url_needs_callback_secrets_but_beat_and_flower_do_not() -> None:
    lacks = Settings(provider_key="k", public_url="https://boomerang.example.com", broker_url="memory://")
    app = create_app(lacks)
    step = step_of(app, "NeedsSecrets")
    with pytest.raises(SystemExit, match="BOOMERANG_CALLBACK_SECRETS"):
        step(None)
    # A worker that only delivers needs none.
    app.amqp.queues.select([DELIVER])
    assert step(SimpleNamespace())
    assert create_app(replace(lacks, provider_key=None)).conf.beat_schedule
