"""Saved images come from the service: broken downloads continue, and their SHA-256 is checked."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from boomerang_client import Client, Job, NotSaved
from boomerang_client.new_files import resumed_file
from jobs.blobs.bucket import Bucket
from jobs.store.store import Store
from tests.support.drawing import draw_png
from tests.support.real_service import KEY, serving, serving_images
from tests.support.saved import Save, saver

#: Larger than one piece of a stream.
IMAGE = draw_png(2_000_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "images"


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/results"


@pytest.fixture
def save(store: Store, store_url: str) -> Save:
    # The provider is away.
    return saver(store, store_url, lambda job_id, number: f"http://127.0.0.1:9/{job_id}-{number}.png")


@pytest.fixture
def real(redis_url: str, store: Store, store_url: str) -> Iterator[Client]:
    with (
        serving(redis_url, store, result_store=store_url) as url,
        Client(url, KEY, retries=0, backoff=0.01, private_hosts=True) as client,
    ):
        yield client


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Return `breaking(count)`: the first `count` answers break off in the middle. It returns where each began."""
    begins: list[int] = []
    stream = Bucket.stream

    def start(count: int) -> list[int]:
        def cut(bucket: Bucket, name: str, begin: int, end: int) -> Iterator[bytes]:
            begins.append(begin)
            pieces = stream(bucket, name, begin, end)
            if len(begins) <= count:
                yield next(pieces)
                raise OSError("cut off")
            yield from pieces

        monkeypatch.setattr(Bucket, "stream", cut)
        return begins

    return start


def the_job(client: Client) -> Job:
    return client.job("fox")


def files_in(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


def test_a_saved_image_comes_from_the_service(real: Client, save: Save, folder: Path) -> None:
    save("fox@shop", IMAGE, draw_png(seed=3))
    job = the_job(real)
    assert job.output[0].source_url == "http://127.0.0.1:9/fox@shop-0.png"
    assert job.save(folder) == [folder / "fox-1.png", folder / "fox-2.png"]
    assert files_in(folder) == {"fox-1.png": IMAGE, "fox-2.png": draw_png(seed=3)}


def test_a_broken_download_continues_where_it_broke(
    real: Client, save: Save, folder: Path, breaking: Callable[[int], list[int]]
) -> None:
    save("fox@shop", IMAGE)
    begins = breaking(2)
    (path,) = the_job(real).save(folder)
    assert path.read_bytes() == IMAGE
    assert begins[0] == 0 < begins[1] < begins[2]
    assert list(files_in(folder)) == ["fox-1.png"]


@pytest.mark.slow
def test_the_next_call_continues_it_too(
    real: Client, save: Save, folder: Path, breaking: Callable[[int], list[int]]
) -> None:
    save("fox@shop", IMAGE)
    begins = breaking(4)
    with pytest.raises(NotSaved):
        the_job(real).save(folder)
    (part,) = folder.iterdir()
    assert part.name.startswith(".boomerang-")
    (path,) = the_job(real).save(folder)
    assert path.read_bytes() == IMAGE
    assert begins[4] > begins[3] > 0
    assert list(files_in(folder)) == ["fox-1.png"]


WRONG = {
    "other bytes": b"x" * 500,
    "more than there is": b"x" * (len(IMAGE) + 7),
    "as many other bytes": b"x" * len(IMAGE),
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_what_was_there_of_another_file_is_replaced(content: bytes, real: Client, save: Save, folder: Path) -> None:
    saved = save("fox@shop", IMAGE)
    folder.mkdir()
    (folder / f".boomerang-{saved.outputs[0].sha256}.part").write_bytes(content)
    (path,) = the_job(real).save(folder)
    assert path.read_bytes() == IMAGE
    assert list(files_in(folder)) == ["fox-1.png"]


@pytest.mark.slow
def test_a_damaged_file_is_never_saved_under_its_name(real: Client, save: Save, folder: Path, tmp_path: Path) -> None:
    save("fox@shop", IMAGE)
    (stored,) = (tmp_path / "results").rglob("*.png")
    stored.write_bytes(IMAGE[:-1] + b"?")
    with pytest.raises(NotSaved, match="SHA-256"):
        the_job(real).save(folder)
    assert files_in(folder) == {}


def test_a_deleted_file_is_fetched_from_the_provider_and_checked(
    real: Client, store: Store, store_url: str, folder: Path, tmp_path: Path
) -> None:
    with serving_images() as images:
        same = requests.get(f"{images}/fox-0.png", timeout=10).content
        save = saver(store, store_url, lambda job_id, number: f"{images}/{job_id}-{number}.png")
        save("fox@shop", same)
        save("owl@shop", IMAGE)
        for stored in (tmp_path / "results").rglob("*.png"):
            stored.unlink()
        (path,) = the_job(real).save(folder)
        assert path.read_bytes() == same
        with pytest.raises(NotSaved):
            real.job("owl").save(folder)
        assert list(files_in(folder)) == ["fox-1.png"]


TRAPS: dict[str, Callable[[Path, Path], None]] = {
    "a link": lambda part, other: part.symlink_to(other),
    "a hard link": lambda part, other: part.hardlink_to(other),
    "a folder": lambda part, _: part.mkdir(),
    "a link to nothing": lambda part, other: part.symlink_to(other.with_name("nothing")),
}


@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)
def test_nothing_that_waits_in_the_place_of_a_part_is_written_to(
    trap: Callable[[Path, Path], None], real: Client, save: Save, folder: Path, tmp_path: Path
) -> None:
    saved = save("fox@shop", IMAGE)
    folder.mkdir()
    other = tmp_path / "other"
    other.write_bytes(b"mine")
    trap(folder / f".boomerang-{saved.outputs[0].sha256}.part", other)
    (path,) = the_job(real).save(folder)
    assert path.read_bytes() == IMAGE
    assert other.read_bytes() == b"mine"
    assert not other.with_name("nothing").exists()


def test_two_processes_do_not_write_the_same_part(tmp_path: Path) -> None:
    with resumed_file(tmp_path, "ab") as (one, _), resumed_file(tmp_path, "ab") as (other, finish):
        one.write(b"one")
        other.write(b"other")
        finish(tmp_path / "done")
    assert (tmp_path / "done").read_bytes() == b"other"


def test_counts_are_right_after_results_and_jobs_can_be_refreshed(real: Client, save: Save, store: Store) -> None:
    batch = real.batch([{"model": "kirin_image_omni", "prompt": "a fox"}] * 2, "foxes")
    for job_id in ("foxes.1@shop", "foxes.2@shop"):
        store.jobs.cancel(job_id)
    assert batch.finished == 0
    jobs = list(batch.results())
    assert [batch.finished, batch.done, len(jobs)] == [2, True, 2]
    assert batch.refresh().finished == 2
    assert [job.refresh().status for job in jobs] == ["cancelled"] * 2


@pytest.mark.slow
def test_equal_images_that_are_saved_at_once_are_all_complete(tmp_path: Path) -> None:
    def save(number: int) -> None:
        with resumed_file(tmp_path, "ab") as (file, finish):
            assert file.tell() == 0
            file.write(b"image")
            finish(tmp_path / f"{number}.png")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(save, range(1200)))

    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"image"}
    assert len(list(tmp_path.iterdir())) == 1200
