import hashlib
import json
import os
import re
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import click
import pytest
import redis
import yaml
from celery.bin.base import CLIContext
from celery.bin.celery import celery as celery_command
from flower import options as flower_options
from gunicorn.app.wsgiapp import WSGIApplication

from jobs.links import Links
from jobs.setting import settings_of
from jobs.task_names import DELIVER, SAVE
from ops import access
from ops.cli import main
from ops.local.data_folder import PREFERRED_PORTS
from ops.local.redis_server import find_binary, free_port, is_ready
from ops.simulator.server import create_app as create_simulator
from ops.simulator.settings import Settings as SimulatorSettings
from tests.support.waiting import WaitFor
from webhook.app import create_app as create_webhook
from webhook.server.worker import Worker
from webhook.settings import Settings as WebhookSettings
from worker.app import create_app as create_worker
from worker.health import HEALTH_FILE
from worker.settings import Settings as WorkerSettings

ROOT = Path(__file__).parents[2]
#: Example values for .env.
ENV_FILE = {
    **{f"BOOMERANG_REDIS_PASSWORD_{user}": f"jobs-secret-of-{user}" for user in ("WORKER", "WEBHOOK", "OPERATOR")},
    **{
        f"BOOMERANG_BROKER_PASSWORD_{user}": f"broker-secret-of-{user}"
        for user in ("WORKER", "WEBHOOK", "BEAT", "FLOWER", "OPERATOR", "PRODUCER")
    },
    "BOOMERANG_CALLBACK_SECRETS": "a-callback-secret-of-some-length",
    "BOOMERANG_API_KEYS": "a-key-of-some-length",
    "BOOMERANG_PROVIDER_KEY": "provider-key",
    "BOOMERANG_RESULT_STORE": "file:///results",
    "BOOMERANG_PUBLIC_URL": "https://boomerang.example",
    "BOOMERANG_LINK_URL": "https://images.example",
    "BOOMERANG_LINK_SECRETS": "a-link-secret-of-some-length",
    "BOOMERANG_LINK_LIFE": "3600",
    "FLOWER_BASIC_AUTH": "user:password",
    "FLOWER_COOKIE_SECRET": "cookie",
}
#: Commands are called through their group, as a user does.
GROUP = click.Context(main, **main.context_settings)
CELERY = ("worker", "deliverer", "saver", "beat", "flower")
#: service -> what follows Celery's command
ARGUMENTS = {
    "worker": ["-X", f"{DELIVER},{SAVE}"],
    "deliverer": ["-Q", DELIVER, "-n", "deliverer@%h"],
    "saver": ["-Q", SAVE, "-n", "saver@%h"],
}
#: service -> its user at the Redis servers, unless it has its name
USERS = {"deliverer": "worker", "saver": "worker"}
OURS = (*CELERY, "webhook", "operator")
#: server -> its users' file (ops.access), and its `appendfsync`
REDIS = {"redis": ("state", "always"), "broker": ("broker", "everysec")}
TEXT = (ROOT / "docker-compose.yml").read_text()
EXAMPLE = (ROOT / "ops" / "compose.env.example").read_text()
LOADED = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = LOADED["services"]
VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?::([-?])([^}]*))?\})")


def filled(text: object) -> str:
    """Interpolate variables as Compose does, as far as this file needs it."""

    def value(found: re.Match[str]) -> str:
        name, kind, token = found.groups()
        if name is None:
            return "$"
        if ENV_FILE.get(name):
            return ENV_FILE[name]
        assert kind == "-", f"{name} has no default and is not in .env: {token}"
        return token

    return VARIABLE.sub(value, str(text))


def environment(service: str) -> dict[str, str]:
    return {name: filled(value) for name, value in SERVICES[service].get("environment", {}).items()}


def command(service: str) -> list[str]:
    return [filled(token) for token in SERVICES[service]["command"]]


def urls(service: str, server: str) -> list[str]:
    """Return a service's URLs of one Redis."""
    named = environment(service).items()
    return [value for name, value in named if name.endswith("_URL") and f"@{server}:6379/0" in value]


def size(text: str) -> int:
    """Parse a size in the notation of Docker and Redis into bytes."""
    number, unit = re.fullmatch(r"(\d+)([mg])b?", text).groups()
    return int(number) * {"m": 2**20, "g": 2**30}[unit]


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def inner_port(service: str) -> str:
    (published,) = SERVICES[service]["ports"]
    return filled(published).rpartition(":")[2]


def checked_url(service: str) -> Any:
    (found,) = re.findall(r"http://[^']+", SERVICES[service]["healthcheck"]["test"][-1])
    return urlsplit(found)


def test_each_process_of_the_stack_is_a_service() -> None:
    assert set(SERVICES) == {*REDIS, *OURS, "simulator"}
    profiles = {name: each["profiles"] for name, each in SERVICES.items() if "profiles" in each}
    assert profiles == {"simulator": ["simulator"], "operator": ["tools"]}


@pytest.mark.parametrize("service", CELERY)
def test_celery_is_started_with_the_app_and_a_valid_command(service: str) -> None:
    args = command(service)
    name = service if service in celery_command.commands else "worker"
    assert args == ["celery", "-q", "-A", "worker.main:app", name, *ARGUMENTS.get(service, [])]
    group = CLIContext(create_worker(WorkerSettings()), no_color=True, workdir="", quiet=True)
    assert celery_command.commands[name].make_context(name, args[5:], obj=group)


def test_the_workers_together_read_every_queue() -> None:
    everything = set(create_worker(WorkerSettings.from_env(environment("worker"))).amqp.queues.consume_from)
    read: dict[str, set[str]] = {}
    for service, (option, name, *_) in ARGUMENTS.items():
        queues = create_worker(WorkerSettings.from_env(environment(service))).amqp.queues
        (queues.select if option == "-Q" else queues.deselect)(name.split(","))
        read[service] = set(queues.consume_from)
    assert sum(map(len, read.values())) == len(everything)
    assert set().union(*read.values()) == everything


@pytest.mark.stack
@pytest.mark.parametrize("service", ["worker", "deliverer", "saver", "webhook"])
def test_each_process_starts_with_its_environment_alone(service: str) -> None:
    (target,) = [token for token in command(service) if token.endswith(":app")]
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
    assert gunicorn.cfg.worker_class is Worker
    assert gunicorn.cfg.address == [("0.0.0.0", int(inner_port("webhook")))]


def test_the_simulators_options_are_valid() -> None:
    program, *args = command("simulator")
    assert program == "boomerang-server"
    name, chosen, rest = main.resolve_command(main.make_context(program, args), args)
    assert (name, chosen is not None) == ("simulate", True)
    assert chosen
    given = chosen.make_context("simulate", rest, parent=GROUP).params
    assert (given["host"], str(given["port"])) == ("0.0.0.0", inner_port("simulator"))
    assert environment("simulator")["BOOMERANG_SIMULATOR_KEYS"] == environment("worker")["BOOMERANG_PROVIDER_KEY"]
    # Users on the host fetch the images from the published port.
    assert given["public_url"] == f"http://{filled(SERVICES['simulator']['ports'][0]).rpartition(':')[0]}"


@pytest.mark.parametrize("service", [*CELERY, "webhook"])
def test_each_process_reads_every_variable_that_it_gets(service: str) -> None:
    settings = WebhookSettings if service == "webhook" else WorkerSettings
    known = {each.variable for each in settings_of(settings).values()}
    given = environment(service)
    assert {name for name in given if name.startswith("BOOMERANG_")} - known == set()
    assert all(name.startswith(("BOOMERANG_", "FLOWER_")) for name in given)
    # And all of them are valid.
    settings.from_env(given)


def test_flowers_options_exist() -> None:
    named = {name.removeprefix("FLOWER_").lower() for name in environment("flower") if name.startswith("FLOWER_")}
    assert {"basic_auth", "port", "address"} <= named
    assert {name for name in named if name not in flower_options.options} == set()
    assert environment("flower")["FLOWER_PORT"] == inner_port("flower")


def test_only_worker_and_operator_have_the_providers_key() -> None:
    holders = [name for name in SERVICES if "provider-key" in environment(name).values()]
    assert holders == ["worker", "operator", "simulator"]
    (keys,) = SERVICES["worker"]["env_file"]
    assert [name for name in SERVICES if keys in SERVICES[name].get("env_file", [])] == ["worker", "operator"]


def test_only_processes_that_make_or_check_callback_addresses_have_their_secrets() -> None:
    holders = [name for name in SERVICES if "BOOMERANG_CALLBACK_SECRETS" in environment(name)]
    assert holders == ["worker", "webhook", "operator"]


@pytest.mark.parametrize("service", ["worker", "deliverer"])
def test_notifications_and_celery_results_have_links_that_the_webhook_accepts(service: str) -> None:
    link = Links.of(WorkerSettings.from_env(environment(service))).make("fox", 0)
    assert link
    asked = urlsplit(link.url)
    assert asked.netloc == "images.example"
    ((end,), (signature,)) = parse_qs(asked.query).values()
    assert Links.of(WebhookSettings.from_env(environment("webhook"))).is_genuine("fox", 0, int(end), signature)


def test_each_process_that_uses_the_result_store_has_it() -> None:
    for service in ("saver", "webhook", "operator"):
        assert "results:/results" in SERVICES[service]["volumes"]
        assert {"path": "result-keys.env", "required": False} in SERVICES[service]["env_file"]


def test_the_operator_has_all_that_the_commands_need() -> None:
    given = environment("operator")
    users = {"BOOMERANG_REDIS_URL", "BOOMERANG_BROKER_URL", "BOOMERANG_RESULT_URL"}
    for service in ("worker", "deliverer", "webhook"):
        # The doctor judges settings as these processes have them.
        judged = {name for name, value in SERVICES[service]["environment"].items() if "${" in value} - users
        assert {name: given[name] for name in judged} == {name: environment(service)[name] for name in judged}
    assert {urlsplit(given[name]).username for name in users} == {"operator"}
    assert {name: urlsplit(given[name]).hostname for name in users} == {
        name: urlsplit(environment("worker")[name]).hostname for name in users
    }
    # The doctor finds Flower without an option.
    assert urlsplit(given["BOOMERANG_FLOWER_URL"]).netloc == f"flower:{inner_port('flower')}"
    assert SERVICES["operator"]["entrypoint"] == ["boomerang-server"]
    # Each command has its own container.
    assert SERVICES["operator"]["restart"] == "no"


def test_the_doctor_reads_flowers_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOMERANG_FLOWER_URL", environment("operator")["BOOMERANG_FLOWER_URL"])
    context = main.commands["doctor"].make_context("doctor", [], parent=GROUP)
    assert context.params["flower"] == "http://flower:5555"


def test_health_checks_call_what_the_processes_serve() -> None:
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
    for service in ("worker", "deliverer"):
        assert SERVICES[service]["healthcheck"]["test"] == ["CMD", "python", "-m", "worker.health"]
        # On the only file system that is writable.
        assert environment(service)[HEALTH_FILE].startswith("/tmp/")


@pytest.mark.stack
@pytest.mark.parametrize("server", REDIS)
def test_redis_runs_with_this_configuration(server: str, tmp_path: Path, wait_for: WaitFor) -> None:
    users, fsync = REDIS[server]
    args = [token.replace("/access/", f"{ROOT}/ops/access/") for token in command(server)]
    port = free_port()
    (tmp_path / "redis-server").symlink_to(find_binary())
    env = os.environ | environment(server) | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    args += ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)]
    with subprocess.Popen(args, env=env, stdout=subprocess.DEVNULL) as process:
        try:
            url = f"redis://operator:{environment(server)['BOOMERANG_REDIS_PASSWORD_OPERATOR']}@127.0.0.1:{port}/0"
            wait_for(lambda: is_ready(url), message="it has started")
            with redis.Redis.from_url(url) as client:
                wanted = {"appendonly": "yes", "appendfsync": fsync, "maxmemory-policy": "noeviction", "save": ""}
                assert {name: client.config_get(name)[name] for name in wanted} == wanted
            # As its health check does
            assert is_ready(f"redis://health:any@127.0.0.1:{port}/0")
            # Every user logs in with the password from the file,
            for service in OURS:
                own_urls, other = urls(service, server), urls(service, *set(REDIS) - {server})
                assert bool(own_urls) == (USERS.get(service, service) in access.users(users))
                assert all(is_ready(each.replace(f"@{server}:6379", f"@127.0.0.1:{port}")) for each in own_urls)
                # and not with the password for the other server.
                for each in other:
                    login = urlsplit(each).netloc.rpartition("@")[0]
                    lost = redis.Redis.from_url(f"redis://{login}@127.0.0.1:{port}/0")
                    with lost, pytest.raises(redis.AuthenticationError):
                        lost.ping()
        finally:
            process.terminate()


@pytest.mark.parametrize("server", REDIS)
def test_new_access_rules_create_the_containers_of_redis_anew(server: str) -> None:
    files = sorted(each for each in access.FOLDER.iterdir() if each.suffix in (".acl", ".sh"))
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in files)).hexdigest()[:16]
    assert LOADED["services"][server]["labels"] == {"boomerang.access": digest}


@pytest.mark.parametrize("server", REDIS)
def test_redis_persists_its_data_and_publishes_no_port(server: str) -> None:
    each = SERVICES[server]
    assert each["volumes"] == [f"{server}:/data", "./ops/access:/access:ro"]
    assert server in LOADED["volumes"]
    assert "ports" not in each
    (network,) = each["networks"]
    assert LOADED["networks"][network] == {"internal": True}


def test_a_process_shares_a_network_with_a_server_only_if_it_has_a_user_there() -> None:
    for server, (users, _) in REDIS.items():
        (network,) = SERVICES[server]["networks"]
        there = {name for name, each in SERVICES.items() if network in each["networks"]}
        assert there == {server, *(name for name in OURS if USERS.get(name, name) in access.users(users))}
        # Exactly the processes with a URL of that server can reach it.
        assert there - {server} == {name for name in SERVICES if urls(name, server)}


def test_each_process_has_only_its_own_users_passwords() -> None:
    for service in OURS:
        text = str(environment(service))
        assert set(re.findall(r"secret-of-([A-Z]+)", text)) == {USERS.get(service, service).upper()}
    for server, (users, _) in REDIS.items():
        kind = "jobs" if server == "redis" else server
        there = [user.upper() for user in access.users(users)]
        wanted = {f"BOOMERANG_REDIS_PASSWORD_{user}": f"{kind}-secret-of-{user}" for user in there}
        given = environment(server)
        assert {name: value for name, value in given.items() if "PASSWORD" in name} == wanted


@pytest.mark.parametrize("service", list(SERVICES))
def test_every_container_has_minimal_privileges(service: str) -> None:
    each = SERVICES[service]
    assert each["read_only"] is True
    assert each["cap_drop"] == ["ALL"]
    assert each["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in each
    assert "healthcheck" in each or service in ("beat", "operator")
    assert all(filled(port).startswith("127.0.0.1:") for port in each.get("ports", ()))
    assert size(filled(each["mem_limit"])) >= 256 * 2**20
    assert each["pids_limit"] >= 128


@pytest.mark.parametrize("server", REDIS)
def test_redis_reaches_its_limit_before_its_container_does(server: str) -> None:
    args = command(server)
    most = size(args[args.index("--maxmemory") + 1])
    # During a rewrite of the file, a child may hold a copy of all data.
    assert size(filled(SERVICES[server]["mem_limit"])) >= 2 * most + 256 * 2**20


def test_health_checks_report_soon() -> None:
    for name, each in SERVICES.items():
        if "healthcheck" in each:
            check = each["healthcheck"]
            assert seconds(check.get("start_interval", check["interval"])) <= 5, name
            assert seconds(check["start_period"]) >= 30, name


@pytest.mark.parametrize("service", [*CELERY, "webhook", *REDIS])
def test_processes_may_finish_their_work_before_they_are_killed(service: str) -> None:
    assert seconds(SERVICES[service]["stop_grace_period"]) >= 30


def test_every_variable_is_in_the_example_with_its_default_and_in_the_documentation() -> None:
    named = dict(re.findall(r"\$\{(\w+):([-?][^}]*)\}", TEXT))
    assert set(named) == {name for name, _, _ in VARIABLE.findall(TEXT) if name}
    offered = re.findall(r"^(#?)(\w+)=(.*)$", EXAMPLE, re.MULTILINE)
    assert {name for _, name, _ in offered} == set(named)
    page = "".join(
        (ROOT / "docs" / "reference" / f"{name}.md").read_text() for name in ("configuration", "compose-variables")
    )
    assert [name for name in named if f"| `{name}` |" not in page] == []
    # A commented line shows the default, except for the simulator's and an example in JSON.
    simulated = re.findall(r"^#(\w+)=", EXAMPLE.partition("--profile simulator")[2].partition("\n\n")[0], re.MULTILINE)
    for comment, name, value in offered:
        if comment and name not in (*simulated, "BOOMERANG_LANES"):
            assert named[name] == f"-{value}", name
        elif not comment and named[name].startswith("?"):
            assert not value, f"{name} has a value that everybody would share"


def test_ports_are_not_those_of_the_local_stack() -> None:
    published = {int(filled(port).split(":")[1]) for each in SERVICES.values() for port in each.get("ports", ())}
    assert published.isdisjoint(PREFERRED_PORTS.values())
    assert len(published) == 3


def test_each_image_is_built_once_and_never_pulled() -> None:
    images: dict[str, list[str]] = {}
    for name in (*OURS, "simulator"):
        each = SERVICES[name]
        images.setdefault(each["image"], []).extend(["build"] if "build" in each else [])
        assert each["pull_policy"] == "never"
    assert images == {"boomerang": ["build"], "boomerang-simulator": ["build"]}
    assert [name for name, each in SERVICES.items() if "image" not in each] == []
    # By a service without a profile, which always starts.
    assert "build" in SERVICES["worker"]
    dockerfile = (ROOT / SERVICES["worker"]["build"]["dockerfile"]).read_text()
    stages = re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.MULTILINE)
    assert {SERVICES[name]["build"]["target"] for name in ("worker", "simulator")} <= set(stages)


def test_the_address_of_a_proxy_on_the_host_is_fixed() -> None:
    (pool,) = LOADED["networks"]["outside"]["ipam"]["config"]
    first = str(next(ip_network(filled(pool["subnet"])).hosts()))
    assert first in EXAMPLE
    assert first in (ROOT / "docs" / "guides" / "containers.md").read_text()
    # No proxy is trusted by default: without one, any client could set that header.
    assert environment("webhook")["BOOMERANG_TRUSTED_PROXIES"] == ""


def test_the_image_is_built_from_existing_files_and_runs_unprivileged() -> None:
    lines = [line.split() for line in (ROOT / "ops" / "Dockerfile").read_text().splitlines()]
    sources = [
        source
        for token, *rest in filter(None, lines)
        if token == "COPY" and not rest[0].startswith("--from=")
        for source in rest[:-1]
    ]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    # Whole folders are sent to the engine; a stage may copy one file of them.
    assert {source.partition("/")[0] for source in sources} == allowed
    assert [source for source in sources if not (ROOT / source).exists()] == []
    users = [rest for token, *rest in filter(None, lines) if token == "USER"]
    assert users == [["10001:10001"]]


# --- by Compose itself ------------------------------------------------------------------------------------------------


def compose(*args: str, env_file: Path) -> subprocess.CompletedProcess[str]:
    env = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_CONFIG") if name in os.environ}
    command = ["docker", "compose", "--file", str(ROOT / "docker-compose.yml"), "--env-file", str(env_file), *args]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def real() -> None:
    """Return Compose's version of the file. Skip the test where Compose is missing; it needs no engine."""
    try:
        done = subprocess.run(["docker", "compose", "version"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no docker")
    if done.returncode:
        pytest.skip("docker has no compose")


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    """Return a .env made as the page describes, with the values that the page leaves to the reader."""
    (script,) = re.findall(r"```sh\n(umask.+?)```", (ROOT / "docs" / "guides" / "containers.md").read_text(), re.DOTALL)
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops" / "compose.env.example").write_text(EXAMPLE)
    subprocess.run(["sh", "-euc", script], cwd=tmp_path, check=True)
    made = tmp_path / ".env"
    assert made.stat().st_mode & 0o077 == 0
    with made.open("a") as file:
        file.write("BOOMERANG_PROVIDER_KEY=provider-key\n")
    return made


def test_the_page_fills_in_every_secret_with_a_different_value(env_file: Path) -> None:
    given = dict(re.findall(r"^(\w+)=(.*)$", env_file.read_text(), re.MULTILINE))
    must = set(re.findall(r"\$\{(\w+):\?", TEXT))
    assert [name for name in must if not given[name]] == []
    secrets = [value for name, value in given.items() if value and name != "BOOMERANG_PROVIDER_KEY"]
    assert len(set(secrets)) == len(secrets) >= len(must) - 1
    assert all(re.fullmatch(r"(\w+:)?[\w-]{32}", value) for value in secrets)


@pytest.mark.usefixtures("real")
def test_compose_accepts_the_file(env_file: Path) -> None:
    done = compose("--profile", "*", "config", "--format", "json", env_file=env_file)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # every variable is set
    config = json.loads(done.stdout)
    assert config["name"] == "boomerang"
    assert set(config["services"]) == set(SERVICES)
    given = dict(re.findall(r"^(\w+)=(.*)$", env_file.read_text(), re.MULTILINE))
    for name, each in config["services"].items():
        assert int(each["mem_limit"]) > 0
        for variable, value in each["environment"].items() if name in OURS else ():
            if value and variable.endswith(("REDIS_URL", "BROKER_URL", "RESULT_URL")):
                server = "REDIS" if "@redis:" in value else "BROKER"
                assert urlsplit(value).password == given[f"BOOMERANG_{server}_PASSWORD_{name.upper()}"]


@pytest.mark.usefixtures("real")
def test_a_range_of_ports_allows_several_webhooks(env_file: Path) -> None:
    with env_file.open("a") as file:
        file.write("BOOMERANG_PORT=8440-8449\n")
    done = compose("config", "--format", "json", env_file=env_file)
    assert done.returncode == 0, done.stderr
    (port,) = json.loads(done.stdout)["services"]["webhook"]["ports"]
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "8440-8449", 8000)


@pytest.mark.usefixtures("real")
@pytest.mark.parametrize("missing", sorted(set(re.findall(r"\$\{(\w+):\?", TEXT))))
def test_missing_variables_are_named(env_file: Path, missing: str) -> None:
    env_file.write_text(re.sub(rf"^{missing}=.*$", f"{missing}=", env_file.read_text(), flags=re.MULTILINE))
    done = compose("config", env_file=env_file)
    assert done.returncode != 0
    assert missing in done.stderr
    assert "set it in .env" in done.stderr
