from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from marshmallow import Schema, ValidationError

from schemas.queries.batches import BatchListQuery, BatchQuery
from schemas.queries.jobs import JobQuery, WaitQuery
from schemas.states import JOB_STATES
from schemas.views.batches import BatchAccepted, BatchView, CountsView
from schemas.views.jobs import JobList, JobView
from schemas.views.lanes import LaneList
from schemas.views.problems import Problem, Readiness

THEN = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
JOB = {
    "id": "job-1",
    "status": "completed",
    "model": "kirin_image_omni",
    "output": [{"type": "image", "url": "https://cdn.example.com/1.png"}],
    "error": None,
    "usage": {"cost": Decimal("0.0065"), "discount": 1},
    "attempt": 2,
    "external_task_id": "job-1~2",
    "created_at": THEN,
    "updated_at": THEN,
    "finished_at": THEN,
    "settled_by": "callback",
    "batch": None,
    "labels": {"shop": "berlin"},
    "reason": None,
}


def test_a_completed_job_is_dumped_in_full() -> None:
    instant = "2026-01-31T12:30:00+00:00"
    expected = JOB | {"created_at": instant, "updated_at": instant, "finished_at": instant}

    assert JobView().dump(JOB) == expected | {"usage": {"cost": "0.0065", "discount": 1}}


def test_a_waiting_job_is_dumped_with_nulls() -> None:
    waiting = JOB | {
        "status": "queued",
        "output": [],
        "usage": None,
        "finished_at": None,
        "settled_by": None,
        "reason": "slots",
    }

    dumped = JobView().dump(waiting)

    assert (dumped["usage"], dumped["finished_at"], dumped["settled_by"], dumped["output"]) == (None, None, None, [])
    assert set(dumped) == set(JOB)


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (Decimal("0.0000001"), "0.0000001"),
        (Decimal("1E+2"), "100"),
        (Decimal("0.10"), "0.10"),
        ("0.0065", "0.0065"),
        (None, None),
    ],
)
def test_money_is_dumped_as_a_plain_decimal(cost: Any, text: str | None) -> None:
    assert JobView().dump(JOB | {"usage": {"cost": cost, "discount": None}})["usage"]["cost"] == text


def test_pages_batches_lanes_and_problems_are_dumped() -> None:
    counts = dict.fromkeys(JOB_STATES, 0) | {"queued": 3}
    batch = {"id": "b", "accepted": 3, "counts": counts, "done": False, "cost": Decimal("1.23"), "created_at": THEN}
    lane = {
        "name": "main", "configured": True, "pool": "", "models": [], "labels": {}, "slots": 1, "max_in_flight": 0,
        "learned_limit": 7.5, "limit": 7, "submit_rate": 0.0, "max_cost_per_day": Decimal("1.50"), "window": 8,
        "ready": 2, "held": True, "held_since": None, "held_until": THEN, "reason": "402", "breaker": "closed",
        "breaker_since": None, "breaker_opened": 0, "spent": Decimal(0),
        "history": [{"at": THEN, "what": "limit", "limit": 7.5, "reason": "429"}],
    }  # fmt: skip
    accepted = {
        "id": "b",
        "accepted": 1,
        "known": 0,
        "rejected": 1,
        "errors": [{"line": 2, "errors": {"n": ["x"]}, "codes": []}],
    }
    problem = {
        "type": "about:blank",
        "title": "t",
        "status": 422,
        "detail": "d",
        "errors": {"n": ["x"]},
        "codes": ["002016003"],
    }

    assert JobList().dump({"jobs": [JOB], "cursor": None})["cursor"] is None
    assert BatchView().dump(batch) == batch | {"cost": "1.23", "created_at": "2026-01-31T12:30:00+00:00"}
    assert LaneList().dump({"lanes": [lane]}) == {
        "lanes": [
            lane
            | {"held_until": "2026-01-31T12:30:00+00:00", "spent": "0", "max_cost_per_day": "1.50"}
            | {"history": [{"at": "2026-01-31T12:30:00+00:00", "what": "limit", "limit": 7.5, "reason": "429"}]}
        ]
    }
    assert BatchAccepted().dump(accepted) == accepted
    assert Problem().dump(problem) == problem
    assert Readiness().dump({"ready": False, "dependencies": {"redis": "timed out"}})["ready"] is False


def test_counts_have_a_field_for_every_state() -> None:
    assert tuple(CountsView().fields) == JOB_STATES


@pytest.mark.parametrize(
    ("schema", "text", "loaded"),
    [
        (JobQuery, {}, {"limit": 100, "label": {}}),
        (JobQuery, {"limit": "500", "status": "in_doubt", "batch": "b-1", "cursor": "123"},
         {"limit": 500, "status": ["in_doubt"], "batch": "b-1", "cursor": "123", "label": {}}),
        (JobQuery, {"label": ["shop=berlin", "a=b=c", "empty="]},
         {"limit": 100, "label": {"shop": "berlin", "a": "b=c", "empty": ""}}),
        (JobQuery, {"created_after": "2026-01-31", "created_before": "2026-01-31T13:30:00+01:00"},
         {"limit": 100, "label": {}, "created_after": datetime(2026, 1, 31, tzinfo=UTC), "created_before": THEN}),
        (JobQuery, {"created_after": "2026-01-31T12:30:00Z", "created_before": "2026-01-31 12:30"},
         {"limit": 100, "label": {}, "created_after": THEN, "created_before": THEN}),
        (BatchListQuery, {"status": "paused"}, {"limit": 100, "label": {}, "status": "paused"}),
        (WaitQuery, {}, {"wait": 0.0}),
        (WaitQuery, {"wait": "60"}, {"wait": 60.0}),
        (WaitQuery, {"wait": "0.5"}, {"wait": 0.5}),
        (BatchQuery, {}, {"label": {}}),
        (BatchQuery, {"id": "spring.2026"}, {"id": "spring.2026", "label": {}}),
        (BatchQuery, {"label": ["season=spring"], "priority": "low", "weight": "7", "max_cost": "12.50"},
         {"label": {"season": "spring"}, "priority": "low", "weight": 7, "max_cost": Decimal("12.50")}),
    ],
)  # fmt: skip
def test_queries_are_loaded(schema: type[Schema], text: dict[str, Any], loaded: dict[str, Any]) -> None:
    unset: dict[str, Any] = {"include": []} if schema in (JobQuery, WaitQuery) else {}
    if schema is JobQuery:
        unset |= {"count": False} | {name: [] for name in ("status", "model", "lane", "classes", "code", "settled_by")}
    unset |= {"paused": False} if schema is BatchQuery else {}

    assert schema().load(text) == unset | loaded


@pytest.mark.parametrize(
    ("schema", "text", "reason"),
    [
        (JobQuery, {"limit": "0"}, "from 1 to 500"),
        (JobQuery, {"limit": "501"}, "from 1 to 500"),
        (JobQuery, {"limit": "many"}, "an integer from 1 to 500"),
        (JobQuery, {"status": "lost"}, "must be one of queued, submitting"),
        (JobQuery, {"status": "QUEUED"}, "must be one of queued"),
        (JobQuery, {"batch": "a b"}, "at most 100"),
        (JobQuery, {"cursor": ""}, "cursor"),
        (JobQuery, {"cursor": "12\n"}, "cursor"),
        (JobQuery, {"cursor": "9" * 18}, "cursor"),
        (JobQuery, {"label": ["shop"]}, "<name>=<value>"),
        (JobQuery, {"label": ["shop=a", "shop=b"]}, "two values"),
        (JobQuery, {"label": ["a b=c"]}, "not a valid label name"),
        (JobQuery, {"label": ["=c"]}, "not a valid label name"),
        (JobQuery, {"label": ["a=" + "x" * 257]}, "at most 256"),
        (JobQuery, {"label": [f"l{number}=x" for number in range(17)]}, "at most 16"),
        (JobQuery, {"created_after": "yesterday"}, "ISO 8601"),
        (JobQuery, {"created_after": "2026-01-31T12:00:00 01:00"}, "%2B"),
        (JobQuery, {"created_before": "0001-01-01T00:00:00+05:00"}, "ISO 8601"),
        (BatchListQuery, {"status": "queued"}, "must be one of running, paused, done"),
        (BatchQuery, {"priority": "urgent"}, "must be one of high, normal, low"),
        (BatchQuery, {"weight": "0"}, "from 1 to 100"),
        (BatchQuery, {"weight": "1.5"}, "an integer from 1 to 100"),
        (BatchQuery, {"max_cost": "0"}, "from 0.000000001"),
        (BatchQuery, {"max_cost": "much"}, "an amount of USD"),
        (BatchQuery, {"max_cost": "nan"}, "finite"),
        (BatchQuery, {"max_cost": "1e12"}, "1,000,000,000 USD"),
        (WaitQuery, {"wait": "-1"}, "from 0 to 60"),
        (WaitQuery, {"wait": "61"}, "from 0 to 60"),
        (WaitQuery, {"wait": "nan"}, "finite"),
        (WaitQuery, {"wait": "inf"}, "finite"),
        (WaitQuery, {"wait": "soon"}, "number of seconds"),
        (BatchQuery, {"id": "a" * 101}, "at most 100"),
        (BatchQuery, {"id": "a~1"}, "at most 100"),
        (BatchQuery, {"id": "a\n"}, "at most 100"),
    ],
)
def test_bad_queries_are_refused_with_the_reason(schema: type[Schema], text: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        schema().load(text)

    assert reason in str(refusal.value.messages)
