"""The last hour, on its own page and on the start page."""

from collections.abc import Callable

from flask.testing import FlaskClient


def test_nothing_ended_is_shown_as_such(shop: FlaskClient) -> None:
    page = shop.get("/last-hour")
    assert page.status_code == 200
    assert "No job ended" in page.text


def test_an_administrator_sees_all_ends_and_a_producer_its_own(
    admin: FlaskClient, log_in_as: Callable[..., FlaskClient], finish: Callable[..., None]
) -> None:
    for job_id, owner in (("one", "shop"), ("two", "shop"), ("three", "press")):
        finish(job_id, "0.01", owner)
    for browser, count in ((admin, 3), (log_in_as("shop"), 2), (log_in_as("press"), 1)):
        for address in ("/last-hour", "/"):
            page = browser.get(address).text
            assert f'<dt>Jobs ended</dt><dd>{count} <span class="note">' in page
            assert f"<dt>Settled by poll</dt><dd>{count}</dd>" in page
            assert f": {count} completed</title>" in page


def test_every_chart_has_its_numbers_as_text(admin: FlaskClient, finish: Callable[..., None]) -> None:
    finish("one", "0.01")
    page = admin.get("/last-hour").text
    assert page.count('role="img"') == 3
    assert "Each minute in which jobs ended" in page
    assert "<style" not in page


def test_the_start_page_of_a_new_service_has_no_charts(shop: FlaskClient, finish: Callable[..., None]) -> None:
    assert "Jobs ended" not in shop.get("/").text
    finish("one", "0.01")
    assert "Jobs ended" in shop.get("/").text
