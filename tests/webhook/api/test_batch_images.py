"""`GET /v1/batches/<id>/images.zip`: the saved images of a batch, streamed."""

import csv
import io
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from flask.testing import FlaskClient

from jobs.review import Verdict
from jobs.store.store import Store
from tests.support.drawing import draw_png
from tests.support.saved import saver
from webhook.api import batch_images
from webhook.app import create_app
from webhook.http.zip_stream import ZipStream
from webhook.settings import Settings

Upload = Callable[..., None]
PNG = draw_png()


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    more: dict[str, Any] = {
        "api_keys": ("shop:key-of-the-shop-1", "press:key-of-the-press"),
        "result_store": f"file://{tmp_path}/results",
    }
    return replace(settings, **more)


@pytest.fixture
def shop(settings: Settings, store: Store) -> FlaskClient:
    client = create_app(settings, store, lambda *_: True).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = "Bearer key-of-the-shop-1"
    return client


@pytest.fixture
def foxes(shop: FlaskClient, store: Store, settings: Settings) -> Store:
    """A batch of four jobs: three are completed with a saved image, the last waits."""
    save = saver(store, settings.result_store or "")
    for number in range(1, 5):
        line = {"model": "kirin_image_omni", "prompt": "a fox", "external_task_id": f"foxes.{number}"}
        assert shop.post("/v1/batches?id=foxes", data=json.dumps(line)).status_code == 201
        if number < 4:
            save(f"foxes.{number}@shop", PNG)
    return store


def opened(client: FlaskClient, query: str = "") -> ZipFile:
    answer = client.get(f"/v1/batches/foxes/images.zip{query}")
    assert (answer.status_code, answer.content_type) == (200, "application/zip")
    archive = ZipFile(io.BytesIO(answer.data))
    assert archive.testzip() is None
    return archive


def rows(archive: ZipFile, name: str = batch_images.IMAGES_CSV) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(archive.read(name).decode())))


def test_the_archive_has_each_image_once_and_says_whose_it_is(shop: FlaskClient, foxes: Store) -> None:
    foxes.reviews.review("foxes.2@shop", 0, Verdict.ACCEPTED, note="=1+1")
    archive = opened(shop)
    found = rows(archive)
    assert [(row["id"], row["verdict"]) for row in found] == [
        ("foxes.1", ""), ("foxes.2", "accepted"), ("foxes.3", "")
    ]  # fmt: skip
    assert len({row["file"] for row in found}) == 3
    assert {archive.read(row["file"]) for row in found} == {PNG}
    assert sorted(archive.namelist()) == sorted([*(row["file"] for row in found), batch_images.IMAGES_CSV])
    assert found[1]["note"] == "'=1+1"
    assert [row["id"] for row in rows(opened(shop, "?review=accepted"))] == ["foxes.2"]
    assert [row["id"] for row in rows(opened(shop, "?review=unreviewed"))] == ["foxes.1", "foxes.3"]
    assert rows(opened(shop, "?review=starred")) == []


def test_images_that_are_missing_or_damaged_are_listed(shop: FlaskClient, foxes: Store, tmp_path: Path) -> None:
    files = {row["id"]: tmp_path / "results" / row["file"] for row in rows(opened(shop))}
    files["foxes.1"].unlink()
    files["foxes.2"].write_bytes(b"cut")
    archive = opened(shop)
    assert [row["id"] for row in rows(archive)] == ["foxes.3"]
    missing = rows(archive, batch_images.MISSING_CSV)
    assert [(row["id"], row["output"]) for row in missing] == [("foxes.1", "0"), ("foxes.2", "0")]
    assert all(row["why"] and row["source"].startswith("http") for row in missing)


def test_a_full_archive_names_the_next(shop: FlaskClient, foxes: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_images, "MOST_IMAGES", 2)
    first = opened(shop)
    assert [row["id"] for row in rows(first)] == ["foxes.1", "foxes.2"]
    (address,) = [line for line in first.read(batch_images.MORE).decode().splitlines() if line.startswith("/")]
    rest = opened(shop, "?" + address.partition("?")[2])
    assert [row["id"] for row in rows(rest)] == ["foxes.3"]
    assert batch_images.MORE not in rest.namelist()


def test_strangers_and_unknown_batches_get_404(settings: Settings, foxes: Store, shop: FlaskClient) -> None:
    press = create_app(settings, foxes, lambda *_: True).test_client()
    press.environ_base["HTTP_AUTHORIZATION"] = "Bearer key-of-the-press"
    assert press.get("/v1/batches/foxes/images.zip").status_code == 404
    assert shop.get("/v1/batches/owls/images.zip").status_code == 404
    assert shop.get("/v1/batches/foxes/images.zip?after=x").status_code == 422


def test_a_store_that_is_away_is_no_archive(shop: FlaskClient, foxes: Store, tmp_path: Path) -> None:
    (tmp_path / "results").rename(tmp_path / "elsewhere")
    assert shop.get("/v1/batches/foxes/images.zip").status_code == 503


@pytest.mark.parametrize("name", ["a/ü-🦊-é.png", "x" * 250 + ".png", "b/c.png"])
def test_names_and_bytes_come_back(name: str) -> None:
    stream, moment = ZipStream(), datetime(1970, 1, 1, tzinfo=UTC)
    data = b"".join([*stream.add(name, 6, moment, [b"abc", b"", b"def"]), *stream.end()])
    archive = ZipFile(io.BytesIO(data))
    assert (archive.namelist(), archive.read(name)) == ([name], b"abcdef")


@pytest.mark.slow
def test_an_archive_beyond_the_limits_of_zip_32_needs_little_memory() -> None:
    """70,000 files, and a file that needs ZIP64."""
    stream, moment = ZipStream(), datetime(2026, 1, 1, tzinfo=UTC)
    piece = bytes(1024 * 1024)
    tracemalloc.start()
    sent = sum(map(len, stream.add("large.bin", 5 * 1024**3, moment, (piece for _ in range(64)))))
    assert sent > 64 * len(piece)
    assert tracemalloc.get_traced_memory()[1] < 8 * 1024**2
    tracemalloc.stop()
    data = io.BytesIO()
    stream = ZipStream()
    for number in range(70_000):
        data.writelines(stream.add(f"{number}", 1, moment, (b"x",)))
    data.writelines(stream.end())
    assert b"PK\x06\x06" in data.getvalue()  # the directory of ZIP64
    archive = ZipFile(data)
    assert (len(archive.namelist()), archive.read("69999")) == (70_000, b"x")
