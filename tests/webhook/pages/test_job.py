"""The page of a job: what it shows, what it allows, and what it never shows."""

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.api_keys import Scope
from jobs.delivery_log import Attempt
from jobs.errors import SettingsInvalid
from jobs.job import Delivery
from jobs.result import Result
from jobs.saved import Saved, SavedOutput
from jobs.states import State
from jobs.store.store import Store
from tests.support.browser import act
from tests.support.drawing import Draw
from webhook.app import create_app
from webhook.pages.job import as_curl, masked
from webhook.pages.job_costs import costs_of
from webhook.settings import Settings

REQUEST = {"model": "kirin_image_omni", "prompt": "a fox", "external_task_id": "fox"}
HOSTILE = "<script>alert(1)</script>\u202e\"'&" + "x" * 500


@pytest.fixture
def make(pages: Any) -> Callable[..., None]:
    """Enqueue a job of the producer `shop`."""

    def enqueue(**more: Any) -> None:
        answer = pages.test_client().post("/v1/jobs", json=REQUEST | more, headers={"Authorization": "Bearer one"})
        assert answer.status_code == 201, answer.text

    return enqueue


def refuse(store: Store) -> None:
    (claim,) = store.attempts.claim(store.attempts.admit(10).ids)
    error = {"code": "1301", "message": HOSTILE}
    store.attempts.finish(claim.external_task_id, State.FAILED, Result(error=error), "submit")


def test_a_job_has_a_timeline_its_request_and_a_command(make: Callable[..., None], shop: FlaskClient) -> None:
    make(callback_url="https://shop.example/hook?token=secret")

    page = shop.get("/jobs/fox").text

    assert "accepted" in page
    assert "a fox" in page
    assert "token=secret" not in page
    assert "https://shop.example/hook?…" in page
    assert "v1/jobs" in page
    assert "$BOOMERANG_KEY" in page


def test_a_job_is_paused_resumed_cancelled_and_retried(
    make: Callable[..., None], shop: FlaskClient, store: Store
) -> None:
    make()
    for action, state, paused in (
        ("pause", State.QUEUED, True), ("resume", State.QUEUED, False), ("cancel", State.CANCELLED, False),
        ("retry", State.QUEUED, False),
    ):  # fmt: skip
        answer = act(shop, "/jobs/fox", f"/jobs/fox/{action}")
        assert answer.status_code == 303
        job = store.jobs.get("fox@shop")
        assert (job.state, job.paused) == (state, paused)
        assert "Retried" in shop.get("/jobs/fox").text if action == "retry" else True
    refused = act(shop, "/jobs/fox", "/jobs/fox/retry")
    assert refused.status_code == 303


def test_a_refused_request_is_corrected_by_a_form(make: Callable[..., None], shop: FlaskClient, store: Store) -> None:
    make()
    refuse(store)
    page = shop.get("/jobs/fox").text
    assert "<script>alert" not in page
    assert "Correct and retry" in page

    wrong = act(shop, "/jobs/fox", "/files/jobs/fox/correct", request='{"model": "kirin_image_omni"}')
    assert wrong.status_code == 422
    assert "prompt" in wrong.text
    broken = act(shop, "/jobs/fox", "/files/jobs/fox/correct", request='{"prompt": "half')
    assert broken.status_code == 422
    assert "half" in broken.text
    text = '{"model": "kirin_image_omni", "prompt": "a calm fox"}'
    assert act(shop, "/jobs/fox", "/files/jobs/fox/correct", request=text).status_code == 303

    assert store.jobs.get("fox@shop").revision == 2
    page = shop.get("/jobs/fox").text
    assert "a calm fox" in page
    assert "Earlier revisions" in page


def test_images_are_generated_once_more_by_a_form(
    make: Callable[..., None], shop: FlaskClient, log_in_as: Callable[..., FlaskClient], store: Store
) -> None:
    make()
    (claim,) = store.attempts.claim(store.attempts.admit(10).ids)
    result = Result(output=({"type": "image", "url": "https://images.example/1.png"},))
    store.attempts.finish(claim.external_task_id, State.COMPLETED, result, "submit")
    assert "Generate once more" in shop.get("/jobs/fox").text
    assert "Generate once more" not in log_in_as("shop", Scope.READ).get("/jobs/fox").text

    wrong = act(shop, "/jobs/fox", "/files/jobs/fox/regenerate", request='{"model": "kirin_image_omni"}')
    assert (wrong.status_code, store.jobs.get("fox@shop").regenerated_by) == (422, None)
    text = '{"model": "kirin_image_omni", "prompt": "a calm fox"}'
    for _ in range(2):  # a form that is sent twice buys nothing twice
        sent = act(shop, "/jobs/fox", "/files/jobs/fox/regenerate", request=text)
        assert (sent.status_code, sent.location) == (303, "/jobs/fox.r2@shop")

    old, new = store.jobs.get("fox@shop"), store.jobs.get("fox.r2@shop")
    assert (old.state, old.regenerated_by, new.state, new.regenerates) == (
        State.COMPLETED, "fox.r2@shop", State.QUEUED, "fox@shop"
    )  # fmt: skip
    assert "Generated once more by" in shop.get("/jobs/fox").text
    assert "a calm fox" in shop.get("/jobs/fox.r2").text
    assert act(shop, "/jobs/fox", "/files/jobs/fox/regenerate", request=text.replace("calm", "wild")).status_code == 422
    assert act(log_in_as("other"), "/", "/files/jobs/fox@shop/regenerate", request=text).status_code == 404


def test_a_key_that_only_reads_sees_no_button(
    make: Callable[..., None], log_in_as: Callable[..., FlaskClient], store: Store
) -> None:
    make()
    reader = log_in_as("shop", Scope.READ)
    refuse(store)

    page = reader.get("/jobs/fox").text

    assert "/jobs/fox@shop/" not in page.replace("%40", "@")
    assert "Correct and retry" not in page
    assert act(reader, "/jobs/fox", "/jobs/fox/retry").status_code == 403


def test_another_producer_neither_sees_nor_changes_a_job(
    make: Callable[..., None], log_in_as: Callable[..., FlaskClient], admin: FlaskClient, store: Store
) -> None:
    make()
    other = log_in_as("other")

    assert other.get("/jobs/fox").status_code == 404
    assert other.get("/jobs/fox@shop").status_code == 404
    assert act(other, "/", "/jobs/fox@shop/cancel").status_code == 404
    assert store.jobs.get("fox@shop").state is State.QUEUED
    assert "shop" in admin.get("/jobs/fox").text


def test_secrets_in_addresses_are_masked() -> None:
    shown = masked({"callback_url": "https://u:p@h.example/a?t=1", "list": [{"image": "data:" + "x" * 999}], "n": 2})

    assert shown["callback_url"] == "https://h.example/a?…"
    assert len(shown["list"][0]["image"]) < 100
    assert shown["n"] == 2


def test_the_command_survives_a_shell() -> None:
    command = as_curl({"prompt": "it's $HOME `x`", "external_task_id": "fox"}, "http://localhost/")

    assert "fox" not in command
    assert '\'{"prompt": "it\'"\'"\'s $HOME `x`"}\'' in command


def test_a_notification_that_was_refused_is_shown_and_sent_again(
    make: Callable[..., None], shop: FlaskClient, store: Store
) -> None:
    make(callback_url="https://shop.example/hook")
    refuse(store)
    (due,) = store.deliveries.claim(["fox@shop"])
    turn = store.deliveries.begin_notification(due, "shop.example", 1)
    attempt = Attempt(id="n1", at=due.now, address="https://shop.example/hook", status=503, took=0.2, error=HOSTILE)
    store.deliveries.give_up(due, Delivery.NOTIFY, HOSTILE)
    store.context.client.rpush(store.context.keys.member("attempts", "fox@shop"), attempt.to_json())
    assert turn

    page = shop.get("/jobs/fox").text
    assert "Send again" in page
    assert "503" in page
    assert "<script>alert" not in page

    assert act(shop, "/jobs/fox", "/jobs/fox/replay").status_code == 303
    assert store.jobs.get("fox@shop").owed == {Delivery.NOTIFY}


def test_a_saved_image_is_shown_by_our_own_address(make: Callable[..., None], shop: FlaskClient, store: Store) -> None:
    make()
    (claim,) = store.attempts.claim(store.attempts.admit(10).ids)
    output = SavedOutput(name="x/a-1.png", sha256="ab" * 32, size=7, content_type="image/png", width=9, height=9)
    result = Result(output=({"type": "image", "url": "https://cdn.example.com/1.png"},))
    store.attempts.finish(claim.external_task_id, State.COMPLETED, result, "callback")
    assert "not saved" in shop.get("/jobs/fox").text
    saved = replace(result, saved=Saved(datetime(2026, 1, 2, tzinfo=UTC), (output,)))
    store.context.client.set(store.context.keys.member("result", "fox@shop"), saved.to_json())

    page = shop.get("/jobs/fox").text

    assert "/outputs/0?size=256" in page
    assert 'src="https://cdn.example.com' not in page
    assert "saved" in page


def test_each_attempt_and_revision_has_its_cost(make: Callable[..., None], shop: FlaskClient, store: Store) -> None:
    make()

    def end(cost: str | None) -> None:
        (claim,) = store.attempts.claim(store.attempts.admit(10).ids)
        result = Result(error={"code": "1301", "message": "no"}, cost=None if cost is None else Decimal(cost))
        store.attempts.finish(claim.external_task_id, State.FAILED, result, "poll")

    def costs() -> list[tuple[int, int, int, Decimal | None]]:
        job = store.jobs.get("fox@shop")
        return [
            (each.revision, each.first, each.last, each.cost)
            for each in costs_of(job, store.revisions.earlier([job.id])[0])
        ]

    end("0.10")
    assert costs() == [(1, 1, 1, Decimal("0.10"))]
    assert "together" not in shop.get("/jobs/fox").text
    for cost in ("0.20", "0.30"):
        store.jobs.retry("fox@shop")
        end(cost)
    text = '{"model": "kirin_image_omni", "prompt": "a calm fox"}'
    assert act(shop, "/jobs/fox", "/files/jobs/fox/correct", request=text).status_code == 303
    end(None)
    store.jobs.retry("fox@shop")
    end("0.50")
    assert costs() == [
        (1, 1, 2, Decimal("0.30")), (1, 3, 3, Decimal("0.30")), (2, 4, 4, Decimal(0)), (2, 5, 5, Decimal("0.50")),
    ]  # fmt: skip
    page = shop.get("/jobs/fox").text
    assert "together" in page
    assert "$1.10" in page
    assert sum(cost or 0 for *_, cost in costs()) == store.jobs.get("fox@shop").cost


def test_reference_images_are_pictures_for_their_producer_only(
    make: Callable[..., None],
    shop: FlaskClient,
    admin: FlaskClient,
    log_in_as: Callable[..., FlaskClient],
    draw: Draw,
) -> None:
    picture = draw()
    images = [base64.b64encode(picture).decode(), "https://images.example/<script>.png?sig=1"]
    make(image_list=[{"image": each} for each in images])

    page = shop.get("/jobs/fox").text
    assert "/files/jobs/fox/references/0?size=256" in page
    assert "https://images.example/&lt;script&gt;.png?sig=1" in page
    assert "<script>.png" not in page

    whole = shop.get("/files/jobs/fox/references/0")
    assert (whole.status_code, whole.data, whole.mimetype) == (200, picture, "image/png")
    assert "sandbox" in whole.headers["Content-Security-Policy"]
    assert whole.headers["Cache-Control"].startswith("private")
    again = shop.get("/files/jobs/fox/references/0", headers={"If-None-Match": whole.headers["ETag"]})
    assert again.status_code == 304
    assert admin.get("/files/jobs/fox@shop/references/0").data == picture
    for index in ("1", "2", "-1", "00x", "9" * 9):
        assert shop.get(f"/files/jobs/fox/references/{index}").status_code == 404
    assert log_in_as("press").get("/files/jobs/fox/references/0").status_code == 404
    assert log_in_as("shop", Scope.ENQUEUE).get("/files/jobs/fox/references/0").status_code == 403


@pytest.mark.stack
def test_a_reference_image_has_a_thumbnail(make: Callable[..., None], shop: FlaskClient, draw: Draw) -> None:
    make(image_list=[{"image": base64.b64encode(draw()).decode()}])
    small = shop.get("/files/jobs/fox/references/0?size=256")
    assert (small.status_code, small.mimetype) == (200, "image/webp")


def test_a_job_leads_to_its_trace_and_logs_where_they_are_configured(
    settings: Settings, store: Store, make: Callable[..., None], shop: FlaskClient
) -> None:
    make()
    assert "Elsewhere" not in shop.get("/jobs/fox").text
    settings = replace(
        settings,
        api_keys=("shop:one",),
        session_secret="a-session-secret-for-tests",
        trace_url="https://traces.example/{id}?a=1&b={task_id}",
        logs_url="https://logs.example/q={id}",
    )
    app = create_app(settings, store)
    page = app.test_client().get("/jobs/fox", headers={"Authorization": "Bearer one"}).text
    assert "https://logs.example/q=fox%40shop" in page
    assert "traces.example" not in page
    (claim,) = store.attempts.claim(store.attempts.admit(10).ids)
    store.attempts.mark_in_progress(claim.id, claim.fence, "a&b/../c")
    page = app.test_client().get("/jobs/fox", headers={"Authorization": "Bearer one"}).text
    assert "https://traces.example/fox%40shop?a=1&amp;b=a%26b%2F..%2Fc" in page


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("https://logs.example/{id}", ""),
        ("http://logs.example:3000/?q=%7B{external_id}%7D&t={task_id}", ""),
        ("logs.example/{id}", "must be a URL"),
        ("javascript:alert({id})", "must be a URL"),
        ("ftp://logs.example/{id}", "must be a URL"),
        ("https://logs.example/", "names no job"),
        ("https://logs.example/{job}", "unknown placeholder {job}"),
        ("https://logs.example/{}", "unknown placeholder {}"),
        ("https://logs.example/{id.x}", "unknown placeholder"),
        ('https://logs.example/?q={"a":"{id}"}', "brace"),
        ("https://logs.example/{id", "brace"),
        ("https://{id}.example/", "host"),
        ("https://user:secret@logs.example/{id}", "host"),
    ],
)
def test_a_template_of_an_address_is_checked_at_the_start(template: str, problem: str) -> None:
    for name in ("BOOMERANG_TRACE_URL", "BOOMERANG_LOGS_URL"):
        if not problem:
            assert template in (
                Settings.from_env({name: template}).trace_url,
                Settings.from_env({name: template}).logs_url,
            )
            continue
        with pytest.raises(SettingsInvalid) as caught:
            Settings.from_env({name: template})
        assert name in str(caught.value)
        assert problem in str(caught.value)
        assert "secret" not in str(caught.value)
