"""The stack's processes: the command of each, and the environment it gets, no more than it needs."""

import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jobs.lanes import PROVIDER_KEY
from jobs.settings import Settings
from ops.local.child import ChildSpec
from ops.local.data_folder import FLOWER_ADDRESS, Secrets
from ops.local.loopback import serves
from ops.local.redis_server import RedisCommand, answers

#: Ends in this order: the way in first; then no new hints; then the worker, which finishes the submissions in its hands
#: and needs provider, broker and state for that; the state last.
STOP_ORDER = ("webhook", "beat", "worker", "simulator", "flower", "broker", "redis")
WORKER_STOP_LIMIT = 40.0  # its longest call to the provider and a little
#: The children run the code that this process runs, installed or not, and their logs are never behind.
_PYTHON = {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PYTHONUNBUFFERED": "1"}
_DOORS = ("BOOMERANG_ADMIN_KEYS", "BOOMERANG_API_KEYS")
#: The webhook's own, which no other process of the service gets.
_WEBHOOKS = ("BOOMERANG_SESSION_SECRET", "BOOMERANG_METRICS_TOKEN")
_KEYS = (PROVIDER_KEY, *_DOORS, *_WEBHOOKS)
_STATE_URL = "BOOMERANG_REDIS_URL"
#: The names of both Redis servers: the first holds the jobs.
STATE, BROKER = "redis", "broker"
#: The processes that talk to them.
USERS = ("webhook", "worker", "beat", "flower")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that is decided before anything starts. `provider_url` is None where the simulator is the provider."""

    folder: Path
    ports: Mapping[str, int]
    secrets: Secrets
    outside: Mapping[str, str] = field(repr=False)
    webhook_fd: int
    flower: bool = True
    simulator: str | None = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    def url(self, name: str) -> str:
        """Where that part answers."""
        return f"http://127.0.0.1:{self.ports[name]}"

    @property
    def public_url(self) -> str | None:
        """Where the provider reaches the webhook; a real one cannot reach this machine's loopback."""
        given = self.outside.get("BOOMERANG_PUBLIC_URL")
        return given or (self.url("webhook") if self.simulator is not None else None)

    @property
    def keys(self) -> dict[str, str]:
        """The webhook's keys, by variable: those given, else one for whoever runs the stack, who may do everything."""
        given = {name: self.outside[name] for name in _DOORS if self.outside.get(name, "").strip()}
        return given or {"BOOMERANG_ADMIN_KEYS": f"local:{self.secrets.api_key}"}

    @property
    def first_key(self) -> str:
        """The first of them as it is sent, without its name; an administrator's where there is one."""
        name, named, secret = next(iter(self.keys.values())).split(",")[0].strip().partition(":")
        return secret if named else name


def environment(plan: Plan, redis_url: str | None, broker_url: str | None = None) -> dict[str, str]:
    """What every process of the service gets. The keys, of the provider and of producers, are not in it.

    Results of Celery producers are where the broker is, so that no producer needs access to the jobs; RabbitMQ keeps
    none. `redis_url` None: a process that has nothing to do with the jobs; `broker_url` None: one Redis for everything.
    """
    broker_url = broker_url or redis_url or ""
    result_url = redis_url or "" if broker_url.startswith("amqp") else broker_url
    given = {name: value for name, value in plan.outside.items() if not name.startswith((*_KEYS, _STATE_URL))}
    env = {
        **given,
        "BOOMERANG_ALLOW_PRIVATE_HOSTS": "1",  # producers and provider of a local stack live on loopback
        "BOOMERANG_CALLBACK_SECRETS": plan.outside.get("BOOMERANG_CALLBACK_SECRETS") or plan.secrets.callback_secret,
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


def for_the_doctor(plan: Plan, redis_url: str, broker_url: str) -> dict[str, str]:
    """What `boomerang-server doctor` needs to know of the stack. Secrets that were given from outside are left out."""
    env = environment(plan, redis_url, broker_url)
    if plan.simulator is not None:
        env |= _provider_keys(plan, env)
    if plan.flower:
        env[FLOWER_ADDRESS] = plan.url("flower")
    told = {name: value for name, value in {**env, **plan.keys}.items() if plan.outside.get(name) != value}
    return {name: value for name, value in told.items() if name.startswith("BOOMERANG_") or name == FLOWER_ADDRESS}


def redis_part(name: str, command: RedisCommand) -> ChildSpec:
    """A Redis server: the state, or the broker."""
    env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **command.env}
    return ChildSpec(
        name=name,
        argv=command.argv,
        env=env,
        ready=lambda: answers(command.url),
        stop_limit=30.0,
        # It greets with WARNINGs about the kernel's settings at every start.
        loud=re.compile(rb"^(?!.*WARNING).*\b([Ee]rror|[Ff]ail|MISCONF|OOM)"),
    )


def service_parts(plan: Plan, state: Mapping[str, str], broker: Mapping[str, str]) -> list[ChildSpec]:
    """Everything but Redis, in the order of starting; `state` and `broker`: their URLs by the process that asks."""

    def env(process: str) -> dict[str, str]:
        return environment(plan, state.get(process), broker[process])

    celery = (sys.executable, "-m", "celery", "-A", "worker.main:app")
    parts = []
    if plan.simulator is not None:
        parts.append(_simulator(plan))
    parts += [
        ChildSpec(
            name="webhook",
            # The socket is the stack's own: see `ops.local.data_folder.listening`.
            argv=(
                *(sys.executable, "-m", "gunicorn", "--config", "python:webhook.gunicorn_conf"),
                *("--bind", f"fd://{plan.webhook_fd}", "webhook.wsgi:app"),
            ),
            env={**env("webhook"), **plan.keys, **{name: plan.outside.get(name, "") for name in _WEBHOOKS}},
            ready=serves(f"{plan.url('webhook')}/readyz"),
            pass_fds=(plan.webhook_fd,),
        ),
        ChildSpec(
            name="worker",
            argv=(*celery, "worker"),
            env={**env("worker"), **_provider_keys(plan, env("worker"))},
            stop_limit=WORKER_STOP_LIMIT,
        ),
        ChildSpec(
            name="beat",
            argv=(*celery, "beat"),
            env=env("beat"),
        ),
    ]
    if plan.flower:
        parts.append(_flower(plan, env("flower"), celery))
    return parts


def _provider_keys(plan: Plan, env: Mapping[str, str]) -> dict[str, str]:
    """The key of every lane; where none was given, the simulator's."""
    given = {name: value for name, value in plan.outside.items() if name.startswith(PROVIDER_KEY) and value.strip()}
    lanes = Settings.from_env(env).lanes
    return {**{lane.key_variable: plan.secrets.provider_key for lane in lanes}, **given}


def _simulator(plan: Plan) -> ChildSpec:
    argv = (sys.executable, "-m", "ops.simulator", "--port", str(plan.ports["simulator"]))
    keep = ("--key", plan.secrets.provider_key, "--ledger", str(plan.folder / "ledger.jsonl"))
    bare = {name: value for name, value in plan.outside.items() if not name.startswith("BOOMERANG_")}
    return ChildSpec(
        name="simulator",
        argv=(*argv, *keep, *shlex.split(plan.simulator or "")),
        env={**bare, **_PYTHON},
        ready=serves(f"{plan.url('simulator')}/_sim/stats"),
    )


def _flower(plan: Plan, env: Mapping[str, str], celery: tuple[str, ...]) -> ChildSpec:
    own = {
        "FLOWER_ADDRESS": "127.0.0.1",
        "FLOWER_PORT": str(plan.ports["flower"]),
        # By the environment: a command line can be read by everybody on the machine.
        "FLOWER_BASIC_AUTH": f"boomerang:{plan.secrets.flower_password}",
        "FLOWER_COOKIE_SECRET": plan.secrets.flower_cookie_secret,
        # The worker sends the jobs' own events; Celery's would show the messages that carry them instead.
        "FLOWER_ENABLE_EVENTS": "False",
        # It looks; it does not shut workers down.
        "FLOWER_READ_ONLY": "True",
    }
    return ChildSpec(
        name="flower",
        argv=(*celery, "flower"),
        env={**env, **own},
        ready=serves(f"{plan.url('flower')}/healthcheck"),
    )
