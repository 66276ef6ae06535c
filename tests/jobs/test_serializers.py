"""A job in the provider's own form, in each of its states."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from jobs.job import Job
from jobs.links import NO_LINKS, Links
from jobs.result import Result
from jobs.saved import Saved, SavedOutput, SaveProgress
from jobs.serializers.jobs import serialize_job
from jobs.serializers.tasks import serialize_task
from jobs.states import State

NOW = datetime(2026, 1, 31, tzinfo=UTC)
JOB = Job(id="fox", state=State.QUEUED, model="m", n=1, attempt=1, fence=0, created_at=NOW, updated_at=NOW)
IMAGE = {"type": "image", "url": "https://cdn.example.com/1.png"}
DONE = Result(output=(IMAGE,), cost=Decimal("0.0065"), discount=1)
BAD = Result(error={"code": "002016095", "message": "Internal generation error"})


def failed(code: str, message: str, cost: str = "") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "error_message": message}, "usage": {"cost": cost}}


@pytest.mark.parametrize(
    ("state", "more", "status", "members"),
    [
        pytest.param(State.QUEUED, {}, "in_progress", {"progress": 0.0}, id="queued"),
        pytest.param(State.SUBMITTING, {}, "in_progress", {"progress": 0.0}, id="submitting"),
        pytest.param(State.IN_DOUBT, {}, "in_progress", {"progress": 0.0}, id="in doubt"),
        pytest.param(State.IN_PROGRESS, {"task_id": "t"}, "in_progress", {"progress": 0.0}, id="in progress"),
        pytest.param(
            State.QUEUED, {"attempt": 2, "result": BAD}, "in_progress", {"progress": 0.0}, id="between attempts"
        ),
        pytest.param(
            State.COMPLETED,
            {"task_id": "t", "result": DONE},
            "completed",
            {
                "output": [{"content": [IMAGE | {"jobId": "t"}]}],
                "usage": {"cost": "0.0065", "discount": 1},
                "metadata": {},
            },
            id="completed",
        ),
        pytest.param(
            State.COMPLETED,
            {"result": Result(output=(IMAGE,))},
            "completed",
            {"output": [{"content": [IMAGE]}], "usage": {"cost": "", "discount": None}, "metadata": {}},
            id="completed, no price and no task id known",
        ),
        pytest.param(
            State.COMPLETED,
            {"result": replace(DONE, cost=Decimal("1E-7"))},
            "completed",
            {
                "output": [{"content": [IMAGE]}],
                "usage": {"cost": "0.0000001", "discount": 1},
                "metadata": {},
            },
            id="a price is never written with an exponent",
        ),
        pytest.param(
            State.FAILED, {"result": BAD}, "failed", failed("002016095", "Internal generation error"), id="failed"
        ),
        pytest.param(
            State.FAILED,
            {"result": replace(BAD, cost=Decimal("0.0130"))},
            "failed",
            failed("002016095", "Internal generation error", "0.0130"),
            id="failed and billed",
        ),
        pytest.param(
            State.FAILED,
            {"reason": "gave up"},
            "failed",
            failed("", "gave up"),
            id="failed, no error from the provider",
        ),
        pytest.param(State.CANCELLED, {}, "failed", failed("cancelled", "The job was cancelled."), id="cancelled"),
        pytest.param(
            State.CANCELLED,
            {"result": DONE},
            "failed",
            failed("cancelled", "The job was cancelled.", "0.0065"),
            id="cancelled, with a late paid result",
        ),
        pytest.param(
            State.EXPIRED,
            {},
            "failed",
            failed("expired", "The job was not over by its deadline. A result that still comes appears here."),
            id="expired",
        ),
    ],
)
def test_a_job_is_serialized_as_a_task_of_the_provider(
    state: State, more: dict[str, Any], status: str, members: dict[str, Any]
) -> None:
    assert serialize_task(replace(JOB, state=state, **more), NO_LINKS) == {
        "id": "fox",
        "status": status,
        "model": "m",
        **members,
    }


FILE = SavedOutput(name="a/b.png", sha256="ab" * 32, size=7, content_type="image/png", width=2, height=3)
SAVED = replace(
    JOB, state=State.COMPLETED, result=replace(DONE, saved=Saved(NOW, (FILE,))), save=SaveProgress(since=NOW)
)
LINKS = Links("https://b.example", ("a-secret-of-sixteen",), 3600, NOW.timestamp)


def test_a_saved_output_is_at_our_address_and_an_unsaved_one_says_so() -> None:
    (view,) = serialize_job(SAVED, LINKS)["output"]
    assert view["url"].startswith("https://b.example/v1/jobs/fox/outputs/0?expires=")
    assert view["source_url"] == IMAGE["url"]
    facts = {"sha256": "ab" * 32, "size": 7, "content_type": "image/png", "width": 2, "height": 3}
    assert facts.items() <= view.items()
    assert view["saved_at"] == NOW.isoformat()
    assert view["url_expires_at"] is not None
    assert serialize_job(SAVED, LINKS)["saving"] is None

    progress = SaveProgress(since=NOW, tries=2, error="404", next_at=NOW)
    waiting = serialize_job(replace(SAVED, result=DONE, save=progress), LINKS)
    (unsaved,) = waiting["output"]
    assert unsaved.keys() == view.keys()
    assert (unsaved["url"], unsaved["source_url"], unsaved["saved_at"]) == (IMAGE["url"], IMAGE["url"], None)
    assert waiting["saving"] == {
        "since": NOW.isoformat(), "tries": 2, "error": "404", "next_try_at": NOW.isoformat(), "given_up_at": None,
    }  # fmt: skip


def test_a_removed_output_says_so_and_is_at_the_provider_only() -> None:
    removed = replace(DONE, saved=Saved(NOW, (FILE,), NOW))
    (view,) = serialize_job(replace(SAVED, result=removed), LINKS)["output"]
    assert (view["url"], view["url_expires_at"]) == (IMAGE["url"], None)
    assert (view["saved_at"], view["removed_at"]) == (NOW.isoformat(), NOW.isoformat())


@pytest.mark.parametrize(
    ("links", "ours"),
    [(LINKS, True), (Links("https://b.example", (), 3600), False), (NO_LINKS, False)],
    ids=["signed", "unsigned", "no address"],
)
def test_a_program_of_the_provider_gets_an_address_that_needs_no_key(links: Links, *, ours: bool) -> None:
    (output,) = serialize_task(SAVED, links)["output"]
    (content,) = output["content"]
    assert content.keys() == {"type", "url"}
    assert content["url"].startswith("https://b.example/") is ours
    assert ("signature=" in content["url"]) is ours
