"""`python -m ops.bench.tenants`: what another producer and the provider notice of one that takes all it can get.

Prints when the other producer's jobs begin, and how soon callbacks are answered: alone, beside jobs whose
notifications hang, beside uploads, events and waits that never end, and beside many jobs of high priority.
"""

import http.client
import json
import os
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import requests

from ops.bench.deliveries import ND_JSON, HangingServer
from ops.bench.harness import authorized_session, generations, stack, until
from ops.local.stack import LocalStack
from schemas import callback_path

GREEDY, OTHER = "greedy", "other"
KEYS = {name: f"{name}-0123456789abcdef0123456789abcdef" for name in (GREEDY, OTHER)}
#: The hanging address is on loopback; the key is notified of jobs that never began, too.
LIMITS = {"BOOMERANG_KEY_LIMITS": json.dumps({GREEDY: {"callback_hosts": ["127.0.0.1"]}})}
SLOTS = 50
#: Seconds between two jobs, and between two callbacks.
JOBS_EVERY, CALLBACKS_EVERY = 0.5, 0.05
#: Seconds for which the last jobs may still begin.
MOST_DELAY = 60.0


@contextmanager
def nothing(_: LocalStack, __: int) -> Iterator[None]:
    """Let the other producer be alone."""
    yield


@contextmanager
def hanging_notifications(running: LocalStack, jobs: int) -> Iterator[None]:
    """Cancel a batch of paused jobs whose `callback_url` never answers."""
    with closing(HangingServer()) as hanging, authorized_session(KEYS[GREEDY]) as session:
        batches, name = f"{running.url}/v1/batches", "hanging"
        lines = [json.dumps(each | {"callback_url": hanging.url}).encode() + b"\n" for each in generations(jobs)]
        for part in (lines[:1], lines):
            session.post(f"{batches}?id={name}", data=b"".join(part), headers=ND_JSON, timeout=60).raise_for_status()
            session.post(f"{batches}/{name}/pause", timeout=30).raise_for_status()
        session.post(f"{batches}/{name}/cancel", timeout=30).raise_for_status()
        until(lambda: session.get(f"{batches}/{name}", timeout=30).json()["counts"]["cancelled"] >= jobs - 1)
        yield


@contextmanager
def all_places(running: LocalStack, _: int) -> Iterator[None]:
    """Hold uploads that drip, streams of events and waits, more of each than there are places."""
    address = urlsplit(running.url)
    with authorized_session(KEYS[GREEDY]) as session, ExitStack() as opened:
        batch = f"{running.url}/v1/batches?id=held"
        line = json.dumps(next(generations(1)) | {"external_task_id": "held.1"}).encode()
        session.post(batch, data=line, headers=ND_JSON, timeout=30).raise_for_status()
        head = f" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEYS[GREEDY]}\r\n"
        upload = f"POST /v1/batches{head}Transfer-Encoding: chunked\r\n\r\n"
        kinds = {
            upload: 100,
            f"GET /v1/batches/held/events{head}\r\n": 16,
            f"GET /v1/jobs/held.1?wait=60{head}\r\n": 64,
        }
        clients = []
        for beginning in (text for text, count in kinds.items() for _ in range(count)):
            client = opened.enter_context(socket.create_connection((address.hostname, address.port), 10))
            client.sendall(beginning.encode())
            if beginning == upload:
                clients.append(client)
        over = threading.Event()
        dripper = threading.Thread(target=_drip, args=(clients, over))
        dripper.start()
        opened.callback(dripper.join)
        opened.callback(over.set)
        yield


def _drip(clients: Sequence[socket.socket], over: threading.Event) -> None:
    while not over.wait(0.2):
        for client in clients:
            try:
                client.send(b"1\r\n{\r\n", socket.MSG_DONTWAIT)
            except OSError:
                continue


@contextmanager
def high_priority(running: LocalStack, jobs: int) -> Iterator[None]:
    """Enqueue a batch of high priority that takes the provider for minutes."""
    with authorized_session(KEYS[GREEDY]) as session:
        lines = b"".join(json.dumps(each).encode() + b"\n" for each in generations(10 * jobs))
        url = f"{running.url}/v1/batches?id=greedy&priority=high"
        session.post(url, data=lines, headers=ND_JSON, timeout=120).raise_for_status()
        yield
        session.post(f"{running.url}/v1/batches/greedy/cancel", timeout=30)


ATTACKS: Mapping[str, Callable[..., Any]] = {
    "alone": nothing,
    "hanging notifications": hanging_notifications,
    "all places": all_places,
    "high priority": high_priority,
}


def measure(running: LocalStack, name: str, seconds: float) -> str:
    """Upload jobs of the other producer, and send callbacks, for so many seconds. Return the delays as text."""
    callbacks, over = list[float](), threading.Event()
    prober = threading.Thread(target=_call_back, args=(running, callbacks, over))
    prober.start()
    accepted, refused = dict[str, float](), 0
    end = time.monotonic() + seconds
    with authorized_session(KEYS[OTHER]) as session:
        for number, request in enumerate(generations(10**6)):
            if time.monotonic() > end:
                break
            given = f"{name.replace(' ', '-')}-{number}"
            asked = time.time()
            line = json.dumps(request | {"external_task_id": given}).encode()
            try:
                answer = session.post(f"{running.url}/v1/batches", data=line, headers=ND_JSON, timeout=30)
                answer.raise_for_status()
                accepted[given] = asked
            except requests.RequestException:
                refused += 1
            time.sleep(JOBS_EVERY)
    over.set()
    prober.join()
    delays = _delays(running, accepted)
    begun = f"{len(delays)} of {len(accepted)} jobs begin after {_spread(delays, 's')}, {refused} refused"
    return f"{begun}; callbacks are answered after {_spread([each * 1000 for each in callbacks], 'ms')}"


def _call_back(running: LocalStack, times: list[float], over: threading.Event) -> None:
    address = urlsplit(running.url)
    path = callback_path("callback-of-no-job", running.plan.secrets.callback_secret)
    while not over.wait(CALLBACKS_EVERY):
        began = time.perf_counter()
        with closing(http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)) as connection:
            connection.request("POST", path, b'{"id": "t", "status": "running"}')
            if connection.getresponse().status == HTTPStatus.NO_CONTENT:
                times.append(time.perf_counter() - began)


def _delays(running: LocalStack, accepted: Mapping[str, float]) -> list[float]:
    """Return the seconds from each request to the job's first task at the provider, by its ledger."""
    deadline, began = time.monotonic() + MOST_DELAY, dict[str, float]()
    while accepted.keys() - began and time.monotonic() < deadline:
        ledger = requests.get(f"{running.plan.url('simulator')}/_sim/ledger", timeout=60).json()
        for each in ledger["purchases"]:
            given = each["external_task_id"].partition("@")[0]
            began.setdefault(given, datetime.fromisoformat(each["at"]).timestamp())
        time.sleep(1)
    return [max(0.0, began[given] - asked) for given, asked in accepted.items() if given in began]


def _spread(values: Sequence[float], unit: str) -> str:
    if len(values) < 2:  # noqa: PLR2004 - quantiles need two
        return "–"
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return f"p50 {cuts[49]:.2f} {unit}, p99 {cuts[98]:.2f} {unit}, at most {max(values):.2f} {unit}"


@click.command()
@click.option("--jobs", default=1000, show_default=True, help="Jobs whose notification hangs; ten times as many high.")
@click.option("--seconds", default=20.0, show_default=True, help="For each measurement.")
@click.option("--only", type=click.Choice(list(ATTACKS)), multiple=True, help="Measure only these.")
def main(jobs: int, seconds: float, only: Sequence[str]) -> None:
    """Measure another producer's start delay, and callbacks, beside each attack."""
    keys = {"BOOMERANG_API_KEYS": ",".join(f"{name}:{secret}" for name, secret in KEYS.items())}
    settings = {"BOOMERANG_MAX_IN_FLIGHT": str(SLOTS), **LIMITS}
    for name in only or ATTACKS:
        # A stack for each, so that what one leaves behind does not count for the next
        with (
            tempfile.TemporaryDirectory(prefix="boomerang-bench-") as folder,
            stack(Path(folder), f"--latency 1 --slots {SLOTS}", settings, os.environ | keys) as running,
            ATTACKS[name](running, jobs),
        ):
            click.echo(f"{name}: {measure(running, name, seconds)}")


if __name__ == "__main__":
    main()
