"""The request beside the result: `include=request` and `include=revisions`."""

import csv
import io
import json
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from jobs.job import Job
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from schemas import load_request
from schemas.views.jobs import JobView
from webhook.api import included
from webhook.api.batch_results import COLUMNS
from webhook.api.included import MOST_BYTES
from webhook.api.request_columns import RequestColumns

REQUEST = {
    "model": "kirin_image_omni",
    "prompt": "a fox",
    "n": 2,
    "labels": {"shop": "berlin"},
    "metadata": {"Product title": "Fox, red", "id": "7"},
    "priority": "low",
    "expires_in": 60,
}


def refuse(store: Store) -> None:
    (claim,) = store.attempts.claim(store.attempts.admit(10).ids)
    error = {"code": "1301", "message": f"{claim.external_task_id} is unsafe"}
    store.attempts.finish(claim.external_task_id, State.FAILED, Result(error=error), "submit")


def test_the_request_comes_back_as_it_can_be_enqueued_again(client: FlaskClient) -> None:
    client.post("/v1/jobs", json=REQUEST | {"external_task_id": "fox"})
    assert "request" not in client.get("/v1/jobs/fox").json

    view = json.loads(client.get("/v1/jobs/fox?include=request").text)

    assert view["request"] == REQUEST | {"external_task_id": "fox"}
    assert JobView().validate(view) == {}
    load_request(view["request"])
    assert client.post("/v1/jobs", json=view["request"]).status_code == 200
    (listed,) = client.get("/v1/jobs?include=request").json["jobs"]
    assert listed["request"] == view["request"]
    assert client.get("/v1/jobs/fox?include=request&wait=0.1").json["request"] == view["request"]


def test_revisions_say_what_was_refused_and_why(client: FlaskClient, store: Store) -> None:
    client.post("/v1/jobs", json=REQUEST | {"external_task_id": "fox"})
    refuse(store)
    client.post("/v1/jobs/fox/retry", json=REQUEST | {"prompt": "a calm fox"})

    view = json.loads(client.get("/v1/jobs/fox?include=request,revisions").text)

    assert JobView().validate(view) == {}
    assert (view["revision"], view["request"]["prompt"]) == (2, "a calm fox")
    (earlier,) = view["revisions"]
    assert (earlier["revision"], earlier["status"], earlier["class"]) == (1, "failed", "moderation")
    assert earlier["request"]["prompt"] == "a fox"
    assert "is unsafe" in earlier["error"]["message"]
    assert (earlier["cost"], earlier["first_attempt"], earlier["last_attempt"]) == ("0", 1, 1)
    (plain,) = client.get("/v1/jobs/fox?include=revisions").json["revisions"]
    assert "request" not in plain
    assert client.get("/v1/jobs?include=revisions&include=request").json["jobs"] == [view]


def test_unknown_members_to_include_are_refused(client: FlaskClient) -> None:
    for query in ("include=prompt", "include=request,", "include="):
        assert client.get(f"/v1/jobs?{query}").status_code == 422


def test_results_have_the_requests_in_both_formats(client: FlaskClient) -> None:
    plain = {name: REQUEST[name] for name in ("model", "prompt")}
    other = plain | {
        "labels": {"prompt": "=1+1", "id": "x"},
        "metadata": {"status": "@sum", "Product title": "\x1b[1m"},
    }
    client.post("/v1/batches?id=b", data="".join(f"{json.dumps(each)}\n" for each in (REQUEST, plain, other)))

    lines = client.get("/v1/batches/b/results?include=request").text.splitlines()
    table = client.get("/v1/batches/b/results?include=request&format=csv").text
    bare = client.get("/v1/batches/b/results?format=csv").text

    ids = [{"external_task_id": f"b.{number}"} for number in (1, 2, 3)]
    assert [json.loads(line)["request"] for line in lines] == [
        each | id_ for each, id_ in zip((REQUEST, plain, other), ids, strict=True)
    ]
    heading, *rows = csv.reader(io.StringIO(table, newline=""))
    assert heading == [
        *COLUMNS, "prompt", "labels.shop", "labels.prompt", "labels.id",
        "metadata.Product title", "metadata.id", "metadata.status",
    ]  # fmt: skip
    assert len(set(heading)) == len(heading)
    assert [row[len(COLUMNS) :] for row in rows] == [
        ["a fox", "berlin", "", "", "Fox, red", "7", ""],
        ["a fox", "", "", "", "", "", ""],
        ["a fox", "", "'=1+1", "x", rows[2][-3], "", "'@sum"],
    ]
    assert "\x1b" not in table
    assert bare.splitlines()[0].split(",") == list(COLUMNS)


def test_a_page_reads_requests_without_a_round_trip_for_each(
    client: FlaskClient, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post("/v1/batches?id=b", data=f"{json.dumps(REQUEST)}\n" * 20)
    calls: list[int] = []
    pipeline, command = redis.client.Pipeline.execute, redis.Redis.execute_command

    def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(len(self.command_stack))
        return pipeline(self, *args, **kwargs)

    def execute_command(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return command(self, *args, **kwargs)

    monkeypatch.setattr(redis.client.Pipeline, "execute", execute)
    monkeypatch.setattr(redis.Redis, "execute_command", execute_command)
    trips = {}
    for query in ("", "&include=request"):
        calls.clear()
        client.get(f"/v1/jobs?batch=b{query}")
        trips[query] = len(calls)

    assert trips["&include=request"] == trips[""] + 1


LARGE = REQUEST | {"image_list": [{"image": f"https://cdn.example/{number}/{'x' * 7_900}.png"} for number in range(10)]}


@pytest.mark.parametrize("query", ["batch=b", "label=shop%3Dberlin", "status=queued", ""])
def test_a_page_with_requests_ends_early_and_its_cursor_continues(query: str, client: FlaskClient) -> None:
    client.post("/v1/batches?id=b", data=f"{json.dumps(LARGE)}\n" * 120)
    plain = [job["id"] for job in client.get(f"/v1/jobs?{query}&limit=500").json["jobs"]]

    ids, sizes = list[str](), list[int]()
    cursor: str | None = ""
    while cursor is not None:
        page = client.get(f"/v1/jobs?{query}&limit=500&include=request{cursor and f'&cursor={cursor}'}")
        ids += [job["id"] for job in page.json["jobs"]]
        sizes.append(len(page.data))
        cursor = page.json["cursor"]

    assert ids == plain
    assert len(ids) == 120
    assert len(sizes) == 3
    assert max(sizes) < MOST_BYTES + 200_000


def test_a_page_counts_revisions(client: FlaskClient, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(included, "MOST_BYTES", 100_000)
    for number in range(3):
        client.post("/v1/jobs", json=LARGE | {"external_task_id": f"fox-{number}"})
        refuse(store)
        client.post(f"/v1/jobs/fox-{number}/retry", json=REQUEST)
        client.post(f"/v1/jobs/fox-{number}/cancel")

    first = client.get("/v1/jobs?include=request,revisions").json
    second = client.get(f"/v1/jobs?include=request,revisions&cursor={first['cursor']}").json

    assert [len(each["jobs"]) for each in (first, second)] == [2, 1]


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_a_piece_of_results_is_bounded_in_bytes(form: str, client: FlaskClient) -> None:
    client.post("/v1/batches?id=b", data=f"{json.dumps(LARGE | {'prompt': 'f' * 2_000})}\n" * 120)

    pieces: list[Any] = list(
        client.get(f"/v1/batches/b/results?include=request&format={form}", buffered=False).response
    )

    assert max(map(len, pieces)) < MOST_BYTES + 1_000_000
    assert b"".join(pieces).count(b"f" * 2_000) == 120


_names = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)


@pytest.mark.slow
@given(labels=st.dictionaries(_names, st.text(max_size=9)), metadata=st.dictionaries(_names, st.text(max_size=9)))
def test_columns_never_collide_and_keep_every_text(labels: dict[str, str], metadata: dict[str, str]) -> None:
    text = json.dumps({"model": "m", "params": {"prompt": "p"}, "metadata": metadata})
    record = {"s": "queued", "m": "m", "c": "1", "u": "1"}
    job = Job.from_fields("fox", record, labels=json.dumps(labels), text=text)
    columns = RequestColumns.of([job])

    cells = dict(zip((*COLUMNS, *columns.heading), ("",) * len(COLUMNS) + tuple(columns.cells(job)), strict=True))

    assert len(cells) == len(COLUMNS) + 1 + len(labels) + len(metadata)
    assert {name: cells[f"labels.{name}"] for name in labels} == labels
    assert {name: cells[f"metadata.{name}"] for name in metadata} == metadata


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ([], "an object of texts"),
        ({str(number): "x" for number in range(65)}, "65 entries"),
        ({"a": 1}, "must be a string"),
        ({"": "x"}, "not a valid name"),
        ({"a" * 129: "x"}, "not a valid name"),
        ({"line\nbreak": "x"}, "not a valid name"),
        ({"a": "x" * 8192}, "8,193 characters"),
    ],
)
def test_metadata_has_limits(client: FlaskClient, metadata: Any, problem: str) -> None:
    answer = client.post("/v1/jobs", json=REQUEST | {"metadata": metadata})

    assert answer.status_code == 422
    assert problem in json.dumps(answer.json["errors"])


def test_the_largest_metadata_is_kept_and_never_sent_to_the_provider(client: FlaskClient, store: Store) -> None:
    metadata = {"a": "x" * 8191}
    client.post("/v1/jobs", json=REQUEST | {"metadata": metadata, "external_task_id": "fox"})

    request = load_request(client.get("/v1/jobs/fox?include=request").json["request"])

    assert request.metadata == metadata
    assert "metadata" not in request.params


def test_the_timeline_names_the_key_that_acted(client: FlaskClient) -> None:
    client.post("/v1/jobs", json={"model": "kirin_image_omni", "prompt": "a fox", "external_task_id": "fox"})
    client.post("/v1/jobs/fox/pause")
    client.post("/v1/jobs/fox/cancel")

    timeline = client.get("/v1/jobs/fox?include=timeline").json["timeline"]

    assert [each["event"] for each in timeline] == ["accepted", "paused", "cancelled"]
    assert timeline[0]["by"] is None
    assert timeline[1]["by"] == timeline[2]["by"] != ""
    assert client.get("/v1/jobs?include=timeline").json["jobs"][0]["timeline"] == timeline
    assert "timeline" not in client.get("/v1/jobs/fox").json
