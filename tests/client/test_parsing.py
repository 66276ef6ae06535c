"""Parsing of the service's responses: new fields are ignored, missing ones are an error."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from boomerang_client import Review, Status, UnexpectedAnswer
from boomerang_client.cli.formats import csv_row
from boomerang_client.cli.render import job_lines
from boomerang_client.parsing.batches import read_accepted
from boomerang_client.parsing.lanes import read_lane, read_overview
from boomerang_client.record_fields import JobError, update
from boomerang_client.records import read_batch, read_job


@pytest.mark.parametrize("data", [None, [], {}, {"id": "1"}, {"id": "1", "status": "queued", "output": [{}]}])
def test_malformed_jobs_are_errors(data: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match="not a job"):
        read_job(data)


@pytest.mark.parametrize("read", [read_batch, read_accepted])
@pytest.mark.parametrize("data", [None, {}, {"id": "1", "accepted": "many", "counts": {}, "done": True}])
def test_malformed_batches_are_errors(read: Any, data: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match="not a batch"):
        read(data)


@pytest.mark.parametrize(
    ("cost", "money"),
    [("0.0065", Decimal("0.0065")), (0.0065, Decimal("0.0065")), ("", None), (None, None), ("0", Decimal(0))],
)
def test_money_is_decimal(cost: Any, money: Decimal | None) -> None:
    assert read_job({"id": "1", "status": "completed", "usage": {"cost": cost}}).cost == money


def test_counts_include_states_of_later_versions() -> None:
    view = {"id": "b", "accepted": 5, "done": False, "counts": {"queued": 1, "asleep": 2, "dreaming": 1, "failed": 1}}
    batch = read_batch(view)
    assert batch.counts == {Status.QUEUED: 1, Status.UNKNOWN: 3, Status.FAILED: 1}
    assert (batch.finished, batch.unsuccessful, batch.cost) == (1, 1, 0)


@pytest.mark.parametrize(
    ("more", "healthy"),
    [
        ({}, True),
        ({"breaker": "closed", "held": False, "configured": True}, True),
        ({"held": True}, False),
        ({"breaker": "open"}, False),
        ({"configured": False}, False),
    ],
    ids=str,
)
def test_a_lane_that_sends_is_healthy(more: dict[str, Any], healthy: bool) -> None:
    lane = read_lane({"name": "main", "max_in_flight": 64} | more)
    assert (lane.healthy, lane.limit, lane.held_until) == (healthy, 64, None)


TROUBLE = {"code": "no_worker", "since": "2026-11-20T10:00:00Z", "what": "no worker answers", "do": "Start one."}


def test_an_overview_has_the_lanes_and_the_troubles() -> None:
    overview = read_overview({"lanes": [{"name": "main"}], "troubles": [TROUBLE], "last_round_age": 45.2, "more": 1})
    assert ([lane.name for lane in overview.lanes], overview.last_round_age) == (["main"], 45.2)
    (trouble,) = overview.troubles
    assert (trouble.code, trouble.what, trouble.do) == ("no_worker", "no worker answers", "Start one.")
    assert trouble.since is not None


@pytest.mark.parametrize("view", [{"lanes": []}, {"lanes": [], "troubles": None, "last_round_age": None}])
def test_earlier_services_report_no_troubles(view: dict[str, Any]) -> None:
    assert (read_overview(view).troubles, read_overview(view).last_round_age) == ((), None)


@pytest.mark.parametrize(
    "view",
    [
        None,
        [],
        {},
        {"lanes": {}},
        {"lanes": [{}]},
        {"lanes": [], "troubles": 1},
        {"lanes": [], "troubles": [1]},
        {"lanes": [], "troubles": [{"code": "no_worker"}]},
        {"lanes": [], "troubles": [TROUBLE | {"since": "yesterday"}]},
        {"lanes": [], "last_round_age": "long"},
    ],
    ids=str,
)
def test_malformed_overviews_are_errors(view: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        read_overview(view)


def test_warnings_and_watermarked_images_are_read() -> None:
    view = {
        "id": "1",
        "status": "completed",
        "output": [
            {"type": "image", "url": "https://h/1", "watermark_url": "https://h/w"},
            {"type": "image", "url": "https://h/2"},
        ],
        "warnings": [{"code": "1301", "message": "1 of 3 images blocked"}],
    }

    job = read_job(view)

    assert [each.watermark_url for each in job.output] == ["https://h/w", None]
    assert job.warnings == (JobError("1301", "1 of 3 images blocked"),)
    assert [str(line) for line in job_lines(job)][-4:] == [
        "warning    1301 1 of 3 images blocked",
        "image      https://h/1",
        "image      https://h/2",
        "watermark  https://h/w",
    ]
    assert ",1 of 3 images blocked,https://h/w," in csv_row(job)


@pytest.mark.parametrize("verdict", ["accepted", "rejected", None, "undecided"])
def test_reviews_are_read(verdict: str | None) -> None:
    review = {"output": 1, "verdict": verdict, "starred": True, "note": "six toes", "by": "shop-1"}
    view = {"id": "1", "status": "completed", "reviews": [review | {"at": "2026-11-20T10:00:00Z"}, {"output": 2}]}

    first, second = read_job(view).reviews

    assert (first.output, first.verdict, first.starred, first.note) == (1, verdict, True, "six toes")
    assert (first.by, first.at) == ("shop-1", datetime(2026, 11, 20, 10, tzinfo=UTC))
    assert second == Review(output=2)


@pytest.mark.parametrize("reviews", [[{}], [{"output": "first"}], [{"output": 0, "at": "yesterday"}], [1]], ids=str)
def test_malformed_reviews_are_errors(reviews: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match="not a job"):
        read_job({"id": "1", "status": "completed", "reviews": reviews})


def test_a_batch_counts_its_reviews_where_the_service_does() -> None:
    view = {"id": "b", "accepted": 1, "done": True, "counts": {"completed": 1}}
    assert read_batch(view).reviews == {}
    assert read_batch(view | {"reviews": {"accepted": 3, "starred": 1}}).reviews == {"accepted": 3, "starred": 1}


def test_reviews_stay_where_the_next_answer_does_not_include_them() -> None:
    view = {"id": "1", "status": "completed"}
    job = update(read_job(view | {"reviews": [{"output": 0}]}), read_job(view))
    assert job.reviews == (Review(output=0),)
    assert update(job, read_job(view | {"reviews": []})).reviews == ()
