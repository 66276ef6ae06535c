"""No secret of the whole stack appears in any output, whatever goes wrong. Every secret is a canary.

The search covers all logs at the most verbose level, every command sent to either Redis, every response of the API,
and the output of the operator's commands.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import redis
import requests
from celery import Celery

from jobs.logs import secrets_of
from ops.local.stack import LocalStack, Options
from schemas import callback_path
from schemas.callback_address import key_id
from tests.support.admin import with_admin
from tests.support.drawing import Draw
from tests.support.producers import LOCAL, own
from tests.support.verdict import SETTINGS
from webhook.settings import Settings as WebhookSettings
from worker.settings import Settings as WorkerSettings

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
WaitFor = Callable[..., None]

SECRETS = {
    "api_key": "canary-api-key-5d1c",
    "callback_secret": "canary-callback-secret-7b2e",
    "provider_key": "canary-provider-key-9a3f",
    "flower_password": "canary-flower-password-1e4d",
    "flower_cookie_secret": "canary-flower-cookie-3c6a",
}
NOTIFY = "whsec_" + b64encode(b"canary-notify-secret-of-32-bytes").decode()
WEBHOOKS = {
    "BOOMERANG_SESSION_SECRET": "canary-session-secret-2f8b",
    "BOOMERANG_METRICS_TOKEN": "canary-metrics-token-6d0e",
}
PRODUCERS = "canary-producers-own-token"  # in a callback_url: the producer's secret, not ours
WRONG_KEY = "canary-of-another-producer"
WRONG_PASSWORD = "canary-wrong-redis-password"
CALLBACK = SECRETS["callback_secret"]
REQUEST = {"model": "kirin_image_omni", "prompt": "a fox"}


#: Commands that people run.
SERVER = str(Path(sys.executable).with_name("boomerang-server"))


class Watch:
    """Records every command that a Redis receives from now on."""

    def __init__(self, url: str) -> None:
        self.commands: list[str] = []
        self._client = redis.Redis.from_url(url)
        self._monitor = self._client.monitor()
        self._monitor.__enter__()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        # Ends when `close` cuts the connection, or when Redis stops.
        with contextlib.suppress(redis.RedisError, OSError, ValueError, AttributeError):
            for each in self._monitor.listen():
                self.commands.append(each["command"])

    def close(self) -> None:
        connection = self._monitor.connection
        if connection._sock:
            connection._sock.shutdown(2)
        self._thread.join(10)
        self._client.close()

    def text(self) -> str:
        """Return all commands. The base64 bodies of Celery's messages are also decoded."""
        sent = "\n".join(self.commands)
        bodies = re.findall(r'\\?"body\\?": ?\\?"([A-Za-z0-9+/]+=*)', sent)
        return sent + "\n".join(b64decode(body).decode("utf-8", "replace") for body in bodies)


@dataclass
class Run:
    """The outputs of a run, by source."""

    secrets: set[str] = field(default_factory=set)
    logs: dict[str, str] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)
    printed: dict[str, str] = field(default_factory=dict)
    envs: dict[str, dict[str, str]] = field(default_factory=dict)


class Trouble:
    """Causes one error after another on a running stack."""

    def __init__(self, stack: LocalStack, run: Run, wait_for: WaitFor, image: str) -> None:
        self.stack, self.run, self.wait_for, self.image = stack, run, wait_for, image
        self.url, self.simulator = stack.url, stack.plan.url("simulator")
        self.redis = redis.Redis.from_url(stack.redis_url)

    def ask(self, method: str, path: str, key: str = SECRETS["api_key"], **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {key}", **more.pop("headers", {})}
        answer = requests.request(method, f"{self.url}{path}", headers=headers, timeout=30, **more)
        self.run.answers.append(f"{answer.status_code} {dict(answer.headers)} {answer.text}")
        return answer

    def log(self, process: str) -> str:
        return (self.stack.plan.folder / "logs" / f"{process}.log").read_text("utf-8")

    def status(self, job_id: str) -> str:
        return str(self.ask("GET", f"/v1/jobs/{job_id}").json().get("status"))

    def enqueue(self, job_id: str, **more: Any) -> None:
        hook = f"http://127.0.0.1:1/hook?token={PRODUCERS}"
        job = {**REQUEST, "external_task_id": job_id, "callback_url": hook, **more}
        assert self.ask("POST", "/v1/jobs", json=job).status_code == 201

    def faults(self, **faults: Any) -> None:
        assert requests.put(f"{self.simulator}/_sim/faults", json=faults, timeout=5).ok

    def through_the_api(self) -> None:
        # A key that is added at run time: Redis gets its hash.
        operator = self.run.envs["webhook"] | {"BOOMERANG_REDIS_URL": self.stack.state_urls["operator"]}
        made = self.printed(operator, SERVER, "keys", "add", "press").split()[-1]
        self.run.secrets.add(made)
        assert self.ask("GET", "/v1/jobs", made).status_code == 200
        self.enqueue("good", image_list=[{"image": self.image}], prompt="<<<image_1>>> in the snow")
        for path in ("/v1/jobs", "/v1/jobs/none", "/v1/nothing", "/callbacks/x", f"/v1/jobs?key={WRONG_KEY}"):
            self.ask("GET", path)
            self.ask("GET", path, WRONG_KEY)
            self.ask("POST", path, WRONG_KEY, data=b"{")
            self.ask("POST", path, data=b"{")
        for token in (WRONG_KEY, WEBHOOKS["BOOMERANG_METRICS_TOKEN"]):
            self.ask("GET", "/metrics", token)
        for secret in (WRONG_KEY, SECRETS["api_key"]):
            self.ask("POST", "/login", data={"key": secret})
        self.ask("GET", "/v1/jobs", headers={"Authorization": f"Basic {WRONG_KEY}"})
        self.ask("POST", "/v1/jobs", json={**REQUEST, "image_list": [{"image": self.image[:-9]}]})
        self.ask("POST", "/model/v1/generation", json={"model": 1})
        self.ask("POST", "/model/v1/generation", WRONG_KEY, json={"model": 1})

    def through_celery(self) -> None:
        url = self.stack.broker_urls["producer"]
        shop = Celery("shop", broker=url, backend=url, set_as_current=False)
        shop.conf.task_ignore_result = True
        for task_id, kwargs in {
            "by-celery": {**REQUEST, "image_list": [{"image": self.image}], "prompt": "<<<image_1>>>"},
            "refused": {"model": "none", "prompt": "a fox", "image_list": [{"image": self.image[:-9]}]},
            "gone": {"external_task_id": "never-enqueued"},
        }.items():
            shop.send_task("boomerang.generate", kwargs=kwargs, task_id=task_id, queue="celery")
        self.wait_for(lambda: self.status("by-celery") == "completed", timeout=60)
        shop.close()

    def by_the_provider(self) -> None:
        for fault in ("error_after", "html", "lost_answers", "redirect", "fail_permanent", "truncated"):
            self.faults(**{fault: 1})
            self.enqueue(fault)
            self.wait_for(lambda: self.status(fault) not in ("queued", "submitting"), timeout=60)  # noqa: B023
            self.faults(**{fault: 0})
        self.faults(account="401")
        self.enqueue("unpaid")
        self.wait_for(lambda: "on hold" in self.log("worker"), timeout=60)
        self.faults(account="ok")

    def by_callbacks(self) -> None:
        self.faults(drop_callbacks=1, latency=60)
        path = callback_path("never-enqueued", CALLBACK)
        forged = callback_path(own("good", LOCAL), "canary-forged-secret")
        for target in (path, forged, path + "/x", path[:-3], path.replace("never", "ever")):
            for body in (b"{", b"[]", b"[" * 30_000, b'{"a":NaN}', b"\xff", b"{}", b'{"status":"dreaming"}'):
                self.ask("POST", target, WRONG_KEY, data=body)
            self.ask("GET", target)
            self.ask("POST", target, data=iter([b"{}"]))

    def by_broken_records(self) -> None:
        """Damage records that hold a secret. Webhook and worker must log their names, not their content."""
        self.wait_for(lambda: self.status("good") == "completed", timeout=60)
        broken = f'{{"callback_url": "http://127.0.0.1/{PRODUCERS}", '
        self.redis.set("{b}:r:" + own("good", LOCAL), broken)
        assert self.ask("GET", "/v1/jobs/good").status_code == 503
        self.enqueue("torn")
        # Only a job that began is notified of.
        self.wait_for(lambda: self.status("torn") not in ("queued", "submitting"), timeout=60)
        self.redis.set("{b}:t:" + own("torn", LOCAL), broken)
        self.ask("POST", "/v1/jobs/torn/cancel")
        self.wait_for(lambda: "damaged" in self.log("webhook"), timeout=60)
        self.wait_for(lambda: "its callback_url cannot be read" in self.log("worker"), timeout=60)

    def by_tools(self) -> None:
        """Run the operator's commands, and processes that cannot start."""
        envs = self.run.envs
        everything = envs["webhook"] | envs["worker"]
        celery = (sys.executable, "-m", "celery", "-A", "worker.main:app")
        gunicorn = (sys.executable, "-m", "gunicorn", "webhook.wsgi:app", "-b", "127.0.0.1:0")
        wrong = {
            name: re.sub(r":[^:@/]+@", f":{WRONG_PASSWORD}@", value)
            for name, value in everything.items()
            if name in ("BOOMERANG_REDIS_URL", "BOOMERANG_BROKER_URL", "BOOMERANG_RESULT_URL")
        }
        bad = {"BOOMERANG_PROVIDER_KEY": SECRETS["provider_key"] + " x", "BOOMERANG_CALLBACK_SECRETS": "canary-short"}
        bad |= {"BOOMERANG_NOTIFY_SECRETS": "canary-notify", "BOOMERANG_API_KEYS": f"A:{SECRETS['api_key']}"}
        for name, env, command in (
            ("report", everything, (*celery, "report")),
            ("conf", everything, (*celery, "inspect", "conf")),
            ("stats", everything, (*celery, "inspect", "stats")),
            ("doctor", everything, (SERVER, "doctor", "--json")),
            ("audit", everything, (SERVER, "audit", "--json")),
            ("doctor, wrong password", everything | wrong, (SERVER, "doctor")),
            ("audit, wrong password", everything | wrong, (SERVER, "audit")),
            ("inspect, wrong password", everything | wrong, (*celery, "inspect", "ping")),
            ("worker, bad settings", everything | bad, (*celery, "worker")),
            ("webhook, bad settings", everything | bad, gunicorn),
        ):
            self.run.printed[name] = self.printed(env, *command)
        refused = re.compile("invalid username-password|Authentication|WRONGPASS|NOAUTH")
        self.run.printed["worker, wrong password"] = self.until(everything | wrong, refused, *celery, "worker")

    def printed(self, env: Mapping[str, str], *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=dict(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout, command
        return done.stdout

    def until(self, env: Mapping[str, str], pattern: re.Pattern[str], *command: str) -> str:
        """Return the output of a process that never ends, up to the expected line."""
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        text = ""
        with process:
            assert process.stdout
            for line in process.stdout:
                text += line
                if pattern.search(line):
                    break
            os.killpg(process.pid, signal.SIGKILL)
        assert pattern.search(text), text
        return text


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, wait_for: WaitFor, draw: Draw) -> Run:
    """The one run that all tests check."""
    folder = tmp_path_factory.mktemp("canary")
    (folder / "secrets.json").write_text(json.dumps(SECRETS))
    left = Run()

    def note(process: str, env: dict[str, str]) -> dict[str, str]:
        left.envs[process] = env
        return env

    settings = {
        **SETTINGS,
        "BOOMERANG_LOG_FORMAT": "json",
        "BOOMERANG_NOTIFY_SECRETS": NOTIFY,
        # The most verbose levels.
        "GUNICORN_CMD_ARGS": "--access-logfile -",
        "CELERY_WORKER_LOGLEVEL": "DEBUG",
        "CELERY_BEAT_LOGLEVEL": "DEBUG",
        "CELERY_QUIET": "1",
    }
    options = Options(folder=folder, simulator="--latency 0.1", settings=settings, warnings=False, reroute=note)
    outside = {"PATH": os.environ["PATH"], **WEBHOOKS}
    access = folder.with_name(f"{folder.name}-access")
    with with_admin(access), LocalStack(options, lambda *_: None, outside) as stack:
        urls = {"state": stack.state_urls, "broker": stack.broker_urls}
        watches = {name: Watch(each["admin"]) for name, each in urls.items()}
        trouble = Trouble(stack, left, wait_for, b64encode(draw(9000)).decode())
        trouble.through_the_api()
        trouble.through_celery()
        trouble.by_the_provider()
        trouble.by_callbacks()
        trouble.by_broken_records()
        trouble.by_tools()
        ids = [name.decode().rpartition(":")[2] for name in trouble.redis.scan_iter("{b}:j:*")]
        left.stored = {name: watch.text() for name, watch in watches.items()}
        for watch in watches.values():
            watch.close()
        trouble.redis.close()
        passwords = {str(urlsplit(url).password) for each in urls.values() for url in each.values()}
        generated = set(json.loads((folder / "secrets.json").read_text()).values())
    left.logs = {path.stem: path.read_text("utf-8", "replace") for path in (folder / "logs").glob("*.log")}
    tokens = {callback_path(each, CALLBACK).rpartition("/")[2] for each in (*ids, "never-enqueued")}
    left.secrets |= {*SECRETS.values(), *WEBHOOKS.values(), NOTIFY, "canary-notify-secret", *passwords, *generated}
    # Every variable of a process that is secret. Later ones become canaries automatically.
    for process, kind in (("worker", WorkerSettings), ("beat", WorkerSettings), ("webhook", WebhookSettings)):
        left.secrets |= secrets_of(kind.from_env(left.envs[process]))
    left.secrets |= {token.partition(".")[2] for token in tokens}
    return left


def found(secrets: set[str], places: Mapping[str, str]) -> set[tuple[str, str]]:
    """Return which secrets occur where, in any encoding in which they might occur."""
    return {
        (secret, place)
        for place, text in places.items()
        for secret in secrets
        for form in (secret, quote(secret, safe=""), b64encode(secret.encode()).decode().rstrip("="))
        if form in text
    }


def test_the_run_reached_every_source(run: Run) -> None:
    # A search of empty outputs would prove nothing.
    assert {"webhook", "worker", "beat", "flower"} <= set(run.logs)
    assert all(run.logs[name] for name in ("webhook", "worker", "beat"))
    assert "damaged" in run.logs["webhook"]
    assert "damaged" in run.logs["worker"]
    assert "/callbacks/never-enqueued/***" in run.logs["webhook"]
    assert len(run.answers) > 100
    assert {answer[:3] for answer in run.answers} >= {"400", "401", "403", "404", "405", "411", "422", "503"}
    assert all(len(text) > 100_000 for text in run.stored.values())
    assert "fox" in run.stored["broker"]  # a message's body, decoded
    assert len(run.secrets) >= 18  # the stack's, the Redis users', and one token for each job


def test_no_log_contains_a_secret(run: Run) -> None:
    assert found(run.secrets | {PRODUCERS, WRONG_KEY, WRONG_PASSWORD}, run.logs) == set()


def test_no_log_contains_an_image(run: Run) -> None:
    images = {name: re.findall(r"iVBORw0KGgo.{80}", text) for name, text in run.logs.items()}
    assert {name: seen for name, seen in images.items() if seen} == {}


def test_neither_redis_receives_a_secret(run: Run) -> None:
    assert found(run.secrets | {WRONG_KEY, WRONG_PASSWORD}, run.stored) == set()


def test_no_response_contains_a_secret(run: Run) -> None:
    answers = {str(number): text for number, text in enumerate(run.answers)}
    assert found(run.secrets | {PRODUCERS, WRONG_KEY, WRONG_PASSWORD}, answers) == set()


def test_no_command_prints_a_secret(run: Run) -> None:
    assert found(run.secrets | {WRONG_PASSWORD, "canary-short", "canary-notify"}, run.printed) == set()


def test_no_repr_contains_a_secret(run: Run) -> None:
    worker, webhook = WorkerSettings.from_env(run.envs["worker"]), WebhookSettings.from_env(run.envs["webhook"])
    texts = {"worker": f"{worker!r} {worker}", "webhook": f"{webhook!r} {webhook}"}
    assert found(run.secrets, texts) == set()


#: Lines that Celery's signal handlers write without a logger.
FAREWELL = re.compile(r"|worker: \w+ shutdown \(MainProcess\)")


def events_of(run: Run, process: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.logs[process].splitlines() if not FAREWELL.fullmatch(line)]


@pytest.mark.parametrize("process", ["worker", "beat", "webhook"])
def test_every_log_line_is_json(process: str, run: Run) -> None:
    events = events_of(run, process)
    assert events
    assert all({"time", "level", "logger", "process", "message"} <= set(event) for event in events)


def test_the_workers_log_lines_name_their_job(run: Run) -> None:
    events = events_of(run, "worker")
    about = {(event.get("job"), event.get("attempt"), event.get("lane")) for event in events}
    assert (own("error_after", LOCAL), 1, "default") in about
    # Libraries' lines too, such as urllib3's line about a submission.
    library_events = [event for event in events if event["logger"].startswith("urllib3") and event.get("job")]
    assert library_events


def test_the_search_finds_a_planted_secret(run: Run) -> None:
    secret = SECRETS["provider_key"]
    for form in (secret, b64encode(secret.encode()).decode(), quote(secret, safe="")):
        assert found(run.secrets, {"somewhere": f"x{form}y"})
    assert key_id(CALLBACK)  # not a secret: it may occur anywhere
