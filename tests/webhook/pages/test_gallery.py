"""The gallery of a batch, and the review of an image."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.api_keys import Scope
from jobs.new_job import BatchOptions, NewJob
from jobs.review import Mark, Verdict
from jobs.store import reviews
from jobs.store.store import Store
from tests.support.browser import act, token_of
from tests.support.drawing import draw_png
from tests.support.saved import saver
from webhook.pages import gallery
from webhook.settings import Settings

HOSTILE = "<img src=x onerror=alert(1)> \"\u202e' 🦊"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return replace(settings, result_store=f"file://{tmp_path}/results")


@pytest.fixture
def foxes(store: Store, settings: Settings) -> Store:
    """A batch of five jobs of `shop`: four have a saved image, of which the last is lost; the fifth waits."""
    save = saver(store, settings.result_store or "")
    for number in range(5):
        asked = {"prompt": f"{HOSTILE} {number}", "image_list": [{"image": "javascript:alert(1)"}], "seed": 7}
        text = json.dumps({"model": "kirin_image_omni", "params": asked})
        new = NewJob(id=f"foxes.{number}@shop", text=text, model="kirin_image_omni")
        store.jobs.enqueue([new], "foxes@shop", BatchOptions(owner="shop"))
        if number < 4:
            save(f"foxes.{number}@shop", draw_png())
    return store


def shots(page: str) -> list[str]:
    return re.findall(r'href="(/batches/[^"]+/images/[^"]+)" data-shot', page)


def test_the_gallery_shows_images_by_their_reviews(shop: FlaskClient, foxes: Store) -> None:
    foxes.reviews.review("foxes.1@shop", 0, Verdict.ACCEPTED, starred=True)
    foxes.reviews.review("foxes.2@shop", 0, Verdict.REJECTED)

    def found(query: str) -> list[str]:
        return [each.split("/")[-2] for each in shots(shop.get(f"/batches/foxes/images{query}").text)]

    assert found("") == ["foxes.0", "foxes.1", "foxes.2", "foxes.3"]
    assert found("?review=accepted") == found("?review=starred") == ["foxes.1"]
    assert found("?review=rejected") == ["foxes.2"]
    assert found("?review=unreviewed") == ["foxes.0", "foxes.3"]
    assert found("?review=odd&cursor=odd") == found("")


@pytest.mark.parametrize("query", ["", "?review=unreviewed", "?review=starred"])
def test_pages_lead_through_all_images(
    query: str, shop: FlaskClient, foxes: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        foxes.reviews.review(f"foxes.{number}@shop", 0, starred=True)
    monkeypatch.setattr(gallery, "_AT_ONCE", 2)
    monkeypatch.setattr(reviews, "AT_ONCE", 3)
    seen, address = list[str](), f"/batches/foxes/images{query}"
    while address:
        page = shop.get(address).text
        seen += shots(page)
        further = re.findall(r'href="([^"]+)" rel="next"', page)
        address = further[0].replace("&amp;", "&") if further else ""
    assert len(seen) == len(set(seen)) == 4


def test_an_image_is_shown_with_its_request_and_reviewed(shop: FlaskClient, foxes: Store) -> None:
    where = "/batches/foxes/images/foxes.1/0"
    page = shop.get(where).text
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "<img src=x" not in page
    assert 'href="javascript' not in page
    assert act(shop, where, where, verdict="rejected", note=HOSTILE).status_code == 303
    (review,) = foxes.reviews.of(["foxes.1@shop"])[0].values()
    assert (review.verdict, review.starred, review.note) == (Verdict.REJECTED, False, HOSTILE)
    assert "The review is recorded." in shop.get(where).text
    act(shop, where, where, verdict="", starred="on")
    assert foxes.batches.get("foxes@shop").reviews[Mark.STARRED] == 1
    act(shop, where, where, verdict="", note="n" * 301)
    assert "was not recorded" in shop.get(where).text


def test_a_script_gets_the_image_with_the_review_that_it_sent(shop: FlaskClient, foxes: Store) -> None:
    where = "/batches/foxes/images/foxes.1/0"
    token, script = token_of(shop.get(where)), {"HX-Request": "true"}
    saved = shop.post(where, data={"csrf_token": token, "verdict": "accepted"}, headers=script)
    assert saved.status_code == 200
    assert "The review is recorded." in saved.text
    assert 'data-marks="accepted"' in saved.text
    assert "<html" not in saved.text
    refused = shop.post(where, data={"csrf_token": token, "verdict": "", "note": "n" * 301}, headers=script)
    assert "was not recorded" in refused.text
    assert "was not recorded" not in shop.get(where).text  # the message was shown


@pytest.mark.stack
def test_thumbnails_and_files_are_sent_to_the_session(shop: FlaskClient, foxes: Store) -> None:
    page = shop.get("/batches/foxes/images").text
    (image, *_) = re.findall(r'<img src="([^"]+)" loading="lazy"', page)
    small = shop.get(image.replace("&amp;", "&"))
    assert (small.status_code, small.content_type) == (200, "image/webp")
    whole = shop.get("/files/jobs/foxes.0/outputs/0")
    assert (whole.status_code, whole.data) == (200, draw_png())
    assert shop.get("/files/batches/foxes/images.zip?review=unreviewed").data[:2] == b"PK"
    assert shop.get("/files/batches/foxes/images.zip?after=x").status_code == 422


def test_an_image_of_another_batch_or_number_is_not_there(shop: FlaskClient, foxes: Store) -> None:
    text = '{"model":"kirin_image_omni","params":{"prompt":"an owl"}}'
    foxes.jobs.enqueue(
        [NewJob(id="owl@shop", text=text, model="kirin_image_omni")], "owls@shop", BatchOptions(owner="shop")
    )
    for path in ("owls/images/foxes.0/0", "foxes/images/foxes.0/1", "foxes/images/foxes.4/0", "foxes/images/none/0"):
        assert shop.get(f"/batches/{path}").status_code == 404


def test_a_reader_cannot_review(log_in_as: Any, foxes: Store) -> None:
    reader = log_in_as("shop", Scope.READ)
    where = "/batches/foxes/images/foxes.1/0"
    assert "Save the review" not in reader.get(where).text
    token = token_of(reader.get(where))
    assert reader.post(where, data={"csrf_token": token, "starred": "on"}).status_code == 403
    assert foxes.reviews.of(["foxes.1@shop"]) == [{}]
