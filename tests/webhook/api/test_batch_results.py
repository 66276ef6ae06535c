import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from jobs.producer_ids import given_id
from jobs.result import Result
from jobs.states import State
from jobs.store import batch_members
from jobs.store.store import Store
from schemas.views.jobs import JobView
from tests.support.producers import own
from tests.support.redis_copy import copy, put_back
from webhook.api.batch_results import COLUMNS
from webhook.places import TRANSFERS

LINE = b'{"model":"kirin_image_omni","prompt":"a fox","labels":{"shop":"K\xc3\xb6ln, \\"S\xc3\xbcd\\""}}\n'
URLS = [f"https://cdn.example.com/{number}.png?a=1,2" for number in range(2)]


@pytest.fixture(scope="module")
def copies() -> dict[str, dict[bytes, bytes]]:
    """Backups of prepared data, shared by the tests of this module."""
    return {}


@pytest.fixture
def foxes(client: FlaskClient, store: Store, redis_url: str, copies: dict[str, dict[bytes, bytes]]) -> Store:
    """1,100 jobs: every third failed, the rest of the first 600 completed, and the others are queued."""
    with redis.Redis.from_url(redis_url) as bare:
        if "foxes" in copies:
            put_back(bare, copies["foxes"])
        else:
            prepare(client, store)
            copies["foxes"] = copy(bare)
    return store


def prepare(client: FlaskClient, store: Store) -> None:
    client.post("/v1/batches?id=foxes", data=LINE * 1100)
    store.attempts.admit(600)
    for claim in store.attempts.claim([own(f"foxes.{number}") for number in range(1, 601)]):
        failed = int(given_id(claim.id).removeprefix("foxes.")) % 3 == 0
        if failed:
            result = Result(error={"code": "1301", "message": '=HYPERLINK("x")\nnext, line'})
        else:
            output = tuple({"type": "image", "url": url} for url in URLS)
            result = Result(output=output, cost=Decimal("0.0065"))
        state = State.FAILED if failed else State.COMPLETED
        store.attempts.finish(claim.id, state, result, "submit", fence=claim.fence)


def ids(text: str) -> list[str]:
    return [json.loads(line)["id"] for line in text.splitlines()]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        pytest.param("?status=failed", range(3, 601, 3), id="failed"),
        pytest.param("?status=queued&status=failed", [*range(3, 601, 3), *range(601, 1101)], id="two states"),
        pytest.param("?status=expired", [], id="none"),
        pytest.param("?format=ndjson", range(1, 1101), id="all"),
    ],
)
def test_results_by_state_are_in_input_order(query: str, numbers: Any, client: FlaskClient, foxes: Store) -> None:
    answer = client.get(f"/v1/batches/foxes/results{query}")
    assert (answer.status_code, answer.content_type) == (200, "application/x-ndjson")
    assert ids(answer.text) == [f"foxes.{number}" for number in numbers]


def test_errors_contain_the_failed_jobs(client: FlaskClient, foxes: Store) -> None:
    answer = client.get("/v1/batches/foxes/errors")
    assert answer.content_type == "application/x-ndjson"
    assert ids(answer.text) == [f"foxes.{number}" for number in range(3, 601, 3)]
    first = json.loads(answer.text.splitlines()[0])
    assert JobView().validate(first) == {}
    assert first["error"]["code"] == "1301"


def test_results_are_available_as_csv(client: FlaskClient, foxes: Store) -> None:
    answer = client.get("/v1/batches/foxes/results?format=csv")
    assert answer.content_type == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert (len(rows), tuple(rows[0])) == (1100, COLUMNS)
    assert [row["id"] for row in rows] == [f"foxes.{number}" for number in range(1, 1101)]
    done, failed, waits = rows[0], rows[2], rows[700]
    assert (done["status"], done["cost"], done["output"].split()) == ("completed", "0.0065", URLS)
    assert json.loads(done["labels"]) == {"shop": 'Köln, "Süd"'}
    # Text must not become a spreadsheet formula
    assert (failed["error_code"], failed["error_message"]) == ("1301", '\'=HYPERLINK("x")\nnext, line')
    assert (waits["status"], waits["cost"], waits["output"], waits["finished_at"]) == ("queued", "", "", "")


def test_an_empty_csv_names_the_columns(client: FlaskClient, foxes: Store) -> None:
    answer = client.get("/v1/batches/foxes/results?format=csv&status=expired")
    assert answer.text == ",".join(COLUMNS) + "\r\n"


@pytest.mark.parametrize(
    ("query", "field"), [("status=done", "status"), ("format=xlsx", "format"), ("limit=1", "limit")]
)
def test_an_invalid_query_is_refused_by_field(query: str, field: str, client: FlaskClient, foxes: Store) -> None:
    answer = client.get(f"/v1/batches/foxes/results?{query}")
    assert (answer.status_code, list(answer.json["errors"])) == (422, [field])


def test_an_unknown_batch_gets_404(client: FlaskClient) -> None:
    for path in ("results?status=failed", "results?format=csv", "errors"):
        assert client.get(f"/v1/batches/unknown/{path}").status_code == 404


def test_every_stream_releases_its_place(client: FlaskClient) -> None:
    client.post("/v1/batches?id=foxes", data=LINE)
    for _ in range(TRANSFERS + 1):
        client.get("/v1/batches/foxes/results?format=csv").close()
        client.get("/v1/batches/foxes/errors").close()
        client.get("/v1/batches/unknown/errors")
    assert client.get("/v1/batches/foxes/errors").status_code == 200


def test_jobs_in_other_states_are_not_read(foxes: Store, raw: redis.Redis) -> None:
    raw.config_resetstat()
    assert len(list(foxes.batches.jobs(own("foxes"), [State.FAILED]))) == 200
    assert raw.info("commandstats")["cmdstat_hgetall"]["calls"] < 250  # of 1,100 jobs


def test_failures_of_a_class_are_found_without_reading_other_jobs(client: FlaskClient, foxes: Store, raw: Any) -> None:
    raw.config_resetstat()
    assert len(ids(client.get("/v1/batches/foxes/results?class=moderation").text)) == 200
    assert raw.info("commandstats")["cmdstat_hgetall"]["calls"] < 250

    assert client.get("/v1/batches/foxes/results?class=moderation&status=completed").text == ""
    assert client.get("/v1/batches/foxes/results?class=unsaved&class=quota").text == ""


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("?include=request&format=csv", "prompt,labels.shop"),
        ("?include=request&format=csv&class=quota", "prompt,labels.shop"),
        ("?class=quota", ""),
    ],
)
def test_an_answer_begins_before_the_batch_is_read(
    query: str, columns: str, client: FlaskClient, foxes: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw: Any = foxes.context.client
    monkeypatch.setattr(batch_members, "RUNS", 4)
    monkeypatch.setattr(batch_members, "CHUNK", 100)
    raw.config_resetstat()
    pieces: Any = client.get(f"/v1/batches/foxes/results{query}", buffered=False).response

    first = next(pieces).decode()

    read = raw.info("commandstats")
    assert sum(read.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("hgetall", "hmget")) <= 4 * 50 + 100 + 20
    assert columns in first
    pieces.close()


def test_columns_come_from_all_parts_of_a_large_batch_and_no_text_is_lost(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_members, "RUNS", 2)
    request = {"model": "kirin_image_omni", "prompt": "a fox"}
    names = ["first", *["" for _ in range(148)], "hidden", "last"]
    metadata = [{"metadata": {name: "x", "size": "7"}} if name else {} for name in names]
    metadata.insert(75, {"metadata": {"hidden too": "y"}})
    metadata[76:76] = [{} for _ in range(20)]
    metadata.append({"metadata": {"last": "z"}})
    lines = "\n".join(json.dumps(request | each) for each in metadata)
    client.post("/v1/batches?id=b", data=lines)

    answer = client.get("/v1/batches/b/results?include=request&format=csv")

    heading, *rows = csv.reader(io.StringIO(answer.text, newline=""))
    assert heading[len(COLUMNS) :] == [
        "prompt",
        "metadata.first",
        "metadata.size",
        "metadata.hidden",
        "metadata.last",
        "metadata",
    ]
    assert [row[-1] for row in rows if row[-1]] == ['{"hidden too": "y"}']
    assert [row[len(COLUMNS) + 1 :] for row in (rows[0], rows[-1])] == [
        ["x", "7", "", "", ""],
        ["", "", "", "z", ""],
    ]
