"""Thumbnails: made once, of images only, and within limits whatever the file is."""

import io
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from jobs.blobs.bucket import Bucket
from jobs.results.results import open_results
from jobs.results.thumbnails import thumbnail_name
from jobs.saved import SavedOutput
from tests.support.drawing import png_chunk
from tests.support.hostile_images import HOSTILE
from webhook import thumbnails
from webhook.http.problems import ProblemError
from webhook.thumbnails import MOST_BYTES, MOST_PIXELS, Thumbnails

pytestmark = pytest.mark.stack


@pytest.fixture
def store(tmp_path: Path) -> Bucket:
    return open_results(f"file://{tmp_path}/results")


Put = Callable[..., SavedOutput]


@pytest.fixture
def put(store: Bucket) -> Put:
    """Return `put(data)`, which saves a file as a worker would."""

    def save(data: bytes, content_type: str = "image/png", **facts: Any) -> SavedOutput:
        digest = f"{zlib.crc32(data):08x}" * 8
        store.write(digest, data, content_type)
        known = {"size": len(data), "width": None, "height": None, **facts}
        return SavedOutput(name=digest, sha256=digest, content_type=content_type, **known)

    return save


def drawn(kind: str = "PNG", size: tuple[int, int] = (640, 320), mode: str = "RGB", **options: Any) -> bytes:
    made = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert(mode).save(made, kind, **options)
    return made.getvalue()


def opened(store: Bucket, name: str) -> Image.Image:
    image = Image.open(io.BytesIO(store.read(name) or b""))
    image.load()
    return image


def problem_of(made: Callable[[], object]) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        made()
    return caught.value


TURNED = Image.Exif()
TURNED[0x0112] = 6


@pytest.mark.parametrize(
    ("kind", "options", "side", "size", "mode"),
    [
        ("PNG", {}, 256, (256, 128), "RGB"),
        ("PNG", {"mode": "RGBA"}, 128, (128, 64), "RGB"),  # it is opaque
        ("PNG", {"mode": "L"}, 256, (256, 128), "RGB"),
        ("PNG", {"mode": "I;16"}, 256, (256, 128), "RGB"),
        ("PNG", {"mode": "P", "transparency": 0}, 256, (256, 128), "RGBA"),
        ("PNG", {}, 1024, (640, 320), "RGB"),
        ("JPEG", {}, 512, (512, 256), "RGB"),
        ("JPEG", {"mode": "CMYK"}, 512, (512, 256), "RGB"),
        ("JPEG", {"exif": TURNED}, 256, (128, 256), "RGB"),
        ("WEBP", {}, 256, (256, 128), "RGB"),
        ("GIF", {"mode": "P"}, 256, (256, 128), "RGB"),
        ("PNG", {"size": (3000, 2)}, 256, (256, 1), "RGB"),
    ],
)
def test_an_image_gets_a_small_webp(
    *, kind: str, options: dict[str, Any], side: int, size: tuple[int, int], mode: str, store: Bucket, put: Put
) -> None:
    output = put(drawn(kind, **options), f"image/{kind.lower()}")
    made = Thumbnails(store).get(output, side)
    image = opened(store, made.name)
    assert (image.format, image.size, image.mode) == ("WEBP", size, mode)
    assert not image.getexif()
    assert (made.size, made.data) == (len(store.read(made.name) or b""), store.read(made.name))


def test_it_is_made_once(store: Bucket, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    output, made = put(drawn()), Thumbnails(store)
    first = made.get(output, 256)
    monkeypatch.setattr(thumbnails, "_render", lambda *_: pytest.fail("it is made again"))
    assert made.get(output, 256).size == first.size
    assert Thumbnails(store).get(output, 256).name == first.name


def test_what_cannot_be_decoded_is_tried_once(store: Bucket, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    output, made = put(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), Thumbnails(store)
    assert problem_of(lambda: made.get(output, 256)).status == 422
    monkeypatch.setattr(thumbnails, "_render", lambda *_: pytest.fail("it is tried again"))
    assert problem_of(lambda: made.get(output, 256)).status == 422


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("os.kill(os.getpid(), signal.SIGTERM)", 503),
        ("os.kill(os.getpid(), signal.SIGINT)", 503),
        ("os.kill(os.getpid(), signal.SIGKILL)", 503),
        ("import a_library_that_is_not_installed", 503),
        ("sys.exit(127)", 503),
        ("sys.exit(0)", 503),
        ("os.kill(os.getpid(), signal.SIGSEGV)", 422),
        ("resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.abort()", 422),
        ("os.kill(os.getpid(), signal.SIGXCPU)", 422),
    ],
)
def test_only_the_fault_of_a_file_is_remembered(  # noqa: PLR0917 - a fixture each
    ending: str, status: int, store: Bucket, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, made = put(drawn()), Thumbnails(store)
    script = tmp_path / "script.py"
    script.write_text(f"import os, resource, signal, sys\nsys.stdin.buffer.read()\n{ending}\n")
    with monkeypatch.context() as patch:
        patch.setattr(thumbnails, "_SCRIPT", script)
        assert problem_of(lambda: made.get(output, 256)).status == status
    if status == 503:
        assert made.get(output, 256).size
    else:
        assert problem_of(lambda: made.get(output, 256)).status == 422


def bomb(side: int) -> bytes:
    """An image that is small as a file and large as pixels."""
    head = side.to_bytes(4, "big") * 2 + bytes((1, 0, 0, 0, 0))
    rows = zlib.compressobj(9)
    pixels = b"".join(rows.compress(bytes(1 + side // 8)) for _ in range(side)) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


NOT_SHOWN = [
    pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", {}, id="svg"),
    pytest.param(b"<html><script>alert(1)</script>", "image/png", {}, id="html as an image"),
    pytest.param(b"", "image/png", {}, id="empty"),
    pytest.param(drawn()[:200], "image/png", {}, id="cut off"),
    pytest.param(drawn("TIFF"), "image/png", {}, id="a format that no model makes"),
    pytest.param(drawn(), "video/mp4", {}, id="a video"),
    pytest.param(drawn(), "image/png", {"width": 10_000, "height": 10_000}, id="many pixels by its record"),
    pytest.param(drawn(), "image/png", {"size": MOST_BYTES + 1}, id="many bytes by its record"),
    pytest.param(bomb(16_000), "image/png", {}, id="a bomb of 256 megapixels"),
    pytest.param(bomb(7_000), "image/png", {"width": 10, "height": 10}, id="a bomb whose record says it is small"),
]


@pytest.mark.parametrize(("data", "content_type", "facts"), NOT_SHOWN)
def test_others_get_none(data: bytes, content_type: str, facts: dict[str, Any], store: Bucket, put: Put) -> None:
    output = put(data, content_type, **facts)
    assert problem_of(lambda: Thumbnails(store).get(output, 256)).status == 422


@pytest.mark.slow
@pytest.mark.parametrize(("data", "_"), HOSTILE)
def test_a_hostile_file_takes_bounded_time_and_memory(
    data: bytes, _: str, store: Bucket, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "MOST_SECONDS", 1)
    output = put(data)
    before = os.times()
    with suppress(ProblemError):
        Thumbnails(store).get(output, 256)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent < 4


def test_the_process_that_decodes_has_no_secrets(store: Bucket, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    run = subprocess.run

    def watch(command: list[str], **options: Any) -> Any:
        seen.append((command, options["env"]))
        return run(command, **options)

    monkeypatch.setenv("BOOMERANG_CALLBACK_SECRETS", "a-secret-of-the-service")
    monkeypatch.setattr(subprocess, "run", watch)
    Thumbnails(store).get(put(drawn()), 128)
    ((command, env),) = seen
    assert env == {}
    assert command[:2] == [sys.executable, "-I"]


def test_few_are_made_at_once_and_a_request_that_lost_its_place_stops_waiting(
    store: Bucket, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most, release = [0], [0], threading.Event()
    lock = threading.Lock()

    def render(*_: object) -> tuple[bytes, str]:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        assert release.wait(30)
        with lock:
            running[0] -= 1
        return b"webp", ""

    monkeypatch.setattr(thumbnails, "_render", render)
    made = Thumbnails(store, at_once=2)
    outputs = [put(drawn(size=(300 + number, 300))) for number in range(6)]
    threads = [threading.Thread(target=made.get, args=(each, 256)) for each in outputs]
    for each in threads:
        each.start()
    assert problem_of(lambda: made.get(put(drawn(size=(9, 9))), 256, lambda: True)).status == 503
    release.set()
    for each in threads:
        each.join(30)
    assert most[0] == 2
    assert [bool(made.get(each, 256).size) for each in outputs] == [True] * 6


def test_without_pillow_the_service_says_what_to_install(
    store: Bucket, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    found = problem_of(lambda: Thumbnails(store).get(put(drawn()), 256))
    assert found.status == 501
    assert "thumbnails" in found.detail


def test_a_store_that_takes_nothing_still_gives_the_thumbnail(
    store: Bucket, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = put(drawn())

    def refuse(*_: object) -> None:
        raise store._purpose.error("read-only")

    monkeypatch.setattr(store, "write", refuse)
    made = Thumbnails(store).get(output, 256)
    assert Image.open(io.BytesIO(made.data or b"")).size == (256, 128)


def test_an_image_that_is_removed_meanwhile_leaves_no_thumbnail(
    store: Bucket, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = put(drawn())

    def render(*_: object) -> tuple[bytes, str]:
        store.remove([output.name])
        return b"webp", ""

    monkeypatch.setattr(thumbnails, "_render", render)
    assert problem_of(lambda: Thumbnails(store).get(output, 256)).status == 410
    assert store.info(thumbnail_name(output.sha256, 256)) is None


def test_a_deleted_image_is_gone(store: Bucket, put: Put) -> None:
    output = put(drawn())
    store.remove([output.name])
    assert problem_of(lambda: Thumbnails(store).get(output, 256)).status == 410
    assert MOST_PIXELS * 4 < 1024**3 / 4
