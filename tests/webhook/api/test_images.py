"""Images over HTTP: uploaded or sent inline, an image is stored once and jobs refer to it."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from jobs.audit.audit import audit
from jobs.store.store import Store
from schemas.images import MAX_BYTES
from schemas.views.images import ImageView
from tests.support.drawing import camera_jpeg
from tests.support.producers import own
from webhook.app import create_app
from webhook.settings import Settings

Draw = Callable[..., bytes]
ABSENT = "image:sha256:" + "0" * 64
#: Memory per job without its images: the record, index entries, the request with four references.
BYTES_A_JOB = 4_000


def request_with(*images: str, **more: Any) -> dict[str, Any]:
    return {
        "model": "kirin_image_omni",
        "prompt": "a fox like <<<image_1>>>",
        "image_list": [{"image": image} for image in images],
        **more,
    }


def inline(data: bytes) -> str:
    return b64encode(data).decode()


def reference(data: bytes) -> str:
    return "image:sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture
def upload(client: FlaskClient) -> Callable[[bytes], str]:
    """Return `upload(data)`, which uploads an image and returns its reference."""
    return lambda data: str(client.post("/v1/images", data=data, content_type="image/png").json["id"])


def text_of(store: Store, job_id: str) -> dict[str, Any]:
    text = store.jobs.get(own(job_id), text=True).text
    assert text is not None
    body: dict[str, Any] = json.loads(text)
    return body


# --- uploads ----------------------------------------------------------------------------------------------------------


def test_a_file_is_uploaded_once(client: FlaskClient, draw: Draw, raw: redis.Redis) -> None:
    data = draw(5000)
    first, second = (client.post("/v1/images", data=data, content_type="image/png") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json == second.json
    assert ImageView().validate(json.loads(first.text)) == {}
    assert first.json == {"id": reference(data), "size": len(data), "width": 320, "height": 300, "format": "png"}
    assert first.headers["Location"] == f"/v1/images/{reference(data)}"
    assert raw.zcard("{b}:images") == 1


def test_a_client_asks_before_it_uploads(client: FlaskClient, draw: Draw) -> None:
    data = draw()
    address = f"/v1/images/{reference(data)}"
    missing = client.head(address)
    assert (missing.status_code, missing.data) == (404, b"")
    assert "POST /v1/images" in client.get(address).json["detail"]
    created = client.post("/v1/images", data=data)
    there = client.head(address)
    assert (there.status_code, there.data) == (200, b"")
    assert client.get(address).json == created.json


@pytest.mark.parametrize("name", ["fox.png", "image:sha256:ABC", "image:sha256:" + "A" * 64, "0" * 64])
def test_an_invalid_image_id_gets_404(client: FlaskClient, name: str) -> None:
    answer = client.get(f"/v1/images/{name}")
    assert answer.status_code == 404
    assert "64 lowercase hexadecimal digits" in answer.json["detail"]


def test_an_invalid_image_is_refused_with_a_remedy(client: FlaskClient, draw: Draw) -> None:
    for data, remedy in (
        (b"GIF89a" + bytes(100), "send a .jpg"),
        (draw()[:50], "send"),
        (b"a fox", "send a .jpg"),
        (camera_jpeg()[:50_000], "send the whole file"),
    ):
        answer = client.post("/v1/images", data=data, content_type="image/png")
        assert answer.status_code == 422
        assert remedy in answer.json["errors"]["image"][0]


def test_an_upload_is_bounded_before_it_is_read(client: FlaskClient) -> None:
    assert client.post("/v1/images", data=bytes(MAX_BYTES + 1)).status_code == 413
    assert client.post("/v1/images").status_code == 411


def test_uploading_requires_a_key(client: FlaskClient) -> None:
    for call in (client.post, client.head, client.get):
        address = "/v1/images" if call == client.post else f"/v1/images/{ABSENT}"
        assert call(address, headers={"Authorization": "Bearer wrong"}).status_code == 401


# --- jobs with images -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["/v1/jobs", "/model/v1/generation"])
def test_an_inline_image_and_its_reference_are_the_same_request(
    client: FlaskClient, draw: Draw, store: Store, raw: redis.Redis, address: str
) -> None:
    data = draw(20_000)
    mine = request_with(inline(data), "https://example.com/a.png", external_task_id="fox")
    assert client.post(address, json=mine).status_code in (200, 201)
    again = client.post(
        address, json=request_with(reference(data), "https://example.com/a.png", external_task_id="fox")
    )
    assert again.status_code == 200
    assert raw.zcard("{b}:s:queued") == 1
    images = [each["image"] for each in text_of(store, "fox")["params"]["image_list"]]
    assert images == [reference(data), "https://example.com/a.png"]
    assert client.head(f"/v1/images/{reference(data)}").status_code == 200
    assert audit(store) == []


def test_every_image_field_of_every_model_accepts_a_reference(
    client: FlaskClient, draw: Draw, store: Store, upload: Callable[[bytes], str]
) -> None:
    known, new = upload(draw()), draw(seed=1)
    request = {
        "model": "kirin_v2_1_reference2image",
        "subject_image_list": [{"subject_image": known}, {"subject_image": inline(new)}],
        "scene_image": inline(new),
        "style_image": known,
        "external_task_id": "fox",
    }
    assert client.post("/v1/jobs", json=request).status_code == 201
    params = text_of(store, "fox")["params"]
    assert params["subject_image_list"] == [{"subject_image": known}, {"subject_image": reference(new)}]
    assert (params["scene_image"], params["style_image"]) == (reference(new), known)
    assert audit(store) == []


def test_a_reference_to_an_unknown_image_is_refused_by_field(client: FlaskClient, draw: Draw, store: Store) -> None:
    answer = client.post("/v1/jobs", json=request_with(inline(draw()), ABSENT, external_task_id="fox"))
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == ["image_list.1.image"]
    assert "POST /v1/images" in answer.json["errors"]["image_list.1.image"][0]
    assert client.get("/v1/jobs/fox").status_code == 404
    refused = client.post("/model/v1/generation", json=request_with(ABSENT))
    assert refused.status_code == 400
    assert "image_list.0.image" in refused.json["error"]["message"]


@pytest.mark.parametrize("value", ["image:sha256:" + "0" * 63, "image:md5:0", "image:sha256:" + "A" * 64])
def test_an_invalid_reference_is_refused_with_its_form(client: FlaskClient, value: str) -> None:
    answer = client.post("/v1/jobs", json=request_with(value))
    assert "POST /v1/images" in answer.json["errors"]["image_list.0.image"][0]


# --- batches ----------------------------------------------------------------------------------------------------------


def lines(*requests: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(request).encode() + b"\n" for request in requests)


def test_a_batch_accepts_both_forms_and_refuses_lines_with_unknown_images(
    client: FlaskClient, draw: Draw, store: Store, upload: Callable[[bytes], str]
) -> None:
    data = draw()
    body = lines(
        request_with(inline(data)),
        request_with(ABSENT),
        request_with(upload(data)),
        request_with(reference(draw(seed=9))),
    )
    answer = client.post("/v1/batches?id=b", data=body).json
    assert (answer["accepted"], answer["rejected"]) == (2, 2)
    assert [(error["line"], list(error["errors"])) for error in answer["errors"]] == [
        (2, ["image_list.0.image"]),
        (4, ["image_list.0.image"]),
    ]
    assert text_of(store, "b.1") == text_of(store, "b.3")
    again = client.post("/v1/batches?id=b", data=body).json
    assert (again["accepted"], again["known"], again["rejected"]) == (0, 2, 2)
    assert audit(store) == []


def test_an_unknown_image_aborts_an_atomic_upload(client: FlaskClient, draw: Draw, store: Store) -> None:
    data = draw()
    bad = client.post("/v1/batches?id=b&on_error=abort", data=lines(request_with(inline(data)), request_with(ABSENT)))
    assert bad.status_code == 422
    assert bad.json["errors"][0]["line"] == 2
    good = client.post("/v1/batches?id=b&on_error=abort", data=lines(*[request_with(reference(data))] * 700))
    assert good.json["accepted"] == 700
    assert audit(store) == []


@pytest.mark.slow
def test_jobs_that_share_images_store_one_copy(
    client: FlaskClient, draw: Draw, raw: redis.Redis, store: Store, upload: Callable[[bytes], str]
) -> None:
    # Given four images of 2 MB, sent inline by some jobs and referred to by many
    images = [draw(2_000_000, seed) for seed in range(4)]
    before = raw.info("memory")["used_memory"]
    for n in range(5):
        assert (
            client.post("/v1/jobs", json=request_with(*map(inline, images), external_task_id=f"j{n}")).status_code
            == 201
        )
    # When 300 jobs that refer to them are admitted
    body = lines(*[request_with(*map(reference, images))] * 300)
    assert client.post("/v1/batches?id=b", data=body).json["accepted"] == 300
    # Then Redis holds one copy of each image, and has grown by that and little per job (it may free memory meanwhile)
    assert sum(raw.strlen(key) for key in raw.scan_iter("{b}:o:*")) == sum(map(len, images))
    grown = raw.info("memory")["used_memory"] - before
    assert grown < 8_000_000 * 1.25 + 305 * BYTES_A_JOB  # the allocator rounds up
    # And a claim for a worker does not contain the images
    store.attempts.admit(305)
    claims = store.attempts.claim([own(f"b.{n}") for n in range(1, 301)])
    assert len(claims) == 300
    assert max(len(claim.text) for claim in claims) < 1_000
    others = [key for key in raw.scan_iter() if not key.startswith("{b}:o:")]
    assert max(raw.memory_usage(key) or 0 for key in others) < 200_000
    assert audit(store) == []


# --- the image store is unavailable -----------------------------------------------------------------------------------


@pytest.fixture
def in_folder(settings: Settings, store: Store, tmp_path: Path, client: FlaskClient) -> FlaskClient:
    """A client of a service that stores images in a folder."""
    folder = replace(settings, image_store=(tmp_path / "images").as_uri())
    other = create_app(folder, store).test_client()
    other.environ_base["HTTP_AUTHORIZATION"] = client.environ_base["HTTP_AUTHORIZATION"]
    return other


def test_images_may_be_stored_in_a_folder(in_folder: FlaskClient, draw: Draw, raw: redis.Redis, tmp_path: Path) -> None:
    data = draw(100_000)
    assert in_folder.post("/v1/jobs", json=request_with(inline(data))).status_code == 201
    assert raw.keys("{b}:o:*") == []
    (kept,) = [path for path in (tmp_path / "images").iterdir() if not path.name.startswith(".")]
    assert kept.read_bytes() == data


def test_without_the_image_store_a_request_gets_503_and_can_be_repeated(
    in_folder: FlaskClient, draw: Draw, tmp_path: Path, fox: dict[str, Any]
) -> None:
    (tmp_path / "images").write_bytes(b"in the way")
    mine = request_with(inline(draw()), external_task_id="fox")
    for answer in (in_folder.post("/v1/jobs", json=mine), in_folder.post("/v1/images", data=draw())):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "image store" in answer.json["detail"]
    batch = in_folder.post("/v1/batches?id=b", data=lines(fox, mine))
    assert batch.status_code == 503
    # Jobs without images are still accepted
    assert in_folder.post("/v1/jobs", json=fox).status_code == 201
    (tmp_path / "images").unlink()
    assert in_folder.post("/v1/jobs", json=mine).status_code == 201


def test_without_memory_no_new_image_is_accepted(
    settings: Settings, store: Store, client: FlaskClient, draw: Draw
) -> None:
    full = create_app(replace(settings, max_memory=2), store).test_client()
    full.environ_base["HTTP_AUTHORIZATION"] = client.environ_base["HTTP_AUTHORIZATION"]
    known = request_with(inline(draw()), external_task_id="fox")
    assert client.post("/v1/jobs", json=known).status_code == 201

    for answer in (
        full.post("/v1/images", data=draw(seed=1)),
        full.post("/v1/jobs", json=request_with(inline(draw(seed=1)))),
        full.post("/v1/batches?id=b", data=lines(request_with(inline(draw(seed=1))))),
    ):
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "30")
    # A stored image needs no more memory
    assert full.post("/v1/images", data=draw()).status_code == 200
    assert full.post("/v1/jobs", json=known).status_code == 200
    assert store.statistics.totals().images == 1
