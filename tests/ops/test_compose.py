import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import yaml
from celery.bin.celery import celery as celery_command
from flower import options as flower_options
from gunicorn.app.wsgiapp import WSGIApplication

from jobs.setting import settings_of
from ops import access
from ops.cli import main
from ops.redis_server import answers, find_binary, free_port
from ops.simulator.server import create_app as create_simulator
from ops.simulator.settings import Settings as SimulatorSettings
from webhook.app import create_app as create_webhook
from webhook.settings import Settings as WebhookSettings
from worker.settings import Settings as WorkerSettings

ROOT = Path(__file__).parents[2]
#: What somebody would write into .env.
ENV_FILE = {
    **{
        f"BOOMERANG_REDIS_PASSWORD_{user}": f"secret-of-{user}"
        for user in ("WORKER", "WEBHOOK", "BEAT", "FLOWER", "OPERATOR", "PRODUCER")
    },
    "BOOMERANG_CALLBACK_SECRETS": "a-callback-secret-of-some-length",
    "BOOMERANG_API_KEYS": "key",
    "BOOMERANG_PROVIDER_KEY": "provider-key",
    "BOOMERANG_PUBLIC_URL": "https://boomerang.example",
    "FLOWER_BASIC_AUTH": "user:password",
    "FLOWER_COOKIE_SECRET": "cookie",
}
CELERY = ("worker", "beat", "flower")
OURS = (*CELERY, "webhook", "simulator")
#: server -> its users' file (ops.access), and when its append-only file is on the disk
REDIS = {"redis": ("state", "always"), "broker": ("broker", "everysec")}
LOADED = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = LOADED["services"]
VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?::([-?])([^}]*))?\})")


def filled(text: object) -> str:
    """Compose's own interpolation, as far as this file uses it."""

    def value(found: re.Match[str]) -> str:
        name, kind, word = found.groups()
        if name is None:
            return "$"
        if ENV_FILE.get(name):
            return ENV_FILE[name]
        assert kind == "-", f"{name} has no default and is not in .env: {word}"
        return word

    return VARIABLE.sub(value, str(text))


def environment(service: str) -> dict[str, str]:
    return {name: filled(value) for name, value in SERVICES[service].get("environment", {}).items()}


def command(service: str) -> list[str]:
    return [filled(word) for word in SERVICES[service]["command"]]


def inner_port(service: str) -> str:
    (published,) = SERVICES[service]["ports"]
    return filled(published).rpartition(":")[2]


def checked_url(service: str) -> Any:
    (found,) = re.findall(r"http://[^']+", SERVICES[service]["healthcheck"]["test"][-1])
    return urlsplit(found)


def test_each_process_of_the_stack_is_a_service() -> None:
    assert set(SERVICES) == {*REDIS, *OURS}
    assert SERVICES["simulator"]["profiles"] == ["simulator"]
    assert [name for name, each in SERVICES.items() if "profiles" in each] == ["simulator"]


@pytest.mark.parametrize("service", CELERY)
def test_celery_is_started_with_the_app_and_a_command_it_has(service: str) -> None:
    words = command(service)
    assert words == ["celery", "-q", "-A", "worker.main:app", service]
    assert service in celery_command.commands


@pytest.mark.parametrize("service", ["worker", "webhook"])
def test_the_process_loads_with_that_environment_alone(service: str) -> None:
    (target,) = [word for word in command(service) if word.endswith(":app")]
    module, _, name = target.partition(":")
    program = f"from {module} import {name}; assert {name}"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment(service), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_gunicorn_is_started_with_the_app_and_its_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", command("webhook"))
    gunicorn = WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]")
    assert gunicorn.app_uri == "webhook.wsgi:app"
    assert gunicorn.cfg.worker_class_str == "gthread"
    assert gunicorn.cfg.address == [("0.0.0.0", int(inner_port("webhook")))]


def test_the_simulator_understands_its_options() -> None:
    program, *words = command("simulator")
    assert program == "boomerang-server"
    name, chosen, rest = main.resolve_command(main.make_context(program, words), words)
    assert (name, chosen is not None) == ("simulate", True)
    assert chosen
    given = chosen.make_context("simulate", rest).params
    assert (given["host"], str(given["port"])) == ("0.0.0.0", inner_port("simulator"))
    assert list(given["key"]) == [environment("worker")["BOOMERANG_PROVIDER_KEY"]]


@pytest.mark.parametrize("service", [*CELERY, "webhook"])
def test_every_variable_is_one_that_the_process_reads(service: str) -> None:
    settings = WebhookSettings if service == "webhook" else WorkerSettings
    known = {each.variable for each in settings_of(settings).values()}
    given = environment(service)
    assert {name for name in given if name.startswith("BOOMERANG_")} - known == set()
    assert all(name.startswith(("BOOMERANG_", "FLOWER_")) for name in given)
    # And all of them can be read.
    settings.from_env(given)


def test_flowers_options_exist() -> None:
    named = {name.removeprefix("FLOWER_").lower() for name in environment("flower") if name.startswith("FLOWER_")}
    assert {"basic_auth", "port", "address"} <= named
    assert {name for name in named if name not in flower_options.options} == set()
    assert environment("flower")["FLOWER_PORT"] == inner_port("flower")


def test_the_providers_key_is_in_the_worker_alone() -> None:
    holders = [name for name in SERVICES if "provider-key" in environment(name).values()]
    assert holders == ["worker"]
    assert "BOOMERANG_PROVIDER_KEY" not in environment("webhook")


def test_health_checks_ask_what_the_processes_answer() -> None:
    webhook = create_webhook(WebhookSettings.from_env(environment("webhook")))
    routes = {
        "webhook": {rule.rule for rule in webhook.url_map.iter_rules()},
        "flower": {"/healthcheck"},
        "simulator": {
            route.resource.canonical
            for route in create_simulator(SimulatorSettings()).router.routes()
            if route.resource
        },
    }
    for service, paths in routes.items():
        asked = checked_url(service)
        assert asked.path in paths
        assert str(asked.port) == inner_port(service)
    celery = shlex.split(SERVICES["worker"]["healthcheck"]["test"][-1])
    assert celery[:5] == ["celery", "-A", "worker.main:app", "inspect", "ping"]


@pytest.mark.parametrize("server", REDIS)
def test_redis_runs_as_it_is_written_here(server: str, tmp_path: Path, wait_for: Callable[..., None]) -> None:
    users, fsync = REDIS[server]
    words = [word.replace("/access/", f"{ROOT}/ops/access/") for word in command(server)]
    port = free_port()
    (tmp_path / "redis-server").symlink_to(find_binary())
    env = os.environ | environment(server) | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    words += ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)]
    with subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL) as process:
        try:
            url = f"redis://operator:{ENV_FILE['BOOMERANG_REDIS_PASSWORD_OPERATOR']}@127.0.0.1:{port}/0"
            wait_for(lambda: answers(url), message="it has started")
            with redis.Redis.from_url(url) as client:
                wanted = {"appendonly": "yes", "appendfsync": fsync, "maxmemory-policy": "noeviction", "save": ""}
                assert {name: client.config_get(name)[name] for name in wanted} == wanted
            # As its health check asks
            assert answers(f"redis://health:any@127.0.0.1:{port}/0")
            # Everybody comes in with what the file gives him
            for service in (*CELERY, "webhook"):
                named = environment(service).items()
                own = [value for name, value in named if name.endswith("_URL") and f"@{server}:6379/0" in value]
                assert bool(own) == (service in access.users(users))
                assert all(answers(each.replace(f"@{server}:6379", f"@127.0.0.1:{port}")) for each in own)
        finally:
            process.terminate()


@pytest.mark.parametrize("server", REDIS)
def test_redis_keeps_what_it_has_and_is_not_published(server: str) -> None:
    each = SERVICES[server]
    assert each["volumes"] == [f"{server}:/data", "./ops/access:/access:ro"]
    assert server in LOADED["volumes"]
    assert "ports" not in each
    assert each["networks"] == ["inside"]
    assert LOADED["networks"]["inside"] == {"internal": True}


def test_each_process_has_the_passwords_of_its_own_user_alone() -> None:
    for service in (*CELERY, "webhook"):
        text = str(environment(service))
        assert set(re.findall(r"secret-of-([A-Z]+)", text)) == {service.upper()}


@pytest.mark.parametrize("service", list(SERVICES))
def test_every_container_has_as_few_rights_as_it_needs(service: str) -> None:
    each = SERVICES[service]
    assert each["read_only"] is True
    assert each["cap_drop"] == ["ALL"]
    assert each["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in each
    assert "healthcheck" in each or service == "beat"
    assert all(filled(port).startswith("127.0.0.1:") for port in each.get("ports", ()))


def test_what_must_be_set_is_in_the_example() -> None:
    must = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
    offered = {line.partition("=")[0] for line in (ROOT / "ops" / "compose.env.example").read_text().splitlines()}
    assert must - offered == set()


def test_the_image_is_built_from_what_is_there_and_runs_as_nobody_special() -> None:
    lines = [line.split() for line in (ROOT / "ops" / "Dockerfile").read_text().splitlines()]
    sources = [
        source
        for word, *rest in filter(None, lines)
        if word == "COPY" and rest[0] != "--from=build"
        for source in rest[:-1]
    ]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(sources) == allowed
    assert [source for source in sources if not (ROOT / source).exists()] == []
    users = [rest for word, *rest in filter(None, lines) if word == "USER"]
    assert users == [["10001:10001"]]
    for service in OURS:
        assert (ROOT / SERVICES[service]["build"]["dockerfile"]).exists()
