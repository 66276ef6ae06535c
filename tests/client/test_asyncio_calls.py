"""Every call of the client for asyncio, against the real service on a real Redis."""

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest

from boomerang_client import AsyncClient, ImagesRefused, NoOutput, NotFound, Status
from jobs.store.store import Store
from tests.support.drawing import drawn
from tests.support.real_service import KEY, Provider, serving, serving_images

OMNI: dict[str, Any] = {"model": "kirin_image_omni", "prompt": "a fox"}


class Watched(AsyncClient):
    """A client that knows which of its calls were used."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.used: set[str] = set()
        super().__init__(*args, **options)

    def __getattribute__(self, name: str) -> Any:
        if name != "used" and not name.startswith("_"):
            self.used.add(name)
        return super().__getattribute__(name)


async def use_changes(client: AsyncClient) -> None:
    """Use what changes jobs that wait."""
    await client.generate(**OMNI, external_task_id="one", image_list=[drawn(), drawn()])
    with pytest.raises(ImagesRefused):
        await client.enqueue(OMNI | {"image_list": [b"no image"]})
    assert (await client.pause_job("one")).id == "one"
    assert (await client.resume_job("one")).status is Status.QUEUED
    assert (await client.cancel("one")).status is Status.CANCELLED
    assert (await client.cancel("one")).status is Status.CANCELLED
    batch = await client.batch([OMNI] * 3, "b", paused=True, labels={"a": "1"})
    assert (await batch.approve()).affected == 3
    assert (await batch.pause()).id == "b"
    assert (await client.batch("b")).paused
    await batch.resume(max_cost="10")


async def use_jobs(client: AsyncClient, folder: Path) -> None:
    with pytest.raises(NoOutput):
        await (await client.job("one", include=["request"])).save(folder)
    job = await client.retry("one", OMNI | {"prompt": "a hare"})
    assert job.revision == 2
    seen: list[str] = []
    assert await job.wait(20, lambda each: seen.append(each.id)) is job
    assert job.status is Status.COMPLETED
    (path,) = await job.save(folder)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [each.was_there async for each in client.save([job], folder)] == [True]
    assert "one" in [each.id async for each in client.jobs("completed", limit=5)]


async def use_batches(client: AsyncClient, folder: Path) -> None:
    batch = await client.batch("b")
    assert sorted([job.id async for job in batch.results(20)]) == ["b.1", "b.2", "b.3"]
    # The progress is that of the end, without a refresh.
    assert (batch.done, batch.finished, batch.by_state()) == (True, 3, [(Status.COMPLETED, 3)])
    assert await batch.wait(timeout=20) is batch
    assert [each.error for each in await batch.save(folder)] == [None] * 3
    assert [job.id async for job in client.results("b", include=["request"])] == ["b.1", "b.2", "b.3"]
    assert [job async for job in batch.failures()] == []
    assert (await batch.retry(dry_run=True)).affected == 0
    assert (await batch.cancel()).affected == 0
    assert [each.id async for each in client.batches(status="done", labels={"a": "1"})] == ["b"]
    assert (await client.enqueue_batch([OMNI] * 3, "b")).known == 3
    assert (await client.quote([OMNI] * 2)).accepted == 2


async def use_bulk_actions(client: AsyncClient) -> None:
    """Pause and resume the jobs that wait."""
    wanted = {"batch": "b"}
    counted = await client.begin_bulk("pause", wanted, dry_run=True)
    assert (counted.affected, counted.status) == (3, "done")
    assert await client.bulk(counted.id) == counted
    done = await client.begin_bulk("pause", wanted, key="once")
    assert (done.affected, done.dry_run) == (3, False)
    assert (await client.begin_bulk("pause", wanted, key="once")).id == done.id
    assert (await client.begin_bulk("resume", wanted)).affected == 3
    assert (await client.begin_bulk("priority", wanted, priority="high")).affected == 3
    assert [each.action for each in await client.bulk_actions()] == ["priority", "resume", "pause", "pause"]
    # It is over, so there is nothing left to abort.
    assert (await client.abort_bulk(done.id)).status == "done"
    with pytest.raises(NotFound):
        await client.bulk("0" * 16)


async def use_others(client: AsyncClient) -> None:
    assert [each async for each in client.deliveries()] == []
    with pytest.raises(NotFound):
        [each async for each in client.deliveries("nothing")]
    assert await client.replay() == 0
    assert await client.receivers() == []
    with pytest.raises(NotFound):
        await client.enable_receiver("shop.example.com")
    assert (await client.spend("batch")).jobs == 4
    done = [each async for each in client.audit_trail(operation="cancel")]
    assert {each.via for each in done} == {"api"}
    assert [each async for each in client.audit_trail(id="nothing")] == []
    assert await client.lanes() == list((await client.overview()).lanes)


def test_every_call_works_against_the_service(redis_url: str, store: Store, tmp_path: Path) -> None:
    async def work(provider: Provider) -> set[str]:
        client = Watched(provider.url, KEY)
        async with client:
            await use_changes(client)
            await use_bulk_actions(client)
            with provider.working():
                await use_jobs(client, tmp_path / "one")
                await use_batches(client, tmp_path / "b")
            await use_others(client)
            with pytest.raises(NotFound):
                await client.approve("nothing")
            return client.used

    with serving(redis_url, store) as url, serving_images() as images:
        used = asyncio.run(work(Provider(url, store, images)))
    calls = {name for name, _ in inspect.getmembers(AsyncClient, inspect.isfunction) if not name.startswith("_")}
    assert calls - used == set()


@pytest.mark.slow
def test_fifty_tasks_share_a_client(redis_url: str, store: Store) -> None:
    async def work(url: str) -> list[str]:
        async with AsyncClient(url, KEY) as client:
            jobs = await asyncio.gather(*(client.enqueue(OMNI | {"external_task_id": f"t{n}"}) for n in range(50)))
            return [job.id for job in await asyncio.gather(*(job.wait(30) for job in jobs))]

    with serving(redis_url, store) as url, Provider(url, store).working():
        assert asyncio.run(work(url)) == [f"t{n}" for n in range(50)]
