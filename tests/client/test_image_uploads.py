"""Local images: their rules, and that each is uploaded once."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

import boomerang_client
from boomerang_client import Client, ImagesRefused, UsageError
from boomerang_client.local_images import names_file
from tests.support.drawing import drawn
from tests.support.fake_boomerang import FakeService, Fault

OMNI: dict[str, Any] = {"model": "kirin_image_omni", "prompt": "a cat"}


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    path = tmp_path / "cat.jpg"
    path.write_bytes(drawn(kind="JPEG"))
    return path


def reference(data: bytes) -> str:
    return f"image:sha256:{hashlib.sha256(data).hexdigest()}"


def test_a_file_is_uploaded_and_its_reference_is_sent(client: Client, service: FakeService, cat: Path) -> None:
    job = client.generate(**OMNI, image_list=[cat, "https://x.example/1.png"], labels={"shop": "7"}, n=2)
    name = reference(cat.read_bytes())
    assert service.paths() == [f"HEAD /v1/images/{name}", "POST /v1/images", "POST /v1/jobs"]
    assert service.images == {name: cat.read_bytes()}
    assert service.seen[1].headers["content-type"] == "image/jpeg"
    assert service.requests[job.id] == OMNI | {
        "image_list": [{"image": name}, {"image": "https://x.example/1.png"}],
        "labels": {"shop": "7"},
        "n": 2,
        "external_task_id": job.id,
    }


def test_images_that_the_service_has_are_not_sent(client: Client, service: FakeService, cat: Path) -> None:
    service.images[reference(cat.read_bytes())] = b""
    client.generate(**OMNI, image_list=[cat])
    assert [path.split()[0] for path in service.paths()] == ["HEAD", "POST"]


def test_images_in_every_field_are_uploaded(client: Client, service: FakeService, cat: Path) -> None:
    data = drawn()
    job = client.generate(
        model="kirin_v2_1_reference2image", subject_image_list=[cat, {"subject_image": data}], scene_image=cat,  # type: ignore[list-item]
        style_image="https://x.example/1.png",
    )  # fmt: skip
    mine, other = reference(cat.read_bytes()), reference(data)
    request = service.requests[job.id]
    assert request["subject_image_list"] == [{"subject_image": mine}, {"subject_image": other}]
    assert (request["scene_image"], request["style_image"]) == (mine, "https://x.example/1.png")
    assert len(service.images) == 2


def test_one_file_for_many_lines_is_read_and_uploaded_once(
    client: Client, service: FakeService, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, reads, opened = reference(cat.read_bytes()), [], Path.open
    monkeypatch.setattr(Path, "open", lambda self, *args: reads.append(self) or opened(self, *args))
    batch = client.batch(OMNI | {"image_list": [cat]} for _ in range(1000))
    assert batch.upload.accepted == 1000
    assert [path for path in service.paths() if "images" in path] == [f"HEAD /v1/images/{name}", "POST /v1/images"]
    assert reads == [cat]


def test_a_file_that_changes_is_another_image(client: Client, service: FakeService, cat: Path) -> None:
    client.generate(**OMNI, image_list=[cat])
    cat.write_bytes(drawn(500, 400))
    os.utime(cat, (1, 1))
    client.generate(**OMNI, image_list=[cat])
    assert len(service.images) == 2


def test_after_a_while_an_image_is_checked_again(client: Client, service: FakeService, cat: Path) -> None:
    client.generate(**OMNI, image_list=[cat])
    service.images.clear()
    client._sleep(601)
    client.generate(**OMNI, image_list=[cat])
    assert list(service.images) == [reference(cat.read_bytes())]


def test_an_interrupted_upload_is_repeated(client: Client, service: FakeService, cat: Path) -> None:
    service.faults.extend([Fault(), Fault(after=True)])
    client.generate(**OMNI, image_list=[cat])
    assert [path.split()[0] for path in service.paths()] == ["HEAD", "HEAD", "HEAD", "POST", "POST"]


def test_all_errors_are_named_and_nothing_is_sent(client: Client, service: FakeService, tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    small.write_bytes(drawn(100, 100))
    with pytest.raises(ImagesRefused, match=r"'cat\.jpg' is text; for a file pass a pathlib\.Path"):
        client.generate(**OMNI, image_list=["cat.jpg"])
    with pytest.raises(ImagesRefused) as caught:
        client.generate(**OMNI, image_list=[small, tmp_path / "away.png", b"text"], style_image=tmp_path)
    assert list(caught.value.errors) == ["style_image", *(f"image_list.{number}.image" for number in range(3))]
    assert f"image_list.0.image: {small} is 100 × 100 px" in str(caught.value)
    assert "away.png cannot be read (No such file or directory)" in str(caught.value)
    assert f"{tmp_path} is not a regular file" in str(caught.value)
    assert service.seen == []


def test_an_image_that_the_service_refuses_is_an_error(client: Client, service: FakeService, cat: Path) -> None:
    refused = Fault(status=422, body=b'{"detail": "The image breaks rules.", "errors": {"image": ["is odd"]}}')
    service.faults.extend([Fault(status=404), refused])
    with pytest.raises(ImagesRefused, match=r"image_list\.0\.image: .*cat\.jpg: The image breaks rules.*is odd"):
        client.generate(**OMNI, image_list=[cat])


def test_lines_with_invalid_images_are_rejected(client: Client, service: FakeService, cat: Path) -> None:
    lines = [OMNI | {"image_list": [cat]}, OMNI | {"image_list": [cat.with_name("no.png")]}, OMNI]
    batch = client.batch(lines, "b")
    assert service.batches["b"] == ["b.1", "b.3"]
    assert (batch.upload.accepted, batch.upload.rejected) == (2, 1)
    [error] = batch.upload.errors
    assert (error.line, list(error.errors)) == (2, ["image_list.0.image"])
    with pytest.raises(ValueError, match="Nothing was sent: 1 lines") as caught:
        client.batch(lines, "c", on_error="abort")
    assert [error.line for error in caught.value.lines] == [2]  # type: ignore[attr-defined]
    assert "c" not in service.batches


def test_names_are_relative_to_a_folder(client: Client, service: FakeService, cat: Path) -> None:
    line = b'{"model": "m", "image_list": [{"image": "cat.jpg"}, {"image": "https://x.example/1.png"}]}'
    client.batch([line], "b", folder=cat.parent)
    assert service.requests["b.1"]["image_list"] == [
        {"image": reference(cat.read_bytes())},
        {"image": "https://x.example/1.png"},
    ]


@pytest.fixture
def away(tmp_path: Path) -> dict[str, str]:
    """Names of images outside of the folder `tmp_path/in`, as requests may write them."""
    folder, secret = tmp_path / "in", tmp_path / "private" / "secret.png"
    for each in (folder / "deep", secret.parent):
        each.mkdir(parents=True)
    secret.write_bytes(drawn(500, 500))
    (folder / "link.png").symlink_to(secret)
    (folder / "linked").symlink_to(secret.parent)
    return {
        "relative": "../private/secret.png", "absolute": str(secret), "link": "link.png",
        "folder": "linked/secret.png", "twice": "deep/../../private/secret.png", "absent": "../private/no.png",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["relative", "absolute", "link", "folder", "twice", "absent"])
@pytest.mark.parametrize("member", ["image_list", "scene_image", "style_image", "subject_image_list"])
def test_a_request_from_elsewhere_reaches_no_image_outside_of_the_folder(
    *, client: Client, service: FakeService, tmp_path: Path, away: dict[str, str], name: str, member: str
) -> None:
    line = json.dumps(OMNI | {member: [away[name]] if member.endswith("list") else away[name]}).encode()
    with pytest.raises(UsageError, match="Nothing was sent") as caught:
        client.batch([line], "b", folder=tmp_path / "in", on_error="abort")
    [refused] = caught.value.lines
    (message,) = (" ".join(each) for each in refused.errors.values())
    assert f"--pictures {tmp_path / 'private'}" in message
    assert service.images == {}
    # Allowed, it is sent.
    if name != "absent":
        client.batch([line], "b", folder=[tmp_path / "in", tmp_path / "private"])
        assert list(service.images) == [reference(drawn(500, 500))]


def test_a_name_is_looked_for_in_every_folder(client: Client, service: FakeService, tmp_path: Path, cat: Path) -> None:
    (tmp_path / "in").mkdir()
    client.enqueue(OMNI | {"style_image": cat.name}, folder=[tmp_path / "in", cat.parent])
    assert list(service.images) == [reference(cat.read_bytes())]


@pytest.mark.parametrize("name", ["cat.png", "deep/cat.png", "{link}/cat.png", "{real}/cat.png", "deep/../cat.png"])
def test_the_folder_itself_may_be_a_link(client: Client, service: FakeService, tmp_path: Path, name: str) -> None:
    real, link = tmp_path / "disk" / "pictures", tmp_path / "pictures"
    (real / "deep").mkdir(parents=True)
    for path in (real / "cat.png", real / "deep" / "cat.png"):
        path.write_bytes(drawn(400, 400))
    link.symlink_to(real)

    client.enqueue(OMNI | {"style_image": name.format(link=link, real=real)}, folder=link)

    assert list(service.images) == [reference(drawn(400, 400))]


def test_a_pipe_is_not_read(client: Client, service: FakeService, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImagesRefused, match="not a regular file"):
        client.enqueue(OMNI | {"style_image": "pipe.png"}, folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("cat.jpg", True), ("./a/cat.png", True), ("/abs/cat.png", True), ("C:\\pictures\\cat.png", True),
        ("https://x.example/cat.png", False), ("iVBORw0KGgo+/AAA=", False), ("image:sha256:abc", False),
        ("data:image/png;base64,iVBO.", False), ("cat", False), ("s3://a/cat.png", False),
    ],
)  # fmt: skip
def test_text_that_can_only_be_a_file_name_is_recognized(text: str, is_one: bool) -> None:
    assert names_file(text) is is_one


def test_values_that_are_no_images_are_sent_unchanged(client: Client, service: FakeService) -> None:
    job = client.enqueue(OMNI | {"image_list": "https://x.example/1.png", "scene_image": 3})
    assert service.requests[job.id]["image_list"] == [{"image": "https://x.example/1.png"}]
    assert service.requests[job.id]["scene_image"] == 3
    job = client.enqueue(OMNI | {"image_list": [3, {"url": "x"}], "subject_image_list": {"a": 1}})
    assert service.requests[job.id]["image_list"] == [3, {"url": "x"}]
    assert service.requests[job.id]["subject_image_list"] == {"a": 1}


def test_the_earlier_name_of_the_error_works(client: Client, service: FakeService) -> None:
    with pytest.raises(boomerang_client.PicturesRefused) as caught:
        client.generate(**OMNI, image_list=[b"text"])
    assert isinstance(caught.value, boomerang_client.ImagesRefused)
