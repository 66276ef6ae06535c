"""Answers and callbacks are read as the provider's contract asks in "Read tolerantly" and "Callback"."""

import json
import math
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import fields

from schemas import (
    AnswerInvalid,
    Cost,
    Output,
    Submission,
    TaskError,
    TaskReport,
    TaskStatus,
    Usage,
    answers,
    parse_json,
    read_callback,
    read_submission,
    read_task,
)
from schemas.reader_schema import ReaderSchema

URL = "https://cdn.example.com/1.png"
ONE = (Output("image", URL),)
MARKED = "https://cdn.example.com/w.png"
GATEWAY = {
    "id": "t1",
    "status": "completed",
    "output": [{"content": [{"type": "image", "url": URL, "jobId": "j", "duration": 0}]}],
    "usage": {"cost": "0.0065", "discount": 1},
    "metadata": {"seed": 7},
}
KLING = {
    "task_id": "k1",
    "task_status": "succeed",
    "task_status_msg": "",
    "task_info": {"external_task_id": "job-1"},
    "task_result": {"images": [{"index": 0, "url": URL}]},
    "created_at": 1722769557708,
    "updated_at": 1722769557708,
}
KLING_NEWER = {
    "id": "k2",
    "status": "succeeded",
    "message": "",
    "external_id": "job-1",
    "outputs": [{"type": "image", "url": URL, "watermark_url": MARKED}],
    "create_time": 0,
    "update_time": 0,
}
STATUS_WORDS = {
    TaskStatus.WAITING: "queued pending submitted in_queue starting",
    TaskStatus.RUNNING: "in_progress processing running generating",
    TaskStatus.COMPLETED: "completed complete succeed succeeded success done",
    TaskStatus.FAILED: "failed fail error cancelled canceled rejected expired",
    TaskStatus.UNKNOWN: "archived paused 42",
}


@pytest.mark.parametrize(
    ("status", "word"), [(status, word) for status, words in STATUS_WORDS.items() for word in words.split()]
)
@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title], ids=["lower", "upper", "title"])
def test_status_words_are_read_in_any_case(status: TaskStatus, word: str, spell: Any) -> None:
    report = read_task({"id": "t1", "status": spell(word)})

    assert (report.status, report.status_text) == (status, spell(word))
    assert report.status.final is (status in (TaskStatus.COMPLETED, TaskStatus.FAILED))


def test_a_task_of_the_gateway_is_read_in_full() -> None:
    assert read_task(GATEWAY) == TaskReport(
        status=TaskStatus.COMPLETED,
        status_text="completed",
        task_id="t1",
        output=ONE,
        usage=Usage(Cost(Decimal("0.0065")), 1),
        metadata={"seed": 7},
    )


def test_progress_does_not_settle() -> None:
    report = read_task({"id": "t1", "status": "in_progress", "progress": 0.4})

    assert report == TaskReport(TaskStatus.RUNNING, "in_progress", "t1")
    assert not report.settles


@pytest.mark.parametrize("shape", [GATEWAY, KLING, KLING_NEWER], ids=["gateway", "kling", "kling newer"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda shape: shape,
        lambda shape: {"data": shape},
        lambda shape: {"code": 0, "message": "SUCCEED", "request_id": "r", "data": shape},
        lambda shape: {"status": "success", "data": shape},
        lambda shape: shape | {"data": None},
        lambda shape: shape | {"data": {"what": "else"}},
        lambda shape: shape | {"a new member": [1]},
    ],
    ids=["bare", "under data", "in Kling's envelope", "in an envelope with a status", "data null", "data else", "more"],
)
def test_every_callback_shape_is_read_bare_and_wrapped(shape: dict[str, Any], wrap: Any) -> None:
    report = read_callback(wrap(shape))

    assert report is not None
    watermarked = (Output("image", URL, MARKED),)
    assert (report.status, report.output) == (TaskStatus.COMPLETED, watermarked if shape is KLING_NEWER else ONE)
    assert report.task_id == (shape.get("id") or shape.get("task_id"))
    assert report.external_task_id == (None if shape is GATEWAY else "job-1")
    assert report.upstream is (shape is not GATEWAY)


@pytest.mark.parametrize(
    "data",
    [None, 1, "completed", [], [GATEWAY], {}, {"event": "x"}, {"status": None}, {"status": ""}, {"status": 3},
     {"status": {}}, {"task_status": None}, {"data": [GATEWAY]}, {"data": {"data": GATEWAY}}, {"id": "t1"}],
)  # fmt: skip
def test_other_json_gives_no_report(data: object) -> None:
    assert read_callback(data) is None
    with pytest.raises(AnswerInvalid):
        read_task(data)


def test_the_body_of_the_published_signature_vector_is_read() -> None:
    body = (
        b'{"id":"1234567890","status":"succeeded","message":"","create_time":1781080778802,"update_time":1781080794151}'
    )

    report = read_callback(parse_json(body))

    assert report == TaskReport(TaskStatus.COMPLETED, "succeeded", "1234567890", upstream=True)
    assert not report.settles


def test_a_task_with_a_price_comes_from_the_gateway() -> None:
    report = read_callback(GATEWAY | {"create_time": 0, "update_time": 0, "external_id": "job-1"})

    assert report is not None
    assert report.settles
    assert report.output == ONE


@pytest.mark.parametrize(
    ("changes", "settles"),
    [
        ({}, True),
        ({"usage": {"cost": "0"}}, True),
        ({"usage": {"cost": 0.0065}}, True),
        ({"usage": {"cost": ""}}, False),
        ({"usage": {"cost": None}}, False),
        ({"usage": {}}, False),
        ({"usage": None}, False),
        ({"output": []}, False),
        ({"output": None}, False),
        ({"output": [{"content": [{"type": "image"}]}]}, False),
        ({"status": "running"}, False),
        ({"status": "archived"}, False),
        ({"status": "failed"}, False),
        ({"status": "failed", "error": {}}, False),
        ({"status": "failed", "error": ""}, False),
        ({"status": "failed", "error": "out of luck"}, True),
        ({"status": "failed", "error": {"code": 2016095, "message": "m"}, "usage": {"cost": ""}}, True),
        ({"status": "failed", "error": {"code": "002016095"}, "usage": None}, True),
    ],
)
def test_a_report_settles_only_if_nothing_is_missing(changes: dict[str, Any], settles: bool) -> None:
    assert read_task(GATEWAY | changes).settles is settles


@pytest.mark.parametrize("shape", [KLING, KLING_NEWER])
@pytest.mark.parametrize("word", ["submitted", "processing", "succeed", "succeeded", "failed"])
def test_a_report_in_an_upstreams_shape_never_settles(shape: dict[str, Any], word: str) -> None:
    name = "task_status" if "task_status" in shape else "status"
    report = read_callback(shape | {name: word, "message": "why", "task_status_msg": "why"})

    assert report is not None
    assert not report.settles
    assert report.error == (TaskError("", "why") if word == "failed" else None)


@pytest.mark.parametrize(
    ("error", "read"),
    [
        (None, None),
        ("", None),
        ({}, None),
        ([], None),
        (True, None),
        ("it broke", TaskError("", "it broke")),
        ({"code": "002016095", "message": "m"}, TaskError("002016095", "m")),
        ({"code": "002016095", "error_message": "m"}, TaskError("002016095", "m")),
        ({"code": "x", "message": "", "error_message": "m"}, TaskError("x", "m")),
        ({"code": 2016001, "message": "m"}, TaskError("002016001", "m")),
        ({"code": 12016001}, TaskError("012016001", "")),
        ({"code": 2016095.0, "message": "m"}, TaskError("002016095", "m")),
        ({"code": 2.016095e6}, TaskError("002016095", "")),
        ({"code": "2016095"}, TaskError("002016095", "")),
        ({"code": " 2016095 "}, TaskError("002016095", "")),
        ({"code": "2016095.0"}, TaskError("002016095", "")),
        ({"code": 1303.0}, TaskError("1303", "")),
        ({"code": "1303"}, TaskError("1303", "")),
        ({"code": "0012"}, TaskError("0012", "")),
        ({"code": "2016095.5"}, TaskError("2016095.5", "")),
        ({"code": "1234567890"}, TaskError("1234567890", "")),
        ({"code": "٢٠١٦٠٩٥"}, TaskError("٢٠١٦٠٩٥", "")),
        ({"code": 1e300, "message": "m"}, TaskError("", "m")),
        ({"code": math.inf, "message": "m"}, TaskError("", "m")),
        ({"code": math.nan, "message": "m"}, TaskError("", "m")),
        ({"code": 123456789}, TaskError("123456789", "")),
        ({"code": 1303}, TaskError("1303", "")),
        ({"code": 500123}, TaskError("500123", "")),
        ({"code": -1, "message": "m"}, TaskError("-1", "m")),
        ({"code": True, "message": "m"}, TaskError("", "m")),
        ({"code": 1.5, "message": ["m"]}, None),
        ({"code": None, "message": None}, None),
        (2016099, TaskError("002016099", "")),
    ],
)
def test_an_error_is_read_in_each_of_its_forms(error: object, read: TaskError | None) -> None:
    assert read_task({"id": "t1", "status": "failed", "error": error}).error == read


@pytest.mark.parametrize(
    ("output", "urls"),
    [
        ([{"content": [{"url": "a"}, {"url": "b"}]}, {"content": [{"url": "c"}]}], ["a", "b", "c"]),
        ({"content": [{"url": "a"}]}, ["a"]),
        ({"content": {"url": "a"}}, ["a"]),
        ([{"content": [{"url": ""}, {"url": None}, {"id": "x"}, "a", 1, {"url": "b"}]}], ["b"]),
        ([{"content": None}, None, 7, {"content": [{"url": "a"}]}], ["a"]),
        ([], []),
        ("a", []),
        (None, []),
    ],
)
def test_outputs_are_flattened(output: Any, urls: list[str]) -> None:
    written = json.loads(re.sub(r'"url": "(\w)"', r'"url": "https://cdn.example.com/\1"', json.dumps(output)))
    report = read_task({"id": "t1", "status": "completed", "output": written})

    assert [item.url.removeprefix("https://cdn.example.com/") for item in report.output] == urls


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"cost": "0.0065", "discount": 1}, Usage(Cost(Decimal("0.0065")), 1)),
        ({"cost": 0.0065, "discount": "10%"}, Usage(Cost(Decimal("0.0065")), "10%")),
        ({"cost": "", "discount": {"a": [1]}}, Usage(Cost(), {"a": [1]})),
        ({"cost": None}, Usage(Cost())),
        ({"cost": "$1", "discount": 1}, Usage(Cost(unreadable="$1"), 1)),
        ({}, Usage(Cost())),
        ("0.0065", Usage(Cost(Decimal("0.0065")))),
        ("$1", Usage(Cost(unreadable="$1"))),
        ([{"cost": 1}], Usage(Cost(unreadable='[{"cost": 1}]'))),
        (None, None),
        ("", None),
        ([], None),
    ],
)
@pytest.mark.parametrize("status", ["completed", "failed", "running"])
def test_usage_is_read_in_every_state(usage: object, read: Usage | None, status: str) -> None:
    assert read_task({"id": "t1", "status": status, "usage": usage}).usage == read


@pytest.mark.parametrize(
    ("answer", "task_id"),
    [
        ({"id": "t1", "status": "in_progress", "model": "m", "created_at": 1760000000}, "t1"),
        ({"id": "t1"}, "t1"),
        ({"task_id": "t1"}, "t1"),
        ({"data": {"id": "t1"}}, "t1"),
        ({"data": {"task_id": "t1"}}, "t1"),
        ({"id": None, "task_id": "t1"}, "t1"),
        ({"id": "", "data": {"task_id": "t1"}}, "t1"),
        ({"id": 17, "status": "queued"}, "17"),
        ({"id": "t1", "code": 200, "message": "accepted"}, "t1"),
        ({"code": 0, "message": "SUCCEED", "data": {"task_id": "t1", "task_status": "submitted"}}, "t1"),
    ],
)
def test_a_submission_with_an_id_created_a_task(answer: dict[str, Any], task_id: str) -> None:
    submission = read_submission(answer)

    assert (submission.task_id, submission.error) == (task_id, None)
    assert (submission.report is None) is ("status" not in json.dumps(answer))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({}, None),
        (None, None),
        ([], None),
        ("<html>", None),
        ({"id": ""}, None),
        ({"id": True}, None),
        ({"id": {"x": 1}, "task_id": []}, None),
        ({"id": "x" * 513}, None),
        ({"data": None}, None),
        ({"data": []}, None),
        ({"code": 0, "message": "SUCCEED", "data": {}}, None),
        ({"error": {"code": "002016001", "message": "Prompt missing"}}, TaskError("002016001", "Prompt missing")),
        ({"error": {"code": 2016001, "error_message": "Prompt missing"}}, TaskError("002016001", "Prompt missing")),
        ({"error": "no"}, TaskError("", "no")),
        ({"data": {"error": {"code": 1303}}}, TaskError("1303", "")),
        ({"code": 1303, "message": "too many", "request_id": "r"}, TaskError("1303", "too many")),
        ({"code": 1201, "message": "external_task_id exists"}, TaskError("1201", "external_task_id exists")),
        ({"message": "duplicate external_task_id"}, TaskError("", "duplicate external_task_id")),
    ],
)
def test_a_submission_without_an_id_created_nothing(answer: object, error: TaskError | None) -> None:
    assert read_submission(answer) == Submission(task_id=None, report=None, error=error)


def test_a_task_that_failed_at_once_has_both_id_and_error() -> None:
    submission = read_submission({"id": "t1", "status": "failed", "error": {"code": 2016095, "message": "m"}})

    assert (submission.task_id, submission.error) == ("t1", TaskError("002016095", "m"))
    assert submission.report is not None
    assert submission.report.settles


_TEXT = st.text(st.characters(exclude_categories=()), max_size=10)
_NAMES = st.sampled_from(
    [
        "id", "task_id", "status", "task_status", "task_status_msg", "task_info", "task_result", "images", "data",
        "output", "outputs", "content", "url", "type", "error", "code", "message", "error_message", "usage", "cost",
        "discount", "metadata", "external_task_id", "external_id", "create_time",
    ]
)  # fmt: skip
_WORDS = st.sampled_from([word for words in STATUS_WORDS.values() for word in words.split()])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _WORDS | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES | _TEXT, inner, max_size=6),
    max_leaves=25,
)


@given(_JSON)
def test_no_json_makes_a_reader_raise(data: Any) -> None:
    report = read_callback(data)
    submission = read_submission(data)

    assert submission.report == report
    if report is None:
        with pytest.raises(AnswerInvalid):
            read_task(data)
    else:
        assert read_task(data) == report
        assert not report.settles or report.status.final


@pytest.mark.parametrize("schema", [answers._gateway, answers._kling, answers._kling_new, answers._created])
@given(_JSON)
def test_the_members_of_an_answer_are_those_that_marshmallow_reads(schema: ReaderSchema, data: Any) -> None:
    for part in (data, *(data.values() if isinstance(data, dict) else ())):
        if isinstance(part, dict):
            assert repr(schema.members(part)) == repr(schema.load(part))


def test_a_schema_of_other_fields_is_refused() -> None:
    class Strict(ReaderSchema):
        code = fields.Integer(allow_none=True)

    with pytest.raises(TypeError):
        Strict().members({})


LONG = "x" * 3_000_000


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "failed", "error": LONG},
        {"status": "failed", "error": {"code": LONG, "message": LONG}},
        {"status": "failed", "error": {"code": 1, "error_message": LONG}},
        {"task_status": "failed", "task_status_msg": LONG},
        {"status": "failed", "outputs": [], "message": LONG},
        {"code": LONG, "message": LONG},
        {"data": {"error": {"message": LONG}}},
        {"error_message": LONG},
    ],
)
def test_a_long_error_is_cut_since_it_is_stored(answer: dict[str, Any]) -> None:
    error = read_submission(answer).error if "data" in answer or "code" in answer or "error_message" in answer else None
    report = read_callback(answer)
    errors = [each for each in (error, report and report.error) if each]
    assert errors
    for each in errors:
        assert len(each.code) <= 64
        assert 0 < len(each.code + each.message) <= 2064
