"""The client and the service's OpenAPI document say the same. (What each test asks is held to it in conftest.)"""

from dataclasses import fields
from typing import Any

import pytest

from boomerang_client import Batch, Client, Job, Lane, Quote, Status
from boomerang_client.batches import Batches
from boomerang_client.cli import formats
from boomerang_client.cli.columns import MEMBERS
from boomerang_client.connection import PAGE
from boomerang_client.jobs import LONG_POLL_MAX
from boomerang_client.local_images import IMAGE_LISTS, IMAGE_MEMBERS
from boomerang_client.responses import BatchAccepted, BatchChanged
from tests.support.fake_boomerang import FakeService
from webhook.api import batch_results

#: Where a record has another name for a member of a view.
ELSEWHERE = {"usage": "cost", "class": "failure"}
OURS = {"raw", "service", "upload"}


def members(openapi: dict[str, Any], view: str) -> set[str]:
    return set(openapi["components"]["schemas"][view]["properties"])


@pytest.mark.parametrize(
    ("view", "record"),
    [
        ("JobView", Job),
        ("BatchView", Batch),
        ("BatchAccepted", BatchAccepted),
        ("BatchChanged", BatchChanged),
        ("QuoteView", Quote),
    ],
)
def test_records_know_every_member_of_their_views(openapi: dict[str, Any], view: str, record: Any) -> None:
    documented = {ELSEWHERE.get(name, name) for name in members(openapi, view)}
    known = {field.name for field in fields(record)} - OURS
    assert documented - known == set()
    assert known - documented == set()


def test_a_lane_is_read_by_members_that_it_has(openapi: dict[str, Any]) -> None:
    known = {field.name for field in fields(Lane)} - OURS
    assert known - members(openapi, "LaneView") == set()


def test_the_fakes_views_are_the_services(openapi: dict[str, Any], client: Client, service: FakeService) -> None:
    batch = client.batch([{"model": "m"}], "b")
    job = client.job("b.1")
    bulk = client.begin_bulk("cancel", {"batch": "b"})
    for view, body in (
        ("JobView", job.raw),
        ("BatchView", batch.raw),
        ("BatchAccepted", batch.upload.view),
        ("BulkView", bulk.raw),
    ):
        known = members(openapi, view)
        assert set(body) <= known
        assert set(openapi["components"]["schemas"][view].get("required", [])) - set(body) == set()


def test_the_client_knows_the_services_states_and_limits(openapi: dict[str, Any]) -> None:
    states = openapi["components"]["schemas"]["JobView"]["properties"]["status"]["enum"]
    assert set(states) == {status.value for status in Status} - {"unknown"}
    parameters = {
        each["name"]: each["schema"]
        for path in ("/v1/jobs", "/v1/jobs/{job_id}")
        for each in openapi["paths"][path]["get"]["parameters"]
        if "schema" in each
    }
    assert parameters["limit"]["maximum"] == PAGE
    assert parameters["wait"]["maximum"] == LONG_POLL_MAX


def test_generate_has_a_parameter_for_each_member_of_a_request(openapi: dict[str, Any]) -> None:
    requests = [openapi["components"]["schemas"][name] for name in ("KirinImageOmni", "KirinV21Reference2Image")]
    known = set().union(*(each["properties"] for each in requests)) | {"priority", "expires_in"}
    assert set(MEMBERS) <= known
    assert {*IMAGE_LISTS, *IMAGE_MEMBERS} <= known
    parameters = set(Batches.generate.__annotations__) - {"return", "more"}
    assert known - parameters == {"watermark_info", "callback_url"}  # rare: by **more
    assert parameters - known == set()


def test_tables_have_the_services_columns() -> None:
    assert formats.COLUMNS == batch_results.COLUMNS
