"""Saved results: who may fetch them, by key or by link, and what the answer is."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient

from jobs.links import Links
from jobs.store.store import Store
from tests.support.drawing import draw_png
from tests.support.s3 import s3_api
from tests.support.saved import Save, saver
from webhook.access.auth import caller
from webhook.app import create_app
from webhook.settings import Settings

BYTES = draw_png()
DIGEST = hashlib.sha256(BYTES).hexdigest()
PATH = "/v1/jobs/fox/outputs/0"
LINK_SECRET = "a-secret-of-links-for-tests"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    more: dict[str, Any] = {
        "api_keys": ("shop:key-of-the-shop-1", "press:key-of-the-press"),
        "result_store": f"file://{tmp_path}/results",
        "public_url": "https://b.example",
        "link_secrets": (LINK_SECRET,),
    }
    return replace(settings, **more)


@pytest.fixture
def app(settings: Settings, store: Store) -> Flask:
    return create_app(settings, store, lambda *_: True)


def with_key(app: Flask, secret: str) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
    return client


@pytest.fixture
def shop(app: Flask) -> FlaskClient:
    return with_key(app, "key-of-the-shop-1")


@pytest.fixture
def press(app: Flask) -> FlaskClient:
    return with_key(app, "key-of-the-press")


@pytest.fixture
def stranger(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def save(store: Store, settings: Settings) -> Save:
    return saver(store, settings.result_store or "")


@pytest.fixture
def saved(save: Save) -> None:
    """A completed job of the shop whose image is saved."""
    save("fox@shop", BYTES)


def link_of(shop: FlaskClient, job_id: str = "fox", index: int = 0) -> str:
    """Return the path and query of the link in the job's view."""
    url = urlsplit(shop.get(f"/v1/jobs/{job_id}").json["output"][index]["url"])
    assert url.netloc == "b.example"
    return f"{url.path}?{url.query}"


def test_the_owner_gets_the_file_with_a_key_and_anybody_with_the_link(
    saved: None, shop: FlaskClient, stranger: FlaskClient
) -> None:
    for answer in (shop.get(PATH), stranger.get(link_of(shop)), shop.get(link_of(shop))):
        assert (answer.status_code, answer.data) == (200, BYTES)
        headers = answer.headers
        assert headers["ETag"] == f'"{DIGEST}"'
        assert headers["Content-Type"] == "image/png"
        assert headers["Content-Length"] == str(len(BYTES))
        assert headers["Content-Disposition"] == "inline; filename=fox-1.png"
        assert headers["Cache-Control"].startswith("private")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_others_cannot_tell_a_saved_result_from_an_absent_one(
    saved: None, press: FlaskClient, stranger: FlaskClient
) -> None:
    other = press.get(PATH)
    absent = press.get("/v1/jobs/owl/outputs/0")
    assert (other.status_code, absent.status_code) == (404, 404)
    assert other.text.replace("fox", "owl") == absent.text
    assert {stranger.get(path).status_code for path in (PATH, "/v1/jobs/owl/outputs/0")} == {401}


def changed(link: str, **parts: str) -> str:
    """Return the link with other values in its query; `path`: another path."""
    path, _, query = link.partition("?")
    given = {name: values[0] for name, values in parse_qs(query).items()} | parts
    path = given.pop("path", path)
    return f"{path}?{'&'.join(f'{name}={value}' for name, value in given.items())}"


FORGED: dict[str, Callable[[str], str]] = {
    "another output": lambda link: changed(link, path="/v1/jobs/fox%40shop/outputs/1"),
    "another spelling of the output": lambda link: changed(link, path="/v1/jobs/fox%40shop/outputs/00"),
    "another job": lambda link: changed(link, path="/v1/jobs/owl%40shop/outputs/0"),
    "another producer": lambda link: changed(link, path="/v1/jobs/fox%40press/outputs/0"),
    "no producer": lambda link: changed(link, path="/v1/jobs/fox/outputs/0"),
    "a later end": lambda link: changed(link, expires="9999999999"),
    "an end that is no number": lambda link: changed(link, expires="soon"),
    "a huge end": lambda link: changed(link, expires="9" * 500),
    "no end": lambda link: changed(link, expires=""),
    "no signature": lambda link: changed(link, signature=""),
    "half a signature": lambda link: changed(link, signature=parse_qs(link.partition("?")[2])["signature"][0][:20]),
    "other characters": lambda link: changed(link, signature="%C3%A4" * 43),
    "a number that is none": lambda link: changed(link, path="/v1/jobs/fox%40shop/outputs/-1"),
    "a path trick": lambda link: changed(link, path="/v1/jobs/fox%40shop/outputs/..%2f..%2fetc"),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_forged_link_opens_nothing(
    forge: Callable[[str], str], saved: None, save: Save, shop: FlaskClient, stranger: FlaskClient
) -> None:
    save("owl@shop", draw_png(seed=1))
    save("fox@press", draw_png(seed=2))
    answer = stranger.get(forge(link_of(shop)))
    assert answer.status_code in (401, 403, 404)
    assert BYTES not in answer.data
    assert answer.content_type == "application/problem+json"


def test_a_link_expires_and_works_with_the_secrets_in_force_only(
    saved: None, app: Flask, shop: FlaskClient, stranger: FlaskClient
) -> None:
    for secret, life, status in [
        (LINK_SECRET, 60, 200),
        (LINK_SECRET, -120, 403),
        ("another-secret-of-some-length", 60, 403),
    ]:
        made = Links("", (secret,), life).at("https://b.example").make("fox@shop", 0)
        assert made is not None
        answer = stranger.get(made.url.removeprefix("https://b.example"))
        assert answer.status_code == status, (secret, life)


def test_a_link_opens_this_file_and_nothing_else(saved: None, shop: FlaskClient, stranger: FlaskClient) -> None:
    query = link_of(shop).partition("?")[2]
    others = ["/v1/jobs/fox", "/v1/jobs", "/v1/jobs/fox%40shop", "/v1/batches", "/v1/lanes", "/metrics"]
    assert {path: stranger.get(f"{path}?{query}").status_code for path in others} == dict.fromkeys(others, 401)
    assert stranger.post(link_of(shop)).status_code in (401, 405)


def test_guessed_links_are_limited_by_address(saved: None, shop: FlaskClient, stranger: FlaskClient) -> None:
    link = link_of(shop)
    statuses = [stranger.get(changed(link, signature=f"{number:043}")).status_code for number in range(40)]
    assert statuses[0] == 403
    assert statuses[-1] == 429
    assert stranger.get(link).status_code == 200


def test_links_have_no_part_of_their_producers_share(
    saved: None, shop: FlaskClient, settings: Settings, store: Store
) -> None:
    app = create_app(replace(settings, rate_limit="5/minute"), store, lambda *_: True)
    link, holders = link_of(shop), set[str]()

    def get(address: str) -> int:
        with app.test_client() as client:
            status = client.get(link, environ_base={"REMOTE_ADDR": address}).status_code
            holders.add(caller().holder)
        return status

    assert [get("192.0.2.1") for _ in range(5)] == [200] * 5
    assert app.test_client().get(link, environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 429
    assert [get("192.0.2.2"), get("2001:db8::1"), get("2001:db8::2"), get("2001:db8:0:1::1")] == [200] * 4
    assert with_key(app, "key-of-the-shop-1").get(PATH).status_code == 200
    assert len(holders) == 4
    assert "shop" not in holders


WHERE = [
    # path → status
    pytest.param("/v1/jobs/fox/outputs/1", 404, id="beyond the last"),
    pytest.param("/v1/jobs/fox/outputs/9999", 404, id="far beyond"),
    pytest.param("/v1/jobs/fox/outputs/" + "9" * 1000, 404, id="a number without end"),
    pytest.param("/v1/jobs/fox/outputs/-1", 404, id="negative"),
    pytest.param("/v1/jobs/fox/outputs/00", 404, id="another spelling"),
    pytest.param("/v1/jobs/fox/outputs/%D9%A0", 404, id="a digit of another alphabet"),
    pytest.param("/v1/jobs/fox/outputs/..%2f0", 404, id="a path"),
    pytest.param("/v1/jobs/fox/outputs/0?size=7", 422, id="a size that is not offered"),
    pytest.param("/v1/jobs/fox/outputs/0?size=100000", 422, id="a huge size"),
    pytest.param("/v1/jobs/fox/outputs/0?width=7", 422, id="a parameter that there is not"),
]


@pytest.mark.parametrize(("path", "status"), WHERE)
def test_other_outputs_are_problems(path: str, status: int, saved: None, shop: FlaskClient) -> None:
    answer = shop.get(path)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")


@pytest.mark.parametrize(
    ("header", "status", "part"),
    [
        ("bytes=0-0", 206, slice(0, 1)),
        ("bytes=0-9", 206, slice(0, 10)),
        ("bytes=10-", 206, slice(10, None)),
        ("bytes=-10", 206, slice(-10, None)),
        ("bytes=5-999999999", 206, slice(5, None)),
        ("bytes=-999999999", 206, slice(None)),
        ("BYTES=0-9", 206, slice(0, 10)),
        (f"bytes={len(BYTES)}-", 416, None),
        (f"bytes={10**15}-{10**16}", 416, None),
        # Ignored (RFC 9110, section 14.2)
        ("bytes=9-5", 200, slice(None)),
        ("bytes=0-1,4-5", 200, slice(None)),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(0, 600, 2)), 200, slice(None)),
        ("bytes=-0", 200, slice(None)),
        ("bytes=", 200, slice(None)),
        ("bytes=a-b", 200, slice(None)),
        ("lines=0-9", 200, slice(None)),
        ("nonsense", 200, slice(None)),
    ],
)
def test_ranges(header: str, status: int, part: slice, saved: None, shop: FlaskClient) -> None:
    answer = shop.get(PATH, headers={"Range": header})
    assert answer.status_code == status
    if status == 416:
        assert answer.headers["Content-Range"] == f"bytes */{len(BYTES)}"
        assert answer.content_type == "application/problem+json"
        return
    expected = BYTES[part]
    assert answer.data == expected
    assert answer.headers["Content-Length"] == str(len(expected))
    assert answer.headers["Accept-Ranges"] == "bytes"
    if status == 206:
        first = BYTES.index(expected) if expected != BYTES else 0
        assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(expected) - 1}/{len(BYTES)}"


@pytest.mark.parametrize(
    ("headers", "status", "length"),
    [
        ({"If-None-Match": f'"{DIGEST}"'}, 304, 0),
        ({"If-None-Match": f'W/"{DIGEST}"'}, 304, 0),
        ({"If-None-Match": "*"}, 304, 0),
        ({"If-None-Match": '"another"'}, 200, len(BYTES)),
        ({"If-Match": f'"{DIGEST}"'}, 200, len(BYTES)),
        ({"Range": "bytes=3-", "If-Range": f'"{DIGEST}"'}, 206, len(BYTES) - 3),
        ({"Range": "bytes=3-", "If-Range": '"another"'}, 200, len(BYTES)),
        ({"Range": "bytes=3-", "If-Range": "Wed, 21 Oct 2015 07:28:00 GMT"}, 200, len(BYTES)),
    ],
)
def test_conditions(headers: dict[str, str], status: int, length: int, saved: None, shop: FlaskClient) -> None:
    answer = shop.get(PATH, headers=headers)
    assert (answer.status_code, len(answer.data)) == (status, length)
    assert answer.headers["ETag"] == f'"{DIGEST}"'


def test_another_etag_is_a_problem(saved: None, shop: FlaskClient) -> None:
    answer = shop.get(PATH, headers={"If-Match": '"another"'})
    assert (answer.status_code, answer.content_type) == (412, "application/problem+json")
    assert answer.headers["ETag"] == f'"{DIGEST}"'


def test_head_says_what_get_would(saved: None, shop: FlaskClient) -> None:
    get, head = shop.get(PATH), shop.head(PATH)
    assert (head.status_code, head.data) == (200, b"")
    names = ("Content-Length", "ETag", "Content-Type", "Accept-Ranges", "Content-Disposition")
    assert {name: head.headers[name] for name in names} == {name: get.headers[name] for name in names}


HOSTILE = {
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "image/svg+xml"),
    "html": (b"<!doctype html><script>alert(1)</script>", "text/html"),
    "html that is called a picture": (b"<!doctype html><script>alert(1)</script>", "image/png"),
    "xml": (b"<?xml version='1.0'?>", "application/xhtml+xml"),
    "script": (b"alert(1)", "text/javascript"),
    "pdf": (b"%PDF-1.7", "application/pdf"),
    "a header in the type": (b"x", "image/png\r\nX-Evil: 1"),
    "no type": (b"x", ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_in_a_file_runs_on_our_origin(name: str, save: Save, shop: FlaskClient) -> None:
    data, content_type = HOSTILE[name]
    save("fox@shop", data, content_type=content_type)
    answer = shop.get(PATH)
    assert answer.data == data
    headers = answer.headers
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    if content_type != "image/png":
        assert headers["Content-Type"] == "application/octet-stream"
        assert headers["Content-Disposition"].startswith("attachment")
    assert "X-Evil" not in headers


def test_an_unsaved_output_says_so_and_where_it_is(
    at_provider: Any, call_back: Any, completed: dict[str, Any], client: FlaskClient
) -> None:
    at_provider("fox")
    assert client.get(PATH).status_code == 409
    call_back("fox", completed)
    answer = client.get(PATH)
    assert answer.status_code == 409
    assert answer.json["source_url"] == "https://cdn.example.com/1.png"
    assert client.get("/v1/jobs/fox").json["output"][0]["url"] == "https://cdn.example.com/1.png"
    assert client.get("/v1/jobs/fox/outputs/1").status_code == 404


def test_a_deleted_file_is_gone_and_a_damaged_or_absent_store_is_no_proof(
    saved: None, settings: Settings, shop: FlaskClient, tmp_path: Path
) -> None:
    (file,) = (path for path in (tmp_path / "results").rglob("*.png"))
    file.write_bytes(BYTES[:-1])
    assert shop.get(PATH).status_code == 503
    file.unlink()
    for method in ("GET", "HEAD"):
        assert shop.open(PATH, method=method).status_code == 410
    (tmp_path / "results").rename(tmp_path / "elsewhere")
    assert shop.get(PATH).status_code == 503


def test_a_webhook_without_a_result_store_says_so(saved: None, settings: Settings, store: Store) -> None:
    without = create_app(replace(settings, result_store=None), store, lambda *_: True)
    answer = with_key(without, "key-of-the-shop-1").get(PATH)
    assert answer.status_code == 503
    assert "BOOMERANG_RESULT_STORE" in answer.json["detail"]


@pytest.mark.parametrize("job_id", ["a:b.d-e_f", "A" * 128, "x"])
def test_names_of_files_are_safe(job_id: str, save: Save, shop: FlaskClient) -> None:
    save(f"{job_id}@shop", BYTES)
    answer = shop.get(f"/v1/jobs/{job_id}/outputs/0")
    assert answer.status_code == 200
    (name,) = re.findall(r'filename="?([^";]+)"?', answer.headers["Content-Disposition"])
    assert name == f"{job_id.replace(':', '+')}-1.png"


@pytest.mark.slow
def test_a_bucket_is_fetched_from_directly(settings: Settings, store: Store) -> None:
    with s3_api() as s3_url:
        _fetch_from_bucket(s3_url, settings, store)


def _fetch_from_bucket(s3_url: str, settings: Settings, store: Store) -> None:
    saver(store, s3_url)("fox@shop", BYTES)
    shop = with_key(create_app(replace(settings, result_store=s3_url), store, lambda *_: True), "key-of-the-shop-1")
    answer = shop.get(PATH)
    assert answer.status_code == 302
    assert answer.headers["Cache-Control"] == "private, no-store"
    direct = requests.get(answer.headers["Location"], timeout=10)
    assert (direct.status_code, direct.content) == (200, BYTES)
    assert direct.headers["Content-Type"] == "image/png"
    assert "fox-1.png" in direct.headers["Content-Disposition"]
    # HEAD, and a bucket that producers cannot reach
    assert shop.head(PATH).status_code == 200
    passing = create_app(replace(settings, result_store=s3_url, result_redirect=False), store, lambda *_: True)
    whole = with_key(passing, "key-of-the-shop-1").get(PATH, headers={"Range": "bytes=5-9"})
    assert (whole.status_code, whole.data) == (206, BYTES[5:10])
