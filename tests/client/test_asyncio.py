"""The client for asyncio: the same calls as the other one, generated from one source, and safe to cancel."""

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, TypeVar

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
)
from ops.release.client_code import generated
from tests.support.fake_boomerang import FakeService, Fault

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "python-client.md"
REQUEST: dict[str, Any] = {"model": "kirin_image_omni", "prompt": "A red boat"}
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


def test_the_example_of_the_page_runs(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## In asyncio")[2].partition("\n## ")[0]
    monkeypatch.chdir(tmp_path)
    exec(re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0], {"__name__": "__main__"})
    printed = capsys.readouterr().out.splitlines()
    assert sum(line.endswith(" completed") for line in printed) == 103
    assert len(printed) == 203


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
