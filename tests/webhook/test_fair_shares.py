"""One producer's long requests take nothing from another's share, in the real server."""

import contextlib
import gzip
import json
import random
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from jobs.new_job import BatchOptions, NewJob
from jobs.store.store import Store
from ops.local import redis_server as redis_servers
from tests.support.raw_http import exchange
from tests.support.saved import saver
from tests.support.waiting import WaitFor, load
from tests.support.webhook_server import Serve
from webhook.places import DOWNLOADS, EVENTS, SLOW, TRANSFERS, WAITS

pytestmark = pytest.mark.stack

GREEDY, MODEST = "a-greedy-producers-key", "a-modest-producers-key"
LINE = b'{"model":"kirin_image_omni","prompt":"a fox"}\n'
MB = 1024 * 1024


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a result store."""
    return f"file://{tmp_path_factory.mktemp('results')}/store"


@pytest.fixture(scope="module")
def server(serve: Serve, redis_server: redis_servers.RedisServer, results: str) -> Any:
    keys = {"BOOMERANG_API_KEYS": f"greedy:{GREEDY},modest:{MODEST}"}
    memory = {"BOOMERANG_BODY_MEMORY": str(8 * MB), "BOOMERANG_MAX_BODY": str(4 * MB)}
    return serve(
        {
            "BOOMERANG_REDIS_URL": redis_server.url,
            "BOOMERANG_RATE_LIMIT": "off",
            "BOOMERANG_RESULT_STORE": results,
            **keys,
            **memory,
        }
    )


def fill(store: Store, greedy: int) -> Store:
    """Enqueue an unfinished batch of each producer, `greedy` jobs of the one and one of the other."""
    for owner, count in (("greedy", greedy), ("modest", 1)):
        text = json.dumps({"prompt": "x" * 500})
        for start in range(0, count, 500):
            ids = range(start, min(start + 500, count))
            jobs = [NewJob(id=f"{owner}.{number}", text=text, model="m", owner=owner) for number in ids]
            store.jobs.enqueue(jobs, owner, BatchOptions(owner=owner))
    return store


@pytest.fixture
def batches(redis_url: str, store: Store) -> Store:
    """A store with an unfinished batch of each producer."""
    return fill(store, 2)


@pytest.fixture
def large_batches(redis_url: str, store: Store) -> Store:
    """The same, the greedy one's with results larger than any buffer."""
    return fill(store, 12_000)


@pytest.fixture
def connect(server: Any) -> Iterator[Callable[..., list[socket.socket]]]:
    """Return `connect(count, request)`, which opens connections that send a request, and then nothing."""
    opened: list[socket.socket] = []

    def start(count: int, request: bytes, buffer: int | None = None, source: str = "") -> list[socket.socket]:
        for _ in range(count):
            connection = socket.socket()
            opened.append(connection)
            if buffer:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            connection.settimeout(20)
            if source:
                connection.bind((source, 0))
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(request)
        return opened[-count:]

    yield start
    for connection in opened:
        connection.close()


def head(method: str, path: str, key: str, *fields: str) -> bytes:
    lines = (f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", *fields, "", "")
    return "\r\n".join(lines).encode()


def post(path: str, key: str, body: bytes = LINE, *fields: str) -> bytes:
    return head("POST", path, key, f"Content-Length: {len(body)}", "Connection: close", *fields) + body


def half_sent(path: str, length: int = 100_000) -> bytes:
    return head("POST", path, GREEDY, f"Content-Length: {length}") + LINE


def answered(connections: list[socket.socket]) -> list[socket.socket]:
    """Return the connections with an answer, or at the end."""
    return select.select(connections, [], [], 0)[0]


def ask(server: Any, request: bytes) -> tuple[int, bytes]:
    answer = exchange(server.port, request)
    return int(answer.split(b" ")[1]), answer


def metric(server: Any, pool: str, outcome: str) -> float:
    key = server.authorization["Authorization"].removeprefix("Bearer ")
    text = exchange(server.port, head("GET", "/metrics", key, "Connection: close")).decode()
    name = f'boomerang_places_total{{outcome="{outcome}",pool="{pool}"}} '
    return sum(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))


@pytest.mark.parametrize("query", ["class=moderation", "include=request&format=csv", "status=failed&format=csv"])
def test_results_are_read_no_further_for_a_client_that_has_gone(
    query: str, server: Any, large_batches: Store, raw: redis.Redis, wait_for: WaitFor
) -> None:
    counts: list[int] = []

    def read() -> int:
        calls = raw.info("commandstats")
        counts.append(sum(calls[name]["calls"] for name in ("cmdstat_hmget", "cmdstat_hgetall") if name in calls))
        return counts[-1]

    def reads_no_more() -> bool:
        read()
        return len(counts) > 60 and len(set(counts[-60:])) == 1

    raw.config_resetstat()
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(head("GET", f"/v1/batches/greedy/results?{query}", GREEDY))
        wait_for(lambda: read() > 100, message="the server reads jobs")

    wait_for(reads_no_more, message="the server reads no more")
    assert read() < 9_000  # of 12,000 jobs


@pytest.mark.parametrize("path", ["/v1/batches", "/v1/batches?on_error=abort", "/v1/images"])
def test_dripping_uploads_leave_others_their_share(
    path: str, server: Any, batches: Store, connect: Callable[..., list[socket.socket]], wait_for: WaitFor
) -> None:
    before = metric(server, "transfers", "gave_way")
    greedy = connect(TRANSFERS + 4, half_sent(path))
    refused = wait_for(lambda: len(found := answered(greedy)) == 4 and found, message="all places are taken")

    assert ask(server, post("/v1/batches?id=mine", MODEST))[0] == 201
    assert ask(server, head("GET", "/v1/batches/modest/results", MODEST, "Connection: close"))[0] == 200

    # An upload has ended, with an answer that says how to continue
    assert isinstance(refused, list)
    (ended,) = wait_for(lambda: [each for each in answered(greedy) if each not in refused])
    answer = ended.recv(65536)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"Retry-After: " in answer
    if path == "/v1/batches":
        assert b'"id"' in answer
    assert metric(server, "transfers", "gave_way") > before
    assert metric(server, "transfers", "refused") > 0


def test_readers_that_read_nothing_leave_others_their_share(
    server: Any, large_batches: Store, connect: Callable[..., list[socket.socket]], wait_for: WaitFor
) -> None:
    before = metric(server, "transfers", "refused")
    connect(TRANSFERS + 4, head("GET", "/v1/batches/greedy/results", GREEDY), 4096)
    wait_for(lambda: metric(server, "transfers", "refused") >= before + 4, message="all places are taken")
    assert ask(server, post("/v1/batches?id=more", GREEDY))[0] == 503
    assert ask(server, post("/v1/batches?id=mine", MODEST))[0] == 201


def test_readers_of_saved_files_leave_others_their_share(
    server: Any, store: Store, results: str, connect: Callable[..., list[socket.socket]], wait_for: WaitFor
) -> None:
    save = saver(store, results)
    save("large@greedy", bytes(20 * MB))
    save("small@modest", b"pixels")
    before = metric(server, "downloads", "refused")
    connect(DOWNLOADS + 4, head("GET", "/v1/jobs/large/outputs/0", GREEDY), 4096)
    wait_for(lambda: metric(server, "downloads", "refused") >= before + 4, message="all places are taken")
    small = head("GET", "/v1/jobs/small/outputs/0", MODEST, "Connection: close")
    assert ask(server, small)[1].endswith(b"pixels")
    assert ask(server, post("/v1/batches?id=mine", GREEDY))[0] == 201


def test_events_leave_others_their_share(
    server: Any, batches: Store, connect: Callable[..., list[socket.socket]], wait_for: WaitFor
) -> None:
    def event(connection: socket.socket) -> bytes:
        answer = b""
        while b"event: progress" not in answer and (data := connection.recv(65536)):
            answer += data
        return answer

    streams = connect(EVENTS, head("GET", "/v1/batches/greedy/events", GREEDY))
    for stream in streams:
        assert event(stream).startswith(b"HTTP/1.1 200")
    mine = connect(EVENTS // 2, head("GET", "/v1/batches/modest/events", MODEST))
    assert [event(stream)[:12] for stream in mine] == [b"HTTP/1.1 200"] * len(mine)
    # One more than its share
    assert ask(server, head("GET", "/v1/batches/modest/events", MODEST))[0] == 503
    # A stream that gave way ends properly, so that its client connects again
    (first, *_) = wait_for(lambda: answered(streams))
    ended = b""
    while data := first.recv(65536):
        ended += data
    assert ended.endswith(b"0\r\n\r\n")


def test_waits_leave_others_their_share(
    server: Any, batches: Store, connect: Callable[..., list[socket.socket]], wait_for: WaitFor
) -> None:
    waits = connect(WAITS + 1, head("GET", "/v1/jobs/greedy.1?wait=30", GREEDY))
    waits.remove(wait_for(lambda: answered(waits), message="all places are taken")[0])
    began = time.monotonic()
    status, answer = ask(server, head("GET", "/v1/jobs/modest.0?wait=1", MODEST, "Connection: close"))
    assert (status, time.monotonic() - began >= 1) == (200, True)
    assert b"Retry-After" not in answer
    ended = wait_for(lambda: answered(waits))[0].recv(65536)
    assert ended.startswith(b"HTTP/1.1 200")
    assert b"Retry-After: 1" in ended


@pytest.mark.parametrize("path", ["/v1/jobs", "/model/v1/generation"])
def test_half_sent_bodies_leave_others_threads_and_memory(
    path: str, server: Any, batches: Store, connect: Callable[..., list[socket.socket]], wait_for: WaitFor
) -> None:
    # Given more half-sent jobs than threads
    before = metric(server, "memory", "refused")
    connect(200, half_sent(path, 1_000_000))
    wait_for(lambda: metric(server, "memory", "refused") >= before + 190, message="the memory is taken")
    for _ in range(5):
        began = time.monotonic()
        assert ask(server, post("/v1/jobs", MODEST, LINE + b" " * 2_000_000))[0] == 201
        assert time.monotonic() - began < 3 * load()


def test_compressed_and_long_lines_count_as_what_they_become(server: Any, batches: Store) -> None:
    # Given jobs that fill the memory when they are unpacked
    packed = gzip.compress(LINE[:-1] + bytes(random.Random(1).choices(b" \t\r\n", k=3_900_000)), 1)
    assert len(packed) < 2 * MB
    before = metric(server, "memory", "refused")
    answers = list[int]()

    def enqueue() -> None:
        for _ in range(3):
            answers.append(ask(server, post("/v1/jobs", GREEDY, packed, "Content-Encoding: gzip"))[0])

    threads = [threading.Thread(target=enqueue) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # Nothing is lost or broken: what does not fit is refused, and everything is given back
    assert set(answers) <= {201, 503}
    assert 201 in answers
    assert (metric(server, "memory", "refused") > before) == (503 in answers)
    assert ask(server, post("/v1/jobs", MODEST, LINE[:-1] + b" " * 4_000_000))[0] == 201


def test_slow_clients_of_one_key_leave_threads(
    server: Any, batches: Store, connect: Callable[..., list[socket.socket]], wait_for: WaitFor
) -> None:
    before = metric(server, "slow", "refused")
    request = head("POST", "/v1/jobs", GREEDY, "Content-Length: 5000") + LINE
    slow = connect(SLOW + 40, request)
    wait_for(lambda: metric(server, "slow", "refused") >= before + 40, message="the slow ones have their share")
    assert ask(server, post("/v1/jobs", MODEST))[0] == 201
    assert ask(server, post("/v1/jobs", GREEDY))[0] == 201
    assert sum(each.recv(4096).startswith(b"HTTP/1.1 503") for each in answered(slow)) >= 40


def test_strangers_of_many_addresses_leave_places_for_slow_producers(
    server: Any, batches: Store, connect: Callable[..., list[socket.socket]], wait_for: WaitFor
) -> None:
    # Given answers that nobody reads, each to another address
    before = metric(server, "strangers", "refused")
    bundle = b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
    for number in range(SLOW + 4):
        connect(1, bundle * 5, 2048, f"127.0.1.{number + 1}")
    wait_for(lambda: metric(server, "strangers", "refused") > before, message="the strangers have their share")
    (slow,) = connect(1, post("/v1/jobs", MODEST)[:-10])
    assert select.select([slow], [], [], 1.5)[0] == []
    slow.sendall(LINE[-10:])
    assert slow.recv(4096).startswith(b"HTTP/1.1 201")
    # Another stranger's page needs no place, because it fits into the connection
    assert ask(server, b"GET /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")[0] == 200


def test_the_rest_of_a_body_that_was_cut_is_not_a_request(
    server: Any, batches: Store, connect: Callable[..., list[socket.socket]], wait_for: WaitFor
) -> None:
    uploads = connect(TRANSFERS + 1, half_sent("/v1/batches"))
    wait_for(lambda: answered(uploads), message="all places are taken")
    uploads.remove(answered(uploads)[0])
    assert ask(server, post("/v1/batches?id=mine", MODEST))[0] == 201
    (cut,) = wait_for(lambda: answered(uploads))
    # When the rest of the body looks like a request
    smuggled = post("/v1/jobs", GREEDY, b'{"model":"kirin_image_omni","prompt":"x","external_task_id":"smuggled"}')
    answer = cut.recv(65536)
    with contextlib.suppress(OSError):
        cut.sendall(smuggled * 3)
        while data := cut.recv(65536):
            answer += data
    assert answer.count(b"HTTP/1.1 ") == 1
    assert ask(server, head("GET", "/v1/jobs/smuggled", GREEDY, "Connection: close"))[0] == 404
