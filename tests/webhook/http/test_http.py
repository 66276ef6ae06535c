"""The webhook in a real server: sockets, chunked bodies, signals and the log."""

import contextlib
import gzip
import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from jobs.new_job import NewJob
from jobs.states import State
from jobs.store.store import Store
from ops.local import redis_server as redis_servers
from schemas import callback_path
from tests.support.producers import own
from tests.support.raw_http import exchange
from tests.support.waiting import WaitFor
from tests.support.webhook_server import Serve
from webhook.places import WAITS

pytestmark = pytest.mark.stack

_JSON = {"json", "problem+json"}
LINE = b'{"model":"kirin_image_omni","prompt":"a fox"}\n'


@pytest.fixture(scope="module")
def running(serve: Serve, redis_server: redis_servers.RedisServer) -> Any:
    return serve({"BOOMERANG_REDIS_URL": redis_server.url})


@pytest.fixture
def server(running: Any, redis_url: str) -> Any:
    """One process for all tests of this module, with an emptied Redis."""
    assert redis_url
    return running


@pytest.fixture
def ask(server: Any) -> Iterator[Callable[..., tuple[int, Any]]]:
    """Return `ask("GET", path, …)`, which returns (status, parsed body) over one kept connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)

    def send(method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        chunked = headers.get("Transfer-Encoding") == "chunked"
        connection.request(method, path, body, server.authorization | headers, encode_chunked=chunked)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if answer.headers.get_content_subtype() in _JSON else text

    yield send
    connection.close()


def test_the_server_starts_from_the_environment_alone(
    *,
    server: Any,
    ask: Callable[..., tuple[int, Any]],
    secret: str,
    completed: dict[str, Any],
    store: Store,
    wait_for: WaitFor,
) -> None:
    job = {"model": "kirin_image_omni", "prompt": "a fox", "external_task_id": "fox"}
    assert ask("GET", "/readyz")[0] == 200
    assert ask("POST", "/v1/jobs", json.dumps(job))[0] == 201
    store.attempts.admit(1)
    store.attempts.claim([own("fox")])

    assert ask("POST", callback_path(own("fox"), secret), json.dumps(completed)) == (204, b"")

    assert ask("GET", "/v1/jobs/fox")[1]["status"] == "completed"
    assert 'boomerang_callbacks_total{outcome="finished"} 1.0' in str(ask("GET", "/metrics")[1])


def test_all_invalid_settings_are_named_and_the_server_does_not_start(serve: Serve) -> None:
    with pytest.raises(RuntimeError) as caught:
        serve({"BOOMERANG_MAX_BODY": "much", "BOOMERANG_DEADLINE": "soon"})
    assert "BOOMERANG_MAX_BODY" in str(caught.value)
    assert "BOOMERANG_DEADLINE" in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("path", ["/callbacks/fox/wrong", "/v1/jobs"])
def test_chunked_bodies_are_refused_where_a_length_is_required(path: str, ask: Callable[..., tuple[int, Any]]) -> None:
    status, problem = ask("POST", path, iter([b'{"status":', b'"running"}']), **{"Transfer-Encoding": "chunked"})
    assert status == 411
    assert "Content-Length" in problem["detail"]


def test_too_large_a_callback_of_a_stranger_is_refused_before_it_is_read(server: Any) -> None:
    head = "POST /callbacks/fox/wrong HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n"
    assert exchange(server.port, head.encode()).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("chunked", [False, True])
def test_too_large_a_callback_is_discarded_so_that_its_sender_reads_the_answer(
    *, chunked: bool, ask: Callable[..., tuple[int, Any]], secret: str
) -> None:
    # Given a body that is larger than what sockets buffer
    body = b"x" * (8 * 1024 * 1024)
    headers = {"Transfer-Encoding": "chunked"} if chunked else {}
    assert ask("POST", callback_path("fox", secret), iter([body]) if chunked else body, **headers) == (204, b"")


def test_an_endless_callback_ends(server: Any, secret: str) -> None:
    # Given a sender that would send a gigabyte
    head = f"POST {callback_path('fox', secret)} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sender:
        sender.sendall(head.encode())
        with contextlib.suppress(ConnectionError):
            while sent < 200 * 1024 * 1024:
                sent += sender.send(b"x" * 65536)
    assert sent < 150 * 1024 * 1024


def test_a_callback_that_breaks_off_is_a_hint(server: Any, secret: str, store: Store) -> None:
    store.jobs.enqueue([NewJob(id="fox", text="{}", model="m")])
    store.attempts.admit(1)
    (claim,) = store.attempts.claim(["fox"])
    store.attempts.mark_in_progress("fox", claim.fence, "t1")
    body = b'{"status":"running"}'
    head = f"POST {callback_path('fox', secret)} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body) + 9}\r\n\r\n"
    assert exchange(server.port, head.encode() + body).startswith(b"HTTP/1.1 204")
    assert store.jobs.get("fox").state is State.IN_PROGRESS
    assert [each.job.id for each in store.attempts.claim_due(10).dues] == ["fox"]


def test_an_upload_whose_chunks_are_not_valid_is_refused(server: Any) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in server.authorization.items())
    start = f"POST /v1/batches HTTP/1.1\r\nHost: x\r\n{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    assert exchange(server.port, start.encode()).startswith(b"HTTP/1.1 400")


def test_an_upload_may_be_chunked_with_lines_across_chunks(ask: Callable[..., tuple[int, Any]], store: Store) -> None:
    body = LINE * 3000
    pieces = (body[start : start + 777] for start in range(0, len(body), 777))
    status, answer = ask("POST", "/v1/batches?id=b", pieces, **{"Transfer-Encoding": "chunked"})
    assert (status, answer["accepted"]) == (201, 3000)
    assert store.batches.get(own("b")).accepted == 3000


def test_an_upload_may_be_chunked_and_gzipped(ask: Callable[..., tuple[int, Any]]) -> None:
    headers = {"Transfer-Encoding": "chunked", "Content-Encoding": "gzip"}
    assert ask("POST", "/v1/batches?id=b", iter([gzip.compress(LINE * 900)]), **headers)[1]["accepted"] == 900


def test_an_upload_refused_midway_gets_an_answer(ask: Callable[..., tuple[int, Any]]) -> None:
    # Given a body larger than the sockets' buffers, which is declared as gzip and is not
    status, problem = ask("POST", "/v1/batches", LINE * 400_000, **{"Content-Encoding": "gzip"})
    assert status == 400
    assert "gzip" in problem["detail"]


def test_an_upload_is_processed_while_it_arrives(server: Any, store: Store, wait_for: WaitFor) -> None:
    # Given an upload whose sender pauses after 1,000 lines
    part = LINE * 1000
    head = "".join(f"{name}: {value}\r\n" for name, value in server.authorization.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sender:
        start = f"POST /v1/batches?id=b HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {2 * len(part)}\r\n\r\n"
        sender.sendall(start.encode() + part + part[: len(part) // 2])
        # Then jobs exist already
        wait_for(lambda: store.jobs.page().jobs and store.batches.get(own("b")).accepted >= 500)
        assert store.batches.get(own("b")).accepted < 2000
        # And when the sender breaks off, the accepted jobs remain
        sender.shutdown(socket.SHUT_WR)
        assert sender.recv(100).startswith(b"HTTP/1.1 400")
    assert 500 <= store.batches.get(own("b")).accepted < 2000


def test_memory_does_not_grow_with_an_upload(server: Any, ask: Callable[..., tuple[int, Any]]) -> None:
    ask("POST", "/v1/batches", LINE * 100)
    before = _resident(server.pid)

    def lines() -> Iterator[bytes]:
        for _ in range(60):
            yield b'{"model":"nothing","prompt":"' + b"x" * 1_000_000 + b'"}\n'

    status, answer = ask("POST", "/v1/batches", lines(), **{"Transfer-Encoding": "chunked"})

    assert (status, answer["rejected"]) == (201, 60)
    assert _resident(server.pid) - before < 30_000_000


def _resident(pid: int) -> int:
    """Return the resident memory of gunicorn's one worker, in bytes."""
    (worker,) = _children(pid)
    with open(f"/proc/{worker}/statm", encoding="ascii") as statm:  # noqa: PTH123 - no file of ours
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:  # noqa: PTH123 - no file of ours
        return [int(child) for child in children.read().split()]


def test_results_arrive_complete_and_in_order(ask: Callable[..., tuple[int, Any]]) -> None:
    ask("POST", "/v1/batches?id=b", LINE * 1500)
    _, text = ask("GET", "/v1/batches/b/results")
    assert [json.loads(line)["id"] for line in text.splitlines()] == [f"b.{number}" for number in range(1, 1501)]


def test_callbacks_are_answered_while_all_long_polls_wait(
    server: Any, ask: Callable[..., tuple[int, Any]], secret: str, store: Store, completed: dict[str, Any]
) -> None:
    # Given more long polls than there are threads
    store.jobs.enqueue([NewJob(id="slow", text="{}", model="m"), NewJob(id="fox", text="{}", model="m")])
    store.attempts.admit(2)
    assert len(store.attempts.claim(["fox", "slow"])) == 2
    head = "".join(f"{name}: {value}\r\n" for name, value in server.authorization.items())
    with contextlib.ExitStack() as opened:
        waiting = [opened.enter_context(socket.create_connection(("127.0.0.1", server.port), 30)) for _ in range(200)]
        for connection in waiting:
            connection.sendall(f"GET /v1/jobs/slow?wait=30 HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())

        # Then a callback is answered
        assert ask("POST", callback_path("fox", secret), json.dumps(completed))[0] == 204
        assert store.jobs.get("fox").state is State.COMPLETED
        # And all waits end with the job, not with their time
        assert ask("POST", callback_path("slow", secret), json.dumps(completed))[0] == 204
        answers = [opened.enter_context(http.client.HTTPResponse(connection)) for connection in waiting]
        for answer in answers:
            answer.begin()
        statuses = [json.load(answer)["status"] for answer in answers]
    # Those without a place were answered at once
    assert statuses.count("completed") >= WAITS


def test_a_killed_worker_is_replaced(server: Any, ask: Callable[..., tuple[int, Any]], wait_for: WaitFor) -> None:
    wait_for(lambda: _children(server.pid))
    (worker,) = _children(server.pid)
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: worker not in _children(server.pid) and _children(server.pid))
    assert ask("GET", "/readyz")[0] == 200


def test_a_running_request_is_completed_at_sigterm(
    serve: Serve, redis_url: str, store: Store, wait_for: WaitFor
) -> None:
    server = serve({"BOOMERANG_REDIS_URL": redis_url})
    store.jobs.enqueue([NewJob(id="sigterm-fox", text="{}", model="m")])
    statuses: list[int] = []

    def wait() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", "/v1/jobs/sigterm-fox?wait=2", headers=server.authorization)
        statuses.append(connection.getresponse().status)
        connection.close()

    waiting = threading.Thread(target=wait)
    waiting.start()
    channel = store.context.keys.member("ended", "sigterm-fox")
    wait_for(lambda: store.context.client.pubsub_numsub(channel) == [(channel, 1)])
    os.kill(server.pid, signal.SIGTERM)
    waiting.join(30)
    assert statuses == [200]


def test_no_secret_reaches_log_or_redis(
    serve: Serve, redis_url: str, raw: redis.Redis, secret: str, wait_for: WaitFor
) -> None:
    # Given a server with its access log switched on
    server = serve({"BOOMERANG_REDIS_URL": redis_url}, "--access-logfile", "-")
    path = callback_path("fox", secret)
    token = path.rpartition("/")[2]
    key = server.authorization["Authorization"].removeprefix("Bearer ")
    for target, body in ((path, b"{"), (path, b"[]"), ("/v1/jobs", LINE), (path + "/x", b"{}")):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("POST", target, body, server.authorization)
        connection.getresponse().read()
        connection.close()

    kept = [text for name in raw.keys("*") for text in (name, str(raw.dump(name)) if raw.exists(name) else "")]
    text = "\n".join(server.log + kept)
    for canary in (secret, token, key):
        assert canary not in text
