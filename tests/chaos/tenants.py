"""Two hostile producers in a process of their own: one floods the service, one tries to use another producer's ids.

`python -m tests.chaos.tenants` reads a `Target` as JSON from its first line of input, attacks until its input ends, and
prints what it got: how often each attack was answered how, and each call of the thief that succeeded.
"""

import contextlib
import gzip
import itertools
import json
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import redis
import requests
from celery import Celery
from requests.adapters import HTTPAdapter

from tests.support.hostile_images import HOSTILE

FLOOD, THIEF = "flood", "thief"
#: The attacks come from other addresses than the producers, as they would over a network.
SOURCE = "127.0.0.2"
#: Connections that the flood keeps open for each kind of slow client.
SLOW = 40
LINES = 100
ND_JSON = {"Content-Type": "application/x-ndjson"}
REQUEST = {"model": "kirin_image_omni", "prompt": "a hostile fox"}


@dataclass(frozen=True)
class Target:
    """The service. `keys`: by tenant. `hanging`: an address that never answers. `batch`: of the victim, with `jobs`."""

    url: str
    broker: str
    keys: dict[str, str]
    hanging: str
    victim: str
    batch: str
    jobs: int


class Tenant(requests.Session):
    """A producer's session. It raises no error for an answer, and never waits for long."""

    def __init__(self, target: Target, name: str) -> None:
        super().__init__()
        self.target = target
        self.headers["Authorization"] = f"Bearer {target.keys[name]}"
        self.mount("http://", _FromElsewhere())

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        """Send a request of the API."""
        return self.request(method, self.target.url + path, timeout=20, **more)


class _FromElsewhere(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **more: Any) -> Any:
        return super().init_poolmanager(*args, source_address=(SOURCE, 0), **more)


#: An attack yields the status of each answer, and pauses as long as it likes.
Attack = Callable[[Tenant, random.Random], Iterator[int | str]]


# --- the flood ------------------------------------------------------------------------------------------------------


def cancelled_batches(tenant: Tenant, draw: random.Random) -> Iterator[int | str]:
    """Upload jobs of high priority whose `callback_url` hangs, let some begin, and cancel them."""
    name = f"flood-{draw.randrange(10**9)}"
    lines = (json.dumps({**REQUEST, "callback_url": tenant.target.hanging}).encode() + b"\n") * LINES
    yield tenant.ask("POST", f"/v1/batches?id={name}&priority=high", data=lines, headers=ND_JSON).status_code
    time.sleep(draw.uniform(0, 1))
    if draw.random() < 0.5:
        yield tenant.ask("POST", f"/v1/batches/{name}/pause").status_code
    yield tenant.ask("POST", f"/v1/batches/{name}/cancel").status_code


def ids_of_others(tenant: Tenant, draw: random.Random) -> Iterator[int | str]:
    """Enqueue jobs and batches under the ids of the victim, and retry and cancel them."""
    name = f"{tenant.target.batch}.{draw.randint(1, tenant.target.jobs)}"
    yield tenant.ask("POST", "/v1/jobs", json={**REQUEST, "external_task_id": name}).status_code
    for action in ("retry", "cancel", "retry", "cancel"):
        yield tenant.ask("POST", f"/v1/jobs/{name}/{action}").status_code
    squatted = f"/v1/batches?id={tenant.target.batch}&priority=high"
    yield tenant.ask("POST", squatted, data=json.dumps(REQUEST).encode(), headers=ND_JSON).status_code
    yield tenant.ask("POST", f"/v1/batches/{tenant.target.batch}/cancel").status_code


def image_bombs(tenant: Tenant, draw: random.Random) -> Iterator[int | str]:
    """Upload images whose headers make a simple reader work for long."""
    (bomb, *_) = draw.choice(HOSTILE).values
    yield tenant.ask("POST", "/v1/images", data=bomb).status_code


def costly_refusals(tenant: Tenant, draw: random.Random) -> Iterator[int | str]:
    """Send bodies whose refusal would be long: unknown members, a compressed upload, lines that are no jobs."""
    odd = json.dumps({f"x{number}": number for number in range(draw.choice((90, 90_000)))})
    yield tenant.ask("POST", "/v1/jobs", data=odd, headers={"Content-Type": "application/json"}).status_code
    packed = gzip.compress(b'{"model":"kirin_image_omni","prompt":"' + b"a" * 2000 + b'"}\n' * 3000)
    upload = {**ND_JSON, "Content-Encoding": "gzip"}
    yield tenant.ask("POST", "/v1/batches?priority=high", data=packed, headers=upload).status_code


def health_checks(tenant: Tenant, draw: random.Random) -> Iterator[int | str]:
    """Ask for the health from many connections at once."""
    with _connections(tenant, SLOW) as clients:
        for _ in range(20):
            for client in clients:
                client.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", socket.MSG_DONTWAIT)
            time.sleep(draw.uniform(0.1, 0.3))
            for client in clients:
                if (answer := client.recv(65536, socket.MSG_DONTWAIT)).startswith(b"HTTP/1.1 "):
                    yield answer[9:12].decode()


def slow_clients(tenant: Tenant, draw: random.Random) -> Iterator[int | str]:
    """Hold connections: half a head, bodies that drip, large half-sent bodies, events and waits."""
    key = tenant.target.keys[FLOOD]
    head = f" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    chunked = f"{head}Transfer-Encoding: chunked\r\n\r\n400\r\n{{"
    job = f"{tenant.target.batch}.{draw.randint(1, tenant.target.jobs)}"
    kinds = {
        "head": f"GET /v1/jobs{head}X: ",
        "upload": f"POST /v1/batches{chunked}",
        "image": f"POST /v1/images{chunked}",
        "callback": "POST /callbacks/x/y HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n{",
        "form": "POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\nkey=",
        "body": f"POST /v1/jobs{head}Content-Length: 30000000\r\n\r\n" + "{" + " " * 2_000_000,
        "events": f"GET /v1/batches/{tenant.target.batch}/events{head}\r\n",
        "wait": f"GET /v1/jobs/{job}?wait=60{head}\r\n",
    }
    kind = draw.choice(sorted(kinds))
    with _connections(tenant, 5 if kind == "body" else SLOW, kinds[kind].encode()) as clients:
        end = time.monotonic() + draw.uniform(3, 15)
        while time.monotonic() < end:
            time.sleep(0.3)
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(b"x", socket.MSG_DONTWAIT)
        yield f"{kind} held"


@contextlib.contextmanager
def _connections(tenant: Tenant, count: int, beginning: bytes = b"") -> Iterator[list[socket.socket]]:
    address = urlsplit(tenant.target.url)
    with contextlib.ExitStack() as opened:
        clients = []
        for _ in range(count):
            client = socket.create_connection((address.hostname, address.port), 10, (SOURCE, 0))
            clients.append(opened.enter_context(client))
            client.sendall(beginning)
        yield clients


# --- the thief ------------------------------------------------------------------------------------------------------


class Stolen(Exception):
    """The thief got, or changed, what belongs to another producer."""


def calls_with_ids_of_others(tenant: Tenant, draw: random.Random) -> Iterator[int | str]:
    """Read, stop, retry and buy with the ids of the victim, in each form that an id may have."""
    target = tenant.target
    given = f"{target.batch}.{draw.randint(1, target.jobs)}"
    job = quote(draw.choice((given, f"{given}@{target.victim}", f"{given}@{target.victim}~1", f"{given}~1")), safe="")
    batch = quote(draw.choice((target.batch, f"{target.batch}@{target.victim}")), safe="")
    calls: list[tuple[str, str, Any]] = [
        *[("POST", f"/v1/jobs/{job}/{action}", None) for action in ("cancel", "retry", "pause", "resume")],
        *[("POST", f"/v1/batches/{batch}/{action}", None) for action in ("cancel", "retry", "pause", "resume")],
        *[("GET", f"/v1/batches/{batch}{part}", None) for part in ("", "/results", "/errors", "/events")],
        *[("GET", f"/v1/jobs/{job}{query}", None) for query in ("", "?wait=1")],
        ("POST", f"/v1/batches/{batch}/resume?max_cost=1000", None),
        ("GET", f"/model/v1/generation/task/{job}", None),
        ("POST", "/v1/jobs", {**REQUEST, "external_task_id": f"{given}@{target.victim}"}),
        ("POST", f"/v1/batches?id={target.batch}@{target.victim}", REQUEST),
    ]
    for method, path, body in draw.sample(calls, 6):
        answer = tenant.ask(method, path, json=body, stream=True)
        if answer.ok:
            raise Stolen(f"{method} {path}: {answer.status_code}")
        answer.close()
        yield answer.status_code
    listed = tenant.ask("GET", f"/v1/jobs?batch={target.batch}")
    if listed.ok and listed.json().get("items"):
        raise Stolen(f"a list of {len(listed.json()['items'])} jobs")
    yield listed.status_code


def messages_with_ids_of_others(tenant: Tenant, draw: random.Random) -> Iterator[int | str]:
    """Ask by Celery for the jobs of the victim, enqueue under their ids, and revoke them."""
    target = tenant.target
    given = f"{target.batch}.{draw.randint(1, target.jobs)}"
    # Without a result backend of its own, so that it sends no more than the message
    with contextlib.closing(Celery(THIEF, broker=target.broker, set_as_current=False)) as app:
        for name in (given, f"{given}@{target.victim}"):
            for request in ({"external_task_id": name}, {**REQUEST, "external_task_id": name}):
                app.send_task("boomerang.generate", kwargs=request, task_id=name, queue="celery")
                yield "sent"
            app.control.revoke(name)
            yield "revoked"
    time.sleep(2)
    with redis.Redis.from_url(target.broker) as results:
        found = json.loads(results.get(f"celery-task-meta-{name}") or "{}")
    if found.get("status") == "SUCCESS":
        raise Stolen(f"the result of {name} by Celery")
    yield f"Celery: {found.get('status', 'no result')}"


ATTACKS: dict[str, tuple[Attack, ...]] = {
    FLOOD: (
        *(cancelled_batches, ids_of_others, image_bombs, costly_refusals, health_checks),
        *(slow_clients, slow_clients, slow_clients),
    ),
    THIEF: (calls_with_ids_of_others, messages_with_ids_of_others),
}


class Siege:
    """All attacks at once, each in a thread, until `end()`."""

    def __init__(self, target: Target, seed: int) -> None:
        self.answers: dict[str, Counter[str]] = {}
        self.stolen: list[str] = []
        self._over = threading.Event()
        numbered = enumerate((name, attack) for name, attacks in ATTACKS.items() for attack in attacks)
        self._threads = [
            threading.Thread(target=self._repeat, args=(target, name, attack, random.Random(seed + number)))
            for number, (name, attack) in numbered
        ]
        for thread in self._threads:
            thread.start()

    def _repeat(self, target: Target, name: str, attack: Attack, draw: random.Random) -> None:
        counted = self.answers.setdefault(attack.__name__, Counter())
        tenant = Tenant(target, name)
        while not self._over.wait(draw.uniform(0.2, 1)):
            try:
                for answer in itertools.takewhile(lambda _: not self._over.is_set(), attack(tenant, draw)):
                    counted[str(answer)] += 1
            except Stolen as error:
                self.stolen.append(f"{attack.__name__}: {error}")
            except Exception as error:  # noqa: BLE001 - servers are killed and connections cut meanwhile
                counted[type(error).__name__] += 1

    def end(self) -> dict[str, Any]:
        """Stop, and return the report."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return {"answers": self.answers, "stolen": self.stolen}


def main() -> None:
    """Attack until the input ends."""
    given = json.loads(sys.stdin.readline())
    siege = Siege(Target(**given["target"]), given["seed"])
    sys.stdin.read()
    sys.stdout.write(json.dumps(siege.end()))


if __name__ == "__main__":
    main()
