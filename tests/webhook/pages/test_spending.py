"""The page of spending, and its CSV file."""

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from flask.testing import FlaskClient

from jobs.new_job import BatchOptions, NewJob
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from tests.support.hostile_text import HOSTILE

IMAGE = {"type": "image", "url": "https://cdn.example.com/1.png"}


@pytest.fixture
def buy(store: Store) -> Callable[..., None]:
    """Return `buy("shop", "batch", "0.25")`, which makes a completed job of this cost."""

    def buy_one(owner: str, batch: str, cost: str | None, *, model: str = "kirin", team: str = "red") -> None:
        job = NewJob(id=f"{batch}.{cost}@{owner}", text="{}", model=model, labels={"team": team}, owner=owner)
        store.jobs.enqueue([job], f"{batch}@{owner}", BatchOptions(owner=owner))
        store.attempts.claim(store.attempts.admit(10).ids)
        price = Result(unreadable_cost="$1") if cost is None else Result(cost=Decimal(cost))
        result = replace(price, output=(IMAGE,))
        store.attempts.finish(job.id, State.COMPLETED, result, "callback")

    return buy_one


def test_spending_by_day_has_a_chart_and_its_figures(buy: Callable[..., None], shop: FlaskClient) -> None:
    buy("shop", "x", "0.3125")
    page = shop.get("/spending")
    assert page.status_code == 200
    # The bar of today is as wide as one of thirty days, which are all in the chart.
    (width,) = re.findall(r'<rect class="first"[^>]* width="([0-9.]+)"', page.text)
    assert float(width) < 360 / 30
    assert datetime.now(UTC).date().isoformat() in page.text
    assert page.text.count("$0.3125") >= 3  # the sum, the day, and today


@pytest.mark.parametrize(
    ("by", "names"),
    [("batch", ["x", "y"]), ("model", ["kirin"]), ("lane", ["default"]), ("label&label=team", ["red"])],
)
def test_spending_is_grouped(by: str, names: list[str], buy: Callable[..., None], shop: FlaskClient) -> None:
    buy("shop", "x", "1")
    buy("shop", "y", "3")
    page = shop.get(f"/spending?by={by}").text
    for name in names:
        assert f'dir="auto">{name}</span>' in page
    assert ("75.0 %" in page) == (by == "batch")


def test_two_producers_see_their_own_spending(
    buy: Callable[..., None], shop: FlaskClient, admin: FlaskClient, log_in_as: Callable[..., FlaskClient]
) -> None:
    buy("shop", "secret-batch", "0.4375", team="secret-team")
    press = log_in_as("press")
    for query in (
        "",
        "by=batch",
        "by=model",
        "by=key",
        "key=shop",
        "by=label&label=team",
        "by=label&label=team&key=shop",
    ):
        for address in (f"/spending?{query}", f"/files/spending.csv?{query}"):
            for text in ("0.4375", "secret-batch", "secret-team"):
                assert text not in press.get(address).text, address
    assert "0.4375" in shop.get("/spending").text
    assert "secret-batch@shop" in admin.get("/spending?by=batch").text
    assert "secret-batch@" not in shop.get("/spending?by=batch").text
    assert '<option value="key"' in admin.get("/spending").text
    assert '<option value="key"' not in shop.get("/spending").text


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("by=month", "must be one of"),
        ("by=label", "must name a label"),
        ("from=yesterday", "2026-01-31"),
        ("from=2020-01-01", "366 days"),
        ("from=2026-02-01&to=2026-01-01", "must not be after"),
        ("by=label&label=team&batch=x", "cannot be combined"),
    ],
)
def test_a_wrong_form_names_the_field(query: str, said: str, shop: FlaskClient) -> None:
    page = shop.get(f"/spending?{query}")
    assert page.status_code == 422
    assert said in page.text
    assert "Spent today" in page.text
    assert shop.get(f"/files/spending.csv?{query}").status_code == 422


@pytest.mark.parametrize("query", ["endpoint=x", "_external=1", "_scheme=javascript", "colour=red", "by=&from=&key="])
def test_other_parameters_change_nothing(query: str, buy: Callable[..., None], shop: FlaskClient) -> None:
    buy("shop", "x", "1")
    page = shop.get(f"/spending?{query}")
    assert page.status_code == 200
    assert "/files/spending.csv" in page.text
    assert "javascript:" not in page.text


def test_the_csv_file_has_the_same_figures(buy: Callable[..., None], shop: FlaskClient) -> None:
    buy("shop", "x", "0.5")
    buy("shop", "y", "2")
    buy("shop", "y", None)
    answer = shop.get("/files/spending.csv?by=batch")
    assert answer.mimetype == "text/csv"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="spending-by-batch.csv"'
    assert list(csv.reader(answer.text.splitlines())) == [
        ["batch", "cost_usd", "jobs", "unknown_costs"],
        ["y", "2", "2", "1"],
        ["x", "0.5", "1", "0"],
    ]
    assert "1 results cost an amount" in shop.get("/spending").text


@pytest.mark.parametrize("text", [HOSTILE, "<script>alert(1)</script>", "=cmd|x", "\u202eabc", "x" * 2_500, "🦊" * 50])
def test_text_from_outside_is_text(text: str, buy: Callable[..., None], shop: FlaskClient, admin: FlaskClient) -> None:
    buy("shop", "x", "1", model=text.replace("|", ""), team=text.replace("|", ""))
    for query in ("by=model", "by=label&label=team"):
        for browser in (shop, admin):
            page = browser.get(f"/spending?{query}")
            assert page.status_code == 200
            assert "<script>alert" not in page.text
        assert not shop.get(f"/files/spending.csv?{query}").text.splitlines()[1].startswith("=")
    page = shop.get("/spending", query_string={"model": text, "batch": text, "label": text})
    assert "<script>alert" not in page.text


def test_days_are_days_of_utc(buy: Callable[..., None], shop: FlaskClient) -> None:
    buy("shop", "x", "0.3125")
    today = datetime.now(UTC).date()
    yesterday = today - timedelta(days=1)
    assert "Nothing was spent" in shop.get(f"/spending?to={yesterday}").text
    assert "Nothing was spent" not in shop.get(f"/spending?from={today}&to={today}").text
