"""The client for asyncio: the same calls as the other one, generated from one source, and safe to cancel."""

import asyncio
import gc
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

import boomerang_client
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
    StillRunning,
    TooBusy,
)
from ops.release.client_code import generated
from tests.support.fake_boomerang import KEY, FakeService, Fault

REQUEST = {"model": "kirin_image_omni", "prompt": "A red boat"}
Result = TypeVar("Result")


def run(work: Awaitable[Result]) -> Result:
    """Run it in an event loop of its own, which must have no task left at the end."""

    async def alone() -> Result:
        try:
            return await work
        finally:
            await asyncio.sleep(0)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert left == set()

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
        assert waits == (name not in {"by_state"}), name


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
