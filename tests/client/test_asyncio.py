"""The client for asyncio: the same calls as the other one, generated from one source, and safe to cancel."""

import asyncio
import inspect
import os
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest

from boomerang_client import (
    AsyncBatch,
    AsyncClient,
    AsyncJob,
    Batch,
    Client,
    Conflict,
    ImagesRefused,
    Invalid,
    Job,
    NotFound,
    ServiceUnavailable,
    TooBusy,
    UsageError,
)
from boomerang_client.asynchronous.records import read_job
from boomerang_client.asynchronous.transport import STREAMS
from ops.release.client_code import generated
from tests.support.drawing import drawn
from tests.support.fake_boomerang import KEY, FakeService, Fault

REQUEST: dict[str, Any] = {"model": "kirin_image_omni", "prompt": "A red boat"}
Result = TypeVar("Result")
#: The tasks of the server that runs in the same loop: one accepts a connection that its client has given up already.
SERVING = re.compile(r"Silent|_accept_connection")


def run(work: Awaitable[Result]) -> Result:
    """Run it in an event loop of its own, which must have no task left at the end."""

    async def alone() -> Result:
        try:
            return await work
        finally:
            await asyncio.sleep(0)
            left = {task for task in asyncio.all_tasks() if not SERVING.search(repr(task))}
            assert left == {asyncio.current_task()}

    return asyncio.run(alone())


def public(kind: type) -> dict[str, Any]:
    return {name: each for name, each in inspect.getmembers(kind) if not name.startswith("_")}


@pytest.mark.parametrize(("blocking", "other"), [(Client, AsyncClient), (Job, AsyncJob), (Batch, AsyncBatch)])
def test_both_clients_have_the_same_calls_and_parameters(blocking: type, other: type) -> None:
    assert set(public(blocking)) == set(public(other))
    for name, call in public(blocking).items():
        if not callable(call) or isinstance(call, type):
            continue
        mine, theirs = inspect.signature(call), inspect.signature(public(other)[name])
        assert list(mine.parameters) == list(theirs.parameters), name
        for one, two in zip(mine.parameters.values(), theirs.parameters.values(), strict=True):
            assert (one.kind, one.default is one.empty) == (two.kind, two.default is two.empty), (name, one.name)
        # What blocks is awaited, or iterated over, and nothing else is.
        waits = inspect.iscoroutinefunction(public(other)[name]) or "AsyncGenerator" in str(theirs.return_annotation)
        assert waits == (name != "by_state"), name


@pytest.mark.stack
def test_the_client_without_asyncio_is_what_its_source_generates() -> None:
    assert [path.name for path, text in generated().items() if path.read_text(encoding="utf-8") != text] == []


def test_jobs(service: FakeService) -> None:
    async def work() -> None:
        async with AsyncClient(backoff=0) as client:
            job = await client.generate(**REQUEST, labels={"shop": "7"})
            assert isinstance(job, AsyncJob)
            assert await job.wait(timeout=5) is job
            assert job.status.final
            assert (await client.job(job.id)).id == job.id
            assert await job.refresh() is job
            assert [each.id async for each in client.jobs()] == [job.id]
            assert [each.id async for each in client.jobs(limit=0)] == []
            with pytest.raises(NotFound):
                await client.job("nothing")
            with pytest.raises(Conflict):
                await client.enqueue({**REQUEST, "prompt": "Another", "external_task_id": job.id})

    run(work())


def test_a_batch_of_any_source(service: FakeService, tmp_path: Path) -> None:
    path = tmp_path / "lines.ndjson"
    path.write_bytes(b'{"model": "m"}\n' * 1200)

    async def lines() -> AsyncIterator[dict[str, str]]:
        for _ in range(3):
            await asyncio.sleep(0)
            yield REQUEST

    async def work() -> list[int]:
        async with AsyncClient(backoff=0) as client:
            batches = [
                await client.batch(lines(), "one"),
                await client.batch([REQUEST] * 3, "two", on_error="abort"),
                await client.batch(path, "three"),
            ]
            with path.open("rb") as file:
                batches.append(await client.batch(file, "four", pilot=2))
            seen = [each.id async for each in batches[0].results(timeout=5)]
            assert (sorted(seen), batches[0].finished, batches[0].done) == (["one.1", "one.2", "one.3"], 3, True)
            assert [each.id async for each in client.results("two")] == ["two.1", "two.2", "two.3"]
            assert (await client.batch("three")).id == "three"
            return [each.accepted for each in batches]

    assert run(work()) == [3, 3, 1200, 1200]


def test_a_refused_line_and_a_bad_image_are_errors(service: FakeService) -> None:
    async def work() -> None:
        async with AsyncClient(backoff=0) as client:
            with pytest.raises(ImagesRefused):
                await client.generate(**REQUEST, image_list=[b"not an image"])
            service.faults.append(Fault(status=422, body=b'{"errors": {"prompt": ["is too long"]}}'))
            with pytest.raises(Invalid) as refused:
                await client.enqueue(REQUEST)
            assert refused.value.errors == {"prompt": ("is too long",)}

    run(work())


@pytest.mark.parametrize("fault", [Fault(), Fault(status=503), Fault(status=502), Fault(after=True)], ids=repr)
def test_a_call_is_repeated_and_a_retry_is_not(service: FakeService, fault: Fault) -> None:
    async def work() -> None:
        async with AsyncClient(backoff=0) as client:
            service.faults.extend([fault] * 4)
            job = await client.generate(**REQUEST)
            assert service.paths() == ["POST /v1/jobs"] * 5
            service.faults.extend([fault] * 5)
            with pytest.raises(ServiceUnavailable) as failed:
                await client.generate(**REQUEST)
            assert failed.value.repeat_id
            before = len(service.seen)
            service.faults.append(fault)
            with pytest.raises(ServiceUnavailable):
                await client.retry(job.id)
            assert len(service.seen) == before + 1

    run(work())


def test_an_upload_that_is_refused_for_lack_of_room_is_returned_at_once(service: FakeService) -> None:
    service.faults.append(Fault(status=429, headers={"Retry-After": "120"}))

    async def work() -> None:
        async with AsyncClient(backoff=0) as client:
            with pytest.raises(TooBusy) as refused:
                await client.batch([REQUEST], "b", patience=1)
            assert refused.value.retry_after == 120

    run(work())
    assert len(service.seen) == 1


class Silent:
    """A server that reads each request, answers with `head`, and then sends nothing more."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.asked = asyncio.Event()
        self.open = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self.head)
            await writer.drain()
            self.asked.set()
            while await reader.read(1000):
                pass
        except ConnectionError:
            pass
        finally:
            self.open -= 1
            writer.close()

    async def is_left(self) -> None:
        """Wait until no connection is open."""
        async with asyncio.timeout(10):
            while self.open:  # noqa: ASYNC110 -- connections are counted
                await asyncio.sleep(0.01)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n"
PNG = b"\x89PNG\r\n\x1a\n"
#: Where a server falls silent: before its answer, after the head, in the middle of the body.
HEADS = {
    "no answer": b"",
    "a head": HEAD,
    "a part": HEAD + b"{",
}
CALLS: dict[str, Callable[[AsyncClient], Awaitable[object]]] = {
    "enqueue": lambda client: client.enqueue(REQUEST),
    "batch": lambda client: client.batch([REQUEST] * 3),
    "at once": lambda client: client.batch([REQUEST] * 3, on_error="abort"),
    "wait": lambda client: client.wait("b"),
    "results": lambda client: anext(client.results("b")),
    "image": lambda client: client.generate(**REQUEST, image_list=[drawn()]),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("head", HEADS)
def test_a_cancelled_call_leaves_no_connection_and_no_task(call: str, head: str) -> None:
    async def work() -> None:
        async with Silent(HEADS[head]) as server, AsyncClient(server.url, KEY) as client:
            task = asyncio.ensure_future(CALLS[call](client))
            await server.asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await server.is_left()

    run(work())


@pytest.mark.parametrize("head", [b"", HEAD, HEAD + PNG])
@pytest.mark.parametrize("saved", [False, True], ids=["from the provider", "from the service"])
def test_a_cancelled_save_leaves_no_file_no_connection_and_no_thread(
    tmp_path: Path, head: bytes, *, saved: bool
) -> None:
    more = {"saved_at": "2026-01-01T00:00:00Z", "sha256": "0" * 64, "size": 9999} if saved else {}

    async def work() -> float:
        async with Silent(head) as server, AsyncClient(server.url, KEY, private_hosts=True, timeout=(3, 5)) as client:
            output = [{"type": "image", "url": f"{server.url}/{n}.png", **more} for n in range(20)]
            job = read_job({"id": "one", "status": "completed", "output": output}, client)
            task = asyncio.ensure_future(job.save(tmp_path))
            await server.asked.wait()
            began = asyncio.get_running_loop().time()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            took = asyncio.get_running_loop().time() - began
            await server.is_left()
            return took

    assert run(work()) < 20
    assert [each for each in tmp_path.iterdir() if not each.name.startswith(".")] == []
    # What a saved image's download has, its next one continues.
    assert [each for each in tmp_path.iterdir() if not (saved and each.stat().st_size == len(PNG))] == []
    assert [each.name for each in threading.enumerate() if each.name.startswith("boomerang-save")] == []


def test_a_cancelled_upload_says_how_to_continue(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boomerang_client.asynchronous.uploading.PART_LINES", 1)
    errors: list[BaseException] = []

    async def upload(client: AsyncClient) -> None:
        async def lines() -> AsyncIterator[dict[str, Any]]:
            yield REQUEST
            yield REQUEST
            await asyncio.Event().wait()

        try:
            await client.batch(lines(), "b")
        except asyncio.CancelledError as error:
            errors.append(error)
            raise

    async def work() -> None:
        async with AsyncClient() as client:
            task = asyncio.ensure_future(upload(client))
            while len(service.batches.get("b", ())) < 2:  # noqa: ASYNC110 -- the service is in a thread
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await client.enqueue_batch([REQUEST] * 3, "b")).known == 2

    run(work())
    known = vars(errors[0])
    assert known["repeat_id"] == "b"
    assert known["enqueued"] in {1, 2}  # the second answer may still be on its way


def test_an_iterator_that_is_left_frees_its_connection(service: FakeService) -> None:
    async def work() -> None:
        async with AsyncClient() as client:
            await client.batch([REQUEST] * 300, "b")
            for _ in range(STREAMS + 5):
                async with aclosing(client.results("b")) as results:
                    async for job in results:
                        assert job.id == "b.1"
                        break

    run(work())


def test_the_loop_is_not_blocked_by_a_slow_file(service: FakeService, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    async def work() -> int:
        async with AsyncClient() as client:
            upload = asyncio.ensure_future(client.enqueue_batch(path, "b"))
            await asyncio.sleep(0.2)  # the loop works although the other end of the pipe is not open
            with await asyncio.to_thread(path.open, "wb") as file:
                file.write(b'{"model": "m"}\n' * 3)
            return (await upload).accepted

    assert run(work()) == 3


def test_what_the_client_refuses_before_it_sends() -> None:
    with pytest.raises(UsageError, match="BOOMERANG_URL"):
        AsyncClient("ftp://boomerang.example.com", KEY)
    with pytest.raises(UsageError, match="BOOMERANG_KEY"):
        AsyncClient("http://boomerang.example.com", "")
