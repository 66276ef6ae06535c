"""The processes of a local stack: the command of each, and its environment, limited to what it needs."""

import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jobs.lanes import PROVIDER_KEY
from jobs.settings import Settings
from ops.local.child import ChildSpec, warning_lines
from ops.local.data_folder import FLOWER_ADDRESS, Secrets
from ops.local.loopback import responds
from ops.local.redis_server import RedisCommand, is_ready

#: Those in one group stop together. The worker needs the provider, the broker and the jobs' Redis to finish its
#: submissions. What the webhook and beat still send waits in the broker. The jobs' Redis stops last.
STOP_ORDER = (("webhook", "beat", "worker"), ("simulator", "flower"), ("broker",), ("redis",))
#: Seconds: more than the longest call to the provider.
WORKER_STOP_LIMIT = 40.0
#: Children run the same code as this process, installed or not, and write their logs unbuffered.
_PYTHON = {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PYTHONUNBUFFERED": "1"}
_ACCESS_KEYS = ("BOOMERANG_ADMIN_KEYS", "BOOMERANG_API_KEYS")
#: With it, administrators make and revoke keys on the webhook's page.
_KEYS_URL = "BOOMERANG_KEYS_REDIS_URL"
#: Secrets that only the webhook gets, and those that only the worker gets.
_WEBHOOK_ONLY = ("BOOMERANG_SESSION_SECRET", _KEYS_URL, "BOOMERANG_METRICS_TOKEN", "BOOMERANG_SIGNATURE_SECRETS")
_WORKER_ONLY = ("BOOMERANG_NOTICES", "BOOMERANG_NOTIFY_SECRETS", "BOOMERANG_PROVIDER_PROXY")
_CALLBACK_SECRETS = "BOOMERANG_CALLBACK_SECRETS"
#: Beat and Flower make and check neither callback addresses nor links.
_CALLBACKS = ("BOOMERANG_PUBLIC_URL", _CALLBACK_SECRETS, "BOOMERANG_LINK_SECRETS")
_KEYS = (PROVIDER_KEY, *_ACCESS_KEYS, *_WEBHOOK_ONLY, *_WORKER_ONLY)
_STATE_URL = "BOOMERANG_REDIS_URL"
_RESULT_STORE = "BOOMERANG_RESULT_STORE"
#: The names of the two Redis servers: the first one holds the jobs.
STATE, BROKER = "redis", "broker"
#: The processes that use them.
USERS = ("webhook", "worker", "beat", "flower")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that is decided before a process starts.

    `simulator`: its command line options; None if the real provider is used. `environ`: the environment of the command.
    """

    folder: Path
    ports: Mapping[str, int]
    secrets: Secrets
    environ: Mapping[str, str] = field(repr=False)
    webhook_fd: int
    flower: bool = True
    simulator: str | None = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    def url(self, name: str) -> str:
        """Return the address of the named process."""
        return f"http://127.0.0.1:{self.ports[name]}"

    @property
    def public_url(self) -> str | None:
        """The address at which the provider reaches the webhook. A real one cannot reach loopback."""
        given = self.environ.get("BOOMERANG_PUBLIC_URL")
        return given or (self.url("webhook") if self.simulator is not None else None)

    @property
    def keys(self) -> dict[str, str]:
        """The access keys of the webhook, by variable: those of the environment, else one administrator's key."""
        given = {name: self.environ[name] for name in _ACCESS_KEYS if self.environ.get(name, "").strip()}
        return given or {"BOOMERANG_ADMIN_KEYS": f"local:{self.secrets.api_key}"}

    @property
    def first_key(self) -> str:
        """The secret of the first key, without its name; an administrator's key if there is one."""
        name, named, secret = next(iter(self.keys.values())).split(",")[0].strip().partition(":")
        return secret if named else name


def environment(plan: Plan, redis_url: str | None, broker_url: str | None = None) -> dict[str, str]:
    """Return the settings that worker and webhook get, without the secrets that only one of them needs.

    Celery results are kept in the broker's Redis, so that no producer needs access to the jobs; RabbitMQ keeps no
    results. `redis_url` None: the process does not use the jobs. `broker_url` None: one Redis serves both purposes.
    """
    broker_url = broker_url or redis_url or ""
    result_url = redis_url or "" if broker_url.startswith("amqp") else broker_url
    given = {name: value for name, value in plan.environ.items() if not name.startswith((*_KEYS, _STATE_URL))}
    env = {
        _RESULT_STORE: f"file://{plan.folder.resolve() / 'results'}",
        **given,
        "BOOMERANG_ALLOW_PRIVATE_HOSTS": "1",  # producers and simulator are on loopback
        _CALLBACK_SECRETS: plan.environ.get(_CALLBACK_SECRETS) or plan.secrets.callback_secret,
        **plan.settings,
        **({_STATE_URL: redis_url} if redis_url else {}),
        "BOOMERANG_BROKER_URL": broker_url,
        "BOOMERANG_RESULT_URL": result_url,
        **_PYTHON,
    }
    if plan.public_url:
        env["BOOMERANG_PUBLIC_URL"] = plan.public_url
    if plan.simulator is not None:
        env["BOOMERANG_PROVIDER_URL"] = plan.url("simulator")
    return env


def doctor_environment(plan: Plan, redis_url: str, broker_url: str) -> dict[str, str]:
    """Return the settings that `boomerang-server doctor` needs, without the secrets of the command's environment."""
    env = environment(plan, redis_url, broker_url)
    if plan.simulator is not None:
        env |= _provider_keys(plan, env)
    if plan.flower:
        env[FLOWER_ADDRESS] = plan.url("flower")
    changed = {name: value for name, value in {**env, **plan.keys}.items() if plan.environ.get(name) != value}
    return {name: value for name, value in changed.items() if name.startswith("BOOMERANG_") or name == FLOWER_ADDRESS}


def redis_process(name: str, command: RedisCommand) -> ChildSpec:
    """Describe a Redis server: the jobs' or the broker's."""
    env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **command.env}
    return ChildSpec(
        name=name,
        argv=command.argv,
        env=env,
        ready=lambda: is_ready(command.url),
        stop_limit=30.0,
        # Redis logs WARNINGs about the kernel's settings at every start.
        warnings=re.compile(rb"^(?!.*WARNING).*\b([Ee]rror|[Ff]ail|MISCONF|OOM)"),
    )


def service_processes(
    plan: Plan, state: Mapping[str, str], broker: Mapping[str, str], keys_url: str | None = None
) -> list[ChildSpec]:
    """Describe all processes but Redis, in starting order. `state`, `broker`: the Redis URLs of each process.

    `keys_url`: the jobs' Redis with the user that may write keys.
    """

    def env(process: str) -> dict[str, str]:
        return environment(plan, state.get(process), broker[process])

    celery = (sys.executable, "-m", "celery", "-A", "worker.main:app")
    specs = []
    if plan.simulator is not None:
        specs.append(_simulator(plan))
    specs += [
        ChildSpec(
            name="webhook",
            # The stack owns the socket: see `ops.local.data_folder.open_listener`.
            argv=(
                *(sys.executable, "-m", "gunicorn", "--config", "python:webhook.gunicorn_conf"),
                *("--bind", f"fd://{plan.webhook_fd}", "webhook.wsgi:app"),
            ),
            env={
                **env("webhook"),
                **plan.keys,
                **_given(plan, _WEBHOOK_ONLY),
                # A given address counts, even where this stack has a Redis of its own.
                **({_KEYS_URL: keys_url} if keys_url and not plan.environ.get(_KEYS_URL) else {}),
            },
            ready=responds(f"{plan.url('webhook')}/readyz"),
            pass_fds=(plan.webhook_fd,),
            # The doctor sends a callback for a job that does not exist.
            warnings=warning_lines(without=rb"boomerang-doctor~"),
        ),
        ChildSpec(
            name="worker",
            argv=(*celery, "worker"),
            env={**env("worker"), **_provider_keys(plan, env("worker")), **_given(plan, _WORKER_ONLY)},
            stop_limit=WORKER_STOP_LIMIT,
        ),
        ChildSpec(
            name="beat",
            argv=(*celery, "beat"),
            env=_without_callbacks(env("beat")),
        ),
    ]
    if plan.flower:
        specs.append(_flower(plan, _without_callbacks(env("flower")), celery))
    return specs


def _given(plan: Plan, names: tuple[str, ...]) -> dict[str, str]:
    return {name: plan.environ.get(name, "") for name in names}


def _without_callbacks(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in _CALLBACKS}


def _provider_keys(plan: Plan, env: Mapping[str, str]) -> dict[str, str]:
    """Return the provider keys of all lanes: those of the environment, else the simulator's."""
    given = {name: value for name, value in plan.environ.items() if name.startswith(PROVIDER_KEY) and value.strip()}
    lanes = Settings.from_env(env).lanes
    return {**{lane.key_variable: plan.secrets.provider_key for lane in lanes}, **given}


def _simulator(plan: Plan) -> ChildSpec:
    argv = (sys.executable, "-m", "ops.simulator", "--port", str(plan.ports["simulator"]))
    keep = ("--ledger", str(plan.folder / "ledger.jsonl"))
    bare = {name: value for name, value in plan.environ.items() if not name.startswith("BOOMERANG_")}
    return ChildSpec(
        name="simulator",
        argv=(*argv, *keep, *shlex.split(plan.simulator or "")),
        # In the environment, because every user of the machine can read command lines.
        env={**bare, **_PYTHON, "BOOMERANG_SIMULATOR_KEYS": plan.secrets.provider_key},
        ready=responds(f"{plan.url('simulator')}/_sim/stats"),
    )


def _flower(plan: Plan, env: Mapping[str, str], celery: tuple[str, ...]) -> ChildSpec:
    settings = {
        "FLOWER_ADDRESS": "127.0.0.1",
        "FLOWER_PORT": str(plan.ports["flower"]),
        "FLOWER_BASIC_AUTH": f"boomerang:{plan.secrets.flower_password}",
        "FLOWER_COOKIE_SECRET": plan.secrets.flower_cookie_secret,
        # The worker sends events about jobs. Celery's events would show messages instead.
        "FLOWER_ENABLE_EVENTS": "False",
        # Flower can shut workers down otherwise.
        "FLOWER_READ_ONLY": "True",
    }
    return ChildSpec(
        name="flower",
        argv=(*celery, "flower"),
        env={**env, **settings},
        # Its inspector warns while the first worker still starts.
        warnings=warning_lines(without=rb"flower\.inspector"),
        ready=responds(f"{plan.url('flower')}/healthcheck"),
    )
