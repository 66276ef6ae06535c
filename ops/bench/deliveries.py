"""Benchmark: what one producer's jobs wait while the addresses of another one never answer."""

import json
import os
import socket
import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from jobs.connections.client import connect
from ops.bench.harness import authorized_session, generations, stack, until
from ops.local.stack import LocalStack

#: The producers: one whose addresses hang, and the one that is measured.
HANGS, MEASURED = "hangs", "measured"
KEYS = {HANGS: "hangs-0123456789abcdef0123456789abcdef", MEASURED: "measured-0123456789abcdef0123456789abcdef"}
#: Both are notified of jobs that never began, too.
NOTIFY_ALL = {"BOOMERANG_KEY_LIMITS": json.dumps({name: {"callback_hosts": ["127.0.0.1"]} for name in KEYS})}
ND_JSON = {"Content-Type": "application/x-ndjson"}
#: Seconds between two measured jobs.
PAUSE = 0.5


@dataclass(frozen=True, kw_only=True)
class Delays:
    """Seconds of the measured jobs: from the record to the submission, and from the end to the notification.

    Jobs that did not come so far while it was measured are left out. `connections`: requests that the hanging address
    received meanwhile.
    """

    jobs: int
    start: Sequence[float]
    notification: Sequence[float]
    connections: int = 0

    def text(self) -> str:
        """Return the delays as text."""

        def spread(values: Sequence[float]) -> str:
            times = f"{statistics.median(values):.2f} s, at most {max(values):.2f} s" if values else "–"
            return f"{len(values)} of {self.jobs} after {times}"

        return f"begun: {spread(self.start)}; notified: {spread(self.notification)}"


class HangingServer:
    """A server that accepts connections and never answers."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._held: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def connections(self) -> int:
        """How many connections it has accepted."""
        return len(self._held)

    def _accept(self) -> None:
        while True:
            try:
                self._held.append(self._socket.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        """Close it and its connections."""
        self._socket.close()
        for held in self._held:
            held.close()


class Receiver:
    """A producer's server that answers at once. `received`: job id → the time of its notification."""

    def __init__(self) -> None:
        self.received: dict[str, float] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.received.setdefault(body["id"], time.time())
                self.send_response(HTTPStatus.NO_CONTENT)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()


def measure_hanging(folder: Path, jobs: int, seconds: float) -> tuple[Delays, Delays]:
    """Return the delays without and with another producer's `jobs` cancelled jobs, whose address never answers."""
    keys = ",".join(f"{name}:{secret}" for name, secret in KEYS.items())
    with (
        closing(HangingServer()) as hanging,
        closing(Receiver()) as receiver,
        stack(folder, "--latency 0", NOTIFY_ALL, os.environ | {"BOOMERANG_API_KEYS": keys}) as running,
        connect(running.redis_url) as client,
    ):
        alone = _measure(running, client, receiver, "alone", 5)
        _cancel_jobs(running, hanging.url, jobs)
        beside = _measure(running, client, receiver, "beside", seconds)
        return alone, replace(beside, connections=hanging.connections)


def _cancel_jobs(running: LocalStack, address: str, jobs: int) -> None:
    """Enqueue a batch that is paused after its first job, and cancel it."""
    batches, name = f"{running.url}/v1/batches", "hangs"
    with authorized_session(KEYS[HANGS]) as session:
        lines = [json.dumps(each | {"callback_url": address}).encode() + b"\n" for each in generations(jobs)]
        for part in (lines[:1], lines):
            session.post(f"{batches}?id={name}", data=b"".join(part), headers=ND_JSON, timeout=60).raise_for_status()
            session.post(f"{batches}/{name}/pause", timeout=30).raise_for_status()
        session.post(f"{batches}/{name}/cancel", timeout=30).raise_for_status()
        until(lambda: session.get(f"{batches}/{name}", timeout=30).json()["counts"]["cancelled"] >= jobs - 1)


def _measure(running: LocalStack, client: Any, receiver: Receiver, name: str, seconds: float) -> Delays:
    ids = []
    with authorized_session(KEYS[MEASURED]) as session:
        end = time.monotonic() + seconds
        for number, request in enumerate(generations(10**6)):
            if time.monotonic() > end:
                break
            ids.append(f"{name}-{number}")
            body = request | {"external_task_id": ids[-1], "callback_url": receiver.url}
            session.post(f"{running.url}/v1/jobs", json=body, timeout=30).raise_for_status()
            time.sleep(PAUSE)
    deadline = time.monotonic() + seconds
    while set(ids) - receiver.received.keys() and time.monotonic() < deadline:
        time.sleep(PAUSE)
    times = _times(client)
    started = [times[each, "submitting"] - times[each, "queued"] for each in ids if (each, "submitting") in times]
    notified = [receiver.received[each] - times[each, "completed"] for each in ids if each in receiver.received]
    return Delays(start=started, notification=notified, jobs=len(ids))


def _times(client: Any) -> dict[tuple[str, str], float]:
    """Return when each job first came into each state, by the stream of changes."""
    times: dict[tuple[str, str], float] = {}
    for entry, fields in client.xrange("{b}:changes"):
        times.setdefault((fields["id"], fields["state"]), int(entry.partition("-")[0]) / 1000)
    return times
