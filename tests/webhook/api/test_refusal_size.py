"""Answers to requests that are wrong in very many ways: their size has a limit at every entry point."""

import gzip
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from schemas.error_budget import MOST_BYTES, MOST_FIELDS
from webhook.api.upload_progress import MOST_ERROR_BYTES, MOST_ERRORS

FOX = {"model": "kirin_image_omni", "prompt": "a fox"}
#: Bytes of an answer beside its errors.
FRAME = 1024

HOSTILE: dict[str, Any] = {
    "290,000 unknown members": FOX | {f"k{number:06d}": 0 for number in range(290_000)},
    "9,000 members of 1 KB": FOX | {"é" * 500 + f"{number:06d}": 0 for number in range(9_000)},
    "30 members of 1 KB": FOX | {"é" * 500 + f"{number:06d}": "n" * 1_000 for number in range(30)},
    "an object with 20,000 members": FOX | {"watermark_info": {f"k{number:06d}": 0 for number in range(20_000)}},
    "ten such objects": FOX | {"image_list": [{f"k{number}": 0 for number in range(9_000)} for _ in range(10)]},
    "ten objects with 21 unknown members": FOX | {"image_list": [{f"k{number}": 0 for number in range(21)}] * 10},
    "20,000 labels": FOX | {"labels": {f"k{number}": 0 for number in range(20_000)}},
    "a long name": FOX | {"x" * 2_000_000: 0},
    "a long name beside input": {"model": "kirin_image_omni", "input": [], "x" * 2_000_000: 0},
    "a long model": {"model": "x" * 2_000_000},
    "a long id": FOX | {"external_task_id": "x" * 2_000_000},
    "a deep value": json.loads("[" * 900 + "]" * 900),
}


@pytest.mark.parametrize("path", ["/v1/jobs", "/model/v1/generation"])
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("packed", [False, True])
def test_the_answer_about_a_job_has_a_limit(client: FlaskClient, path: str, body: Any, packed: bool) -> None:
    text = json.dumps(body).encode()
    headers = {"Content-Encoding": "gzip"} if packed else {}
    answer = client.post(path, data=gzip.compress(text) if packed else text, headers=headers)
    assert answer.status_code in (400, 413, 422)
    # The provider's form has the text twice.
    assert len(answer.data) <= 2 * MOST_BYTES + FRAME
    if path == "/v1/jobs":
        assert len(answer.data) <= MOST_BYTES + FRAME
        assert len(answer.json.get("errors", {}).keys() - {"request"}) <= MOST_FIELDS


@pytest.mark.slow
@pytest.mark.parametrize("on_error", ["skip", "abort"])
@pytest.mark.parametrize(
    "line",
    [
        FOX | {f"k{number:06d}": 0 for number in range(30)},
        FOX | {f"k{number:06d}": 0 for number in range(3_000)},
        FOX | {"é" * 60 + f"{number:06d}": "n" * 60 for number in range(30)},
        {"model": "x" * 10_000},
    ],
)
def test_the_answer_about_a_batch_has_a_limit(client: FlaskClient, line: Any, on_error: str) -> None:
    lines = [json.dumps(line)] * 1_500
    answer = client.post(f"/v1/batches?id=bad&on_error={on_error}", data="\n".join(lines))
    assert answer.status_code == (201 if on_error == "skip" else 422), answer.text[:500]
    assert answer.json["rejected"] == 1_500
    assert 0 < len(answer.json["errors"]) <= MOST_ERRORS
    assert len(answer.data) <= MOST_ERROR_BYTES + FRAME
    assert answer.json["errors"][0]["line"] == 1


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/batches", "/v1/spend"])
@pytest.mark.parametrize(
    "query", ["&".join(f"k{number}=" for number in range(2_000)), "&".join(["label=" + "x" * 50] * 400), "x" * 100_000]
)
def test_the_answer_about_a_query_has_a_limit(client: FlaskClient, path: str, query: str) -> None:
    answer = client.get(f"{path}?{query}")
    assert answer.status_code == 422
    assert len(answer.data) <= MOST_BYTES + FRAME
