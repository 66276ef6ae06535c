"""The page of a batch: what it shows, its actions, and who may see and do what."""

import json
import re
import time
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.api_keys import Scope
from jobs.failures import classify
from jobs.job import Priority, Result
from jobs.new_job import BatchOptions, NewJob
from jobs.states import State
from jobs.store.store import Store
from tests.support.browser import act, token_of

HOSTILE = '<script>alert("1")</script> \u202egnp.exe 🦊 ' + "x" * 300


def job(number: int, prompt: str = "a fox") -> NewJob:
    text = json.dumps({"model": "kirin_image_omni", "params": {"prompt": prompt, "aspect_ratio": "1:1"}})
    return NewJob(id=f"foxes.{number}@shop", text=text, model="kirin_image_omni")


@pytest.fixture
def foxes(store: Store) -> Store:
    """A batch of the producer `shop`: one job is completed, two failed for two reasons, and three wait."""
    options = BatchOptions(owner="shop", labels={"season": HOSTILE[:60]})
    store.jobs.enqueue([job(number) for number in range(6)], "foxes@shop", options)
    ends = [
        Result(output=({"type": "image", "url": "https://cdn.example.com/1.png"},), cost=Decimal("0.25")),
        Result(error={"code": "1301", "message": HOSTILE}),
        Result(error={"code": "1201", "message": "Internal error"}),
    ]
    for claim, result in zip(store.attempts.claim(store.attempts.admit(3).ids), ends, strict=True):
        state = State.FAILED if result.error else State.COMPLETED
        assert store.attempts.finish(claim.external_task_id, state, result, "poll").outcome == "finished"
    return store


def test_the_page_shows_progress_failures_with_an_example_and_the_cost(shop: FlaskClient, foxes: Store) -> None:
    page = shop.get("/batches/foxes")
    assert page.status_code == 200
    for text in (
        "1301",
        "1201",
        "moderation",
        classify("1201").value,
        "Internal error",
        "$0.25",
        "1 completed, ",
        "3 queued",
    ):
        assert text in page.text
    assert "<script>alert" not in page.text
    part = shop.get("/batches/foxes", headers={"HX-Request": "true"})
    assert "<html" not in part.text
    assert "1301" in part.text


def test_the_chart_of_ends_covers_the_whole_life_of_the_batch(shop: FlaskClient, foxes: Store) -> None:
    # Given ends of an hour ago, which left the ring of the last minute
    client, key = foxes.context.client, foxes.context.keys.member("batch", "foxes@shop")
    hour_ago = int(time.time()) // 5 - 720
    client.hset(key, "ends", f"1 {hour_ago} 40 2")
    page = shop.get("/batches/foxes").text
    chart = page[page.index("Ends in each") :]
    heights = [float(each) for each in re.findall(r'<rect class="first"[^>]* height="([0-9.]+)"', chart)]
    assert len(heights) == 2
    assert heights[0] / heights[1] == pytest.approx(42 / 3, rel=0.01)
    numbers = re.findall(r'<td class="end">(\d+)</td>', chart[: chart.index("</table>")])
    assert numbers == ["42", "3"]


@pytest.mark.parametrize(
    ("path", "form", "shown"),
    [
        ("pause", {}, "Paused batch foxes"),
        ("resume", {"max_cost": "7.5"}, "foxes"),
        ("resume", {"max_cost": "much"}, "Nothing was changed"),
        ("cancel", {}, "Cancelled 3 jobs"),
        ("retry", {"class": "moderation"}, "Retrying 1 job of"),
        ("retry", {"code": "1201"}, "Retrying 1 job of"),
        ("retry", {"class": "no such"}, "nothing retried"),
        ("approve", {}, "Approved batch"),
    ],
)
def test_an_action_goes_back_to_the_page_and_says_what_it_did(
    path: str, form: Any, shown: str, shop: FlaskClient, foxes: Store
) -> None:
    answer = act(shop, "/batches/foxes", f"/batches/foxes/{path}", **form)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/batches/foxes")
    assert shown in shop.get("/batches/foxes").text


def test_an_action_has_its_effect(shop: FlaskClient, foxes: Store) -> None:
    act(shop, "/batches/foxes", "/batches/foxes/pause")
    assert foxes.batches.get("foxes@shop").paused
    act(shop, "/batches/foxes", "/batches/foxes/resume", max_cost="9")
    found = foxes.batches.get("foxes@shop")
    assert (found.paused, found.max_cost) == (False, Decimal(9))
    assert shop.get("/batches/foxes/cancel").text.count("3 jobs wait") == 1
    act(shop, "/batches/foxes/cancel", "/batches/foxes/cancel")
    assert foxes.batches.get("foxes@shop").counts[State.CANCELLED] == 3


def test_the_priority_of_jobs_that_wait_is_changed_after_a_count(shop: FlaskClient, foxes: Store) -> None:
    assert 'name="priority"' in shop.get("/batches/foxes").text
    counted = act(shop, "/batches/foxes", "/bulk", batch="foxes", action="priority", priority="high")
    assert counted.status_code == 303
    assert act(shop, counted.location, f"{counted.location}/start").status_code == 303
    foxes.bulks.advance(60)
    changed = [job.priority for job in foxes.jobs.get_many([f"foxes.{number}@shop" for number in range(6)]) if job]
    assert changed.count(Priority.HIGH) == 3


def test_a_key_that_may_only_read_sees_no_button_and_may_press_none(log_in_as: Any, foxes: Store) -> None:
    reader = log_in_as("shop", Scope.READ)
    page = reader.get("/batches/foxes").text
    assert 'action="/batches/' not in page
    token = token_of(reader.get("/batches/foxes"))
    for path in ("pause", "resume", "approve", "cancel", "retry"):
        assert reader.post(f"/batches/foxes/{path}", data={"csrf_token": token}).status_code == 403
    assert foxes.batches.get("foxes@shop").counts[State.QUEUED] == 3


def test_another_producer_sees_and_does_nothing_and_an_administrator_both(
    log_in_as: Any, admin: FlaskClient, foxes: Store
) -> None:
    press = log_in_as("press")
    before = foxes.batches.get("foxes@shop")
    token = token_of(press.get("/"))
    for path in ("", "/images", "/images/foxes.0/0", "/cancel"):
        assert press.get(f"/batches/foxes{path}").status_code == 404
    for path in ("pause", "cancel", "retry", "images/foxes.0/0"):
        assert press.post(f"/batches/foxes/{path}", data={"csrf_token": token}).status_code == 404
    for path in ("batches/foxes/images.zip", "batches/foxes/results", "jobs/foxes.0/outputs/0"):
        assert press.get(f"/files/{path}").status_code == 404
    assert foxes.batches.get("foxes@shop").counts == before.counts
    assert admin.get("/batches/foxes@shop").status_code == 200
    assert act(admin, "/batches/foxes@shop", "/batches/foxes@shop/pause").headers["Location"] == "/batches/foxes@shop"


def test_an_image_that_is_not_saved_leads_to_the_provider(shop: FlaskClient, foxes: Store) -> None:
    assert "not saved" in shop.get("/batches/foxes/images").text
    page = shop.get("/batches/foxes/images/foxes.0/0").text
    assert 'href="https://cdn.example.com/1.png"' in page
    assert "<img" not in page


def test_failures_are_downloaded_with_their_requests(shop: FlaskClient, foxes: Store) -> None:
    answer = shop.get("/files/batches/foxes/results?class=moderation")
    assert "attachment" in answer.headers["Content-Disposition"]
    heading, *rows = answer.text.splitlines()
    assert "prompt" in heading
    assert len([row for row in rows if row.startswith("foxes.1,")]) == 1
    assert shop.get("/files/batches/foxes/results?format=ndjson").text.count("\n") == 6
