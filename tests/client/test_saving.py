"""Saving results into a folder: complete files or none, each fetched once, existing files unchanged."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boomerang_client import Batch, Client, Job, NoOutput, NotSaved, saving
from tests.support.fake_boomerang import FakeService, Fault

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" * 1000
JPEG = b"\xff\xd8\xff" + b"pixels"
REQUEST: dict[str, Any] = {"model": "kirin_image_omni", "prompt": "A red boat"}


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boomerang_client.request_retries.BACKOFF_MAX", 0)


@pytest.fixture
def batch(client: Client, service: FakeService) -> Any:
    """Three jobs, one of which fails and one of which gives a JPEG."""
    service.files = {"b.1.png": PNG, "b.3.png": JPEG}
    return client.batch([REQUEST, REQUEST | {"prompt": "please fail"}, REQUEST], "b")


def names(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_jobs_images_are_saved_once_it_has_ended(client: Client, service: FakeService, tmp_path: Path) -> None:
    service.files = {"boat:1.png": PNG}
    service.polls_before_end = 1
    job = client.generate(**REQUEST, n=2, external_task_id="boat:1")
    assert not job.status.final
    paths = job.save(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["boat+1-1.png", "boat+1-2.png"]
    assert job.status == "completed"
    assert paths[0].read_bytes() == PNG
    # It has the same permissions as an ordinary file.
    (tmp_path / "other").write_text("")
    assert paths[0].stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_job_without_images_reports_the_reason(client: Client, service: FakeService, tmp_path: Path) -> None:
    job = client.generate(model="kirin_image_omni", prompt="please fail")
    with pytest.raises(NoOutput, match="is failed and has no images: 002016095 Internal"):
        job.save(tmp_path)


def test_a_batch_is_saved_as_it_finishes_and_repeating_fetches_nothing(
    batch: Batch, service: FakeService, tmp_path: Path
) -> None:
    reported: list[Any] = []
    saved = batch.save(tmp_path, progress=reported.append)
    assert names(tmp_path) == {"b.1-1.png": PNG, "b.3-1.jpg": JPEG}
    assert sorted((one.job, one.was_there, one.error) for one in saved) == [("b.1", False, None), ("b.3", False, None)]
    assert reported == saved
    service.files.clear()
    assert all(one.was_there for one in batch.save(tmp_path))


def test_the_key_is_sent_to_the_service_only(
    batch: Batch, service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    batch.save(tmp_path / "out")
    fetched = [one for one in service.seen if one.path.startswith("/files/")]
    assert len(fetched) == 2
    assert all("authorization" not in one.headers and "cookie" not in one.headers for one in fetched)


def test_failed_downloads_are_reported_and_do_not_stop_others(
    batch: Batch, service: FakeService, tmp_path: Path
) -> None:
    service.files = {"b.3.png": JPEG}
    saved = {one.job: one for one in batch.save(tmp_path)}
    assert saved["b.1"].path is None
    assert "refused (HTTP 404). The provider has deleted it" in saved["b.1"].error
    assert names(tmp_path) == {"b.3-1.jpg": JPEG}
    job = batch.service.job("b.1")
    with pytest.raises(NotSaved, match="HTTP 404"):
        job.save(tmp_path)


@pytest.mark.parametrize(
    ("fault", "times", "error"),
    [
        pytest.param({"status": 503}, 1, None, id="503"),
        pytest.param({}, 1, None, id="cut before"),
        pytest.param(
            {"status": 200, "headers": {"Content-Length": "9999"}, "body": PNG[:50]}, 3, None, id="cut midway"
        ),
        pytest.param(
            {"status": 200, "headers": {"Content-Length": "9999"}, "body": PNG[:50]}, 4, "downloaded", id="cut always"
        ),
        pytest.param({"status": 500}, 1, "HTTP 500", id="500"),
        pytest.param({"status": 200, "body": b""}, 1, "is empty", id="empty"),
        pytest.param({"status": 200, "body": b"<html>"}, 1, "is not an image", id="a page"),
    ],
)
def test_a_file_is_complete_or_missing(
    *, client: Client, service: FakeService, tmp_path: Path, fault: dict[str, Any], times: int, error: str | None
) -> None:
    service.files = {"one.png": PNG}
    job = client.generate(**REQUEST, external_task_id="one").wait()

    def spoil() -> None:
        broken = [one for one in service.seen if one.path.startswith("/files/")]
        if 0 < len(broken) <= times:
            service.faults.append(Fault(**fault))

    service.on_request = spoil
    if error is None:
        assert [path.name for path in job.save(tmp_path)] == ["one-1.png"]
        assert names(tmp_path) == {"one-1.png": PNG}
    else:
        with pytest.raises(NotSaved, match=error):
            job.save(tmp_path)
        assert names(tmp_path) == {}


def test_a_file_that_is_too_large_is_not_saved(
    batch: Batch, service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "LARGEST", 100)
    saved = {one.job: one.error for one in batch.save(tmp_path)}
    assert "is larger than 100 bytes" in saved["b.1"]
    assert names(tmp_path) == {"b.3-1.jpg": JPEG}


def test_a_name_that_would_leave_the_folder_stays_in_it(client: Client, service: FakeService, tmp_path: Path) -> None:
    service.files = {"one.png": PNG}
    job = client.generate(**REQUEST, external_task_id="one").wait()
    job.id = "../../etc/x"
    assert [path.parent for path in job.save(tmp_path)] == [tmp_path]


def test_an_unusable_folder_is_an_error(batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotSaved, match="Choose another"):
        batch.save(tmp_path / "file")


def test_a_folder_that_disappears_is_an_error(client: Client, batch: Batch, tmp_path: Path) -> None:
    def jobs() -> Iterator[Job]:
        (tmp_path / "out").rmdir()
        yield from client.results(batch.wait())

    errors = [one.error for one in client.save(jobs(), tmp_path / "out")]
    assert len(errors) == 2
    assert all("cannot be written: No such file or directory" in error for error in errors)


def test_stopping_early_leaves_no_partial_file(
    client: Client, service: FakeService, batch: Batch, tmp_path: Path
) -> None:
    saving_now = client.save(batch.results(), tmp_path, at_once=1)
    next(saving_now)
    saving_now.close()
    assert set(names(tmp_path)) <= {"b.1-1.png", "b.3-1.jpg"}


def test_a_full_disk_ends_the_save_and_the_next_one_continues(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("boomerang_client.new_files.os.fsync", full)
    with pytest.raises(NotSaved, match=f"The disk of {tmp_path} is full"):
        batch.save(tmp_path)
    assert names(tmp_path) == {}
    monkeypatch.undo()

    assert all(one.error is None for one in batch.save(tmp_path))
    assert names(tmp_path) == {"b.1-1.png": PNG, "b.3-1.jpg": JPEG}
