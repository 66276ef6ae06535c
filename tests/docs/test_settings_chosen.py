"""docs/reference/chosen-settings.md has the value of each setting of Celery, Redis and gunicorn, and a reason."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
import yaml
from gunicorn.config import Config

from jobs.connections.client import connect
from jobs.connections.settings import LOCAL_REDIS
from ops.local import redis_server
from ops.local.redis_server import Fsync
from webhook import gunicorn_conf
from webhook.app import create_app as create_webhook
from webhook.settings import Settings as WebhookSettings
from worker.app import NoMingleOrGossip, create_app
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "chosen-settings.md").read_text("utf-8")
ROW = re.compile(r"^\| `([\w-]+)` \| ([^|]+) \| (\w+) \| ([^|]+) \|$", re.MULTILINE)
WORDS = {"adopted", "adapted", "refused"}
TRANSPORT = (
    *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "health_check_interval", "visibility_timeout"),
    *("unacked_restore_interval", "unacked_restore_throttle", "unacked_restore_limit", "client_name"),
    *("retry_on_timeout", "global_keyprefix"),
)
BROKER = (
    *("broker_connection_retry_on_startup", "broker_connection_max_retries", "broker_channel_error_retry"),
    *("broker_pool_limit", "broker_pool_acquire_timeout"),
)
WORKER = (
    *("task_acks_late", "task_reject_on_worker_lost", "task_retry_on_worker_lost"),
    "worker_cancel_long_running_tasks_on_connection_loss",
    *("worker_prefetch_multiplier", "worker_disable_prefetch", "worker_send_task_events"),
    *("task_time_limit", "task_soft_time_limit", "worker_max_tasks_per_child", "worker_soft_shutdown_timeout"),
    *("worker_enable_soft_shutdown_on_idle", "worker_enable_remote_control", "task_serializer", "result_serializer"),
    *("event_serializer", "accept_content", "result_accept_content", "task_create_missing_queues", "worker_pool"),
    *("worker_concurrency", "redis_socket_timeout", "redis_retry_on_timeout", "redis_backend_health_check_interval"),
    "beat_max_loop_interval",
)
OPTIONS = ("without_mingle", "without_gossip")
CLIENT = ("socket_timeout", "socket_connect_timeout", "health_check_interval")
REDIS = (
    *("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "aof-load-truncated", "save", "maxmemory-policy"),
    *("maxmemory", "tcp-keepalive", "protected-mode", "maxmemory-clients", "enable-debug-command"),
    *("enable-module-command", "client-output-buffer-limit"),
)
GUNICORN = (
    *(
        "worker_class",
        "workers",
        "threads",
        "worker_connections",
        "sendfile",
        "timeout",
        "graceful_timeout",
        "keepalive",
        "limit_request_line",
    ),
    *("limit_request_fields", "limit_request_field_size", "max_requests", "worker_tmp_dir", "forwarded_allow_ips"),
    *("control_socket_disable", "accesslog"),
)
FLASK = ("MAX_CONTENT_LENGTH", "MAX_FORM_MEMORY_SIZE")


def rows(title: str) -> dict[str, tuple[str, str, str]]:
    """Return setting → (value here, decision, reason)."""
    (text,) = re.findall(rf"^### {title}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    found = {name: (here, word, why) for name, here, word, why in ROW.findall(text)}
    assert len(found) == text.count("\n| `"), "a row is malformed or repeated"
    return found


def cell_of(value: Any) -> str:
    """Return a value in the page's notation."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple, set)):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def broker() -> Mapping[str, Any]:
    conf = create_app(Settings()).conf
    transport = conf.broker_transport_options
    return {name: transport.get(name, "unset") for name in TRANSPORT} | {name: conf[name] for name in BROKER}


def worker() -> Mapping[str, Any]:
    parent = SimpleNamespace(options={})
    NoMingleOrGossip(parent)
    conf = create_app(Settings()).conf
    return {name: conf[name] for name in WORKER} | {name: parent.options[name] for name in OPTIONS}


def client() -> Mapping[str, Any]:
    with connect(LOCAL_REDIS) as made:
        given = made.connection_pool.connection_kwargs
        return {name: given[name] for name in CLIENT} | {"retry": given["retry"]._retries}


def web() -> Mapping[str, Any]:
    # A setting that our file does not set has gunicorn's default.
    default = Config().settings
    chosen = {name: getattr(gunicorn_conf, name, default[name].default) for name in GUNICORN}
    flask = create_webhook(WebhookSettings())
    return chosen | {name: flask.config[name] for name in FLASK}


SECTIONS: dict[str, Callable[[], Mapping[str, Any]]] = {
    "The broker, as the worker sees it": broker,
    "The worker": worker,
    "The client of the jobs' Redis": client,
    "gunicorn and Flask": web,
}


@pytest.mark.parametrize("title", SECTIONS)
def test_each_setting_has_the_value_on_the_page(title: str) -> None:
    documented = {name: here for name, (here, _, _) in rows(title).items()}
    assert documented == {name: cell_of(value) for name, value in SECTIONS[title]().items()}


@pytest.mark.parametrize("title", [*SECTIONS, "Redis itself"])
def test_each_setting_has_a_decision_and_a_reason(title: str) -> None:
    found = rows(title)
    assert {word for _, word, _ in found.values()} <= WORDS
    assert [name for name, (_, _, why) in found.items() if len(why) < 8] == []


@pytest.mark.stack
def test_redis_has_the_settings_on_the_page(tmp_path: Path) -> None:
    values_by_name: dict[str, list[str]] = {}
    for fsync in Fsync:
        with (
            redis_server.running(tmp_path / fsync, fsync=fsync) as server,
            redis.Redis.from_url(server.url, decode_responses=True) as asked,
        ):
            for name in REDIS:
                values_by_name.setdefault(name, []).append(str(dict(asked.config_get(name)).get(name, "unset")))
    here = {name: ", ".join(dict.fromkeys(values)) or "none" for name, values in values_by_name.items()}
    # Redis answers in bytes, and includes other classes of clients.
    assert "pubsub 33554432 8388608 60" in here.pop("client-output-buffer-limit")
    # Later servers have settings that older ones do not know.
    unknown = ("maxmemory-clients", "enable-debug-command", "enable-module-command")
    documented = {name: row[0] for name, row in rows("Redis itself").items()}
    assert set(documented) == set(REDIS)
    assert {name: value for name, value in here.items() if name not in unknown} == {
        name: value for name, value in documented.items() if name in here and name not in unknown
    }
    assert {documented[name] for name in unknown} == {"unset"}
    assert {here[name] for name in unknown} <= {"unset", "0", "no"}


@pytest.mark.parametrize(("server", "fsync"), [("redis", "always"), ("broker", "everysec")])
def test_containers_have_the_settings_on_the_page(server: str, fsync: str) -> None:
    words = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"][server]["command"]
    given = dict(zip(words[3::2], words[4::2], strict=True))
    documented = {name: row[0] for name, row in rows("Redis itself").items()}
    expected = {
        "appendonly": documented["appendonly"],
        "appendfsync": fsync,
        "save": "",
        "maxmemory": given["--maxmemory"],
    }
    expected |= {name: documented[name] for name in ("maxmemory-policy", "tcp-keepalive")}
    assert given == {f"--{name}": value for name, value in expected.items()}
