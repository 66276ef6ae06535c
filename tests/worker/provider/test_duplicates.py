"""Refusals that say in many ways that the external id exists already."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.provider.duplicates import About, about_id

OURS = "order-4711.front"

EXISTS = [
    {"code": 1201, "message": "external_task_id has been used"},
    {"code": 1201, "message": "externalTaskId already exists"},
    {"code": 1201, "message": "ExternalTaskID duplicated"},
    {"code": 1201, "message": "EXTERNAL_TASK_ID must be unique"},
    {"code": 1201, "message": "external-task-id is in use"},
    {"code": 1201, "message": "External Task ID has been taken"},
    {"error": {"code": "1201", "message": "externalId conflict"}},
    {"error": {"code": "1201", "error_message": "duplicated external id"}},
    {"error": "duplicate task id"},
    {"code": 1201, "message": "外部任务ID已存在"},
    {"code": 1201, "message": "外部任务 id 重复"},
    {"code": 1201, "message": "任务ID已被使用"},
    {"code": 1201, "msg": "external_task_id 重复提交"},
    {"code": 1201, "message": "该外部任务编号已使用"},
    {"code": 1201, "message": "外部任務ID已存在"},
    {"detail": [{"loc": ["body", "external_task_id"], "msg": "external_task_id already exists"}]},
    {"detail": [{"loc": ["body", "input", 0, "params", "external_task_id"], "msg": "Value already taken"}]},
    {"detail": "A task with this external_task_id already exists"},
    {"errors": {"external_task_id": ["has already been taken"]}},
    {"errors": [{"field": "externalTaskId", "code": "unique", "message": "not unique any more"}]},
    {"data": {"error": {"message": "external task id repeated"}}},
    {"message": f'duplicate value "{OURS}"'},
    {"message": f"task {OURS.upper()} exists"},
    {"message": "Idempotency key reused: duplicate"},
    {"message": "Duplicate submission. external_task_id: 99"},
    {"message": "The task already exists. (external_task_id=99)"},
    {"message": "order id 4711 already exists"},
    {"message": "duplicated request id"},
    {"errors": {"client_id": ["has already been taken"]}},
    {"message": 'request_id "a" has been used. Trace: 5'},
    b'duplicate key value violates unique constraint "tasks_external_task_id_key"',
    b"<h1>external_task_id already exists</h1>",
    '{"message": "外部任务ID已存在"}'.encode("gb18030").decode("latin1").encode() + b" external_task_id exists",
]  # fmt: skip
PERHAPS = [
    {"message": "duplicate request"},
    {"message": "task already exists"},
    {"message": "请求重复"},
    {"message": "external_task_id is too long"},
    {"message": "invalid externalTaskId"},
    {"detail": [{"loc": ["body", "external_task_id"], "msg": "string does not match regex"}]},
    {"message": "外部任务ID错误"},
    {"message": f"{OURS}: no"},
    {"message": "duplicate subject image"},
]
#: Ordinary refusals: they say nothing about the external id, but have words in common with those that do.
ORDINARY = [
    {"code": 1201, "message": "The requested model is not available. Request ID: 0217a"},
    {"code": 1201, "message": "Request id: 0217a: the prompt was already rejected by moderation"},
    {"code": 1201, "message": "Request id 0217a the prompt was already rejected by moderation"},
    {"code": 1201, "message": "image_list[0]: file exists but cannot be decoded. Request ID: 1"},
    {"code": 1201, "message": "image_list[0]: file exists but cannot be decoded (request id: 1)"},
    {"code": 1201, "message": "User ID not found; account already closed"},
    {"code": 1201, "message": "Your trial was already used, order number 5"},
    {"code": 1201, "message": "This model is not available. Task ID: 99"},
    {"code": 1201, "message": "prompt already rejected. external_task_id: 99"},
    {"code": 1201, "message": f"This model is not available. Job: {OURS}"},
    {"code": 1201, "message": "client_id 7: the key conflicts with the region"},
    {"code": 1201, "message": "文件已存在但无法解码。任务ID：99"},
]
NOTHING = [
    {"code": 1201, "message": "n is out of range"},
    {"code": "002016002", "message": "prompt is too long"},
    {"message": "model kirin_v9 does not exist"},
    {"message": "模型不存在"},
    {"message": "image can't be used"},
    {"message": "another job-order-4711.front2 no"},
    {"message": "unsafe", "request_id": "8a1f"},
    {"detail": [{"loc": ["body", "n"], "msg": "bad n", "input": {"external_task_id": OURS, "prompt": "already"}}]},
    b"<h1>Bad Request</h1>",
    b"",
    b"\xff\xfe",
    [],
    None,
    17,
]
CASES = [
    *((About.EXISTS, body) for body in EXISTS),
    *((About.PERHAPS, body) for body in [*PERHAPS, *ORDINARY]),
    *((About.NOTHING, body) for body in NOTHING),
]


@pytest.mark.parametrize(("about", "body"), CASES, ids=str)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_what_a_refusal_says_about_the_id(about: About, body: Any, ascii_only: bool) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=ascii_only).encode()
    assert about_id(raw, OURS) is about


@given(
    st.sampled_from(["external_task_id", "externalTaskId", "external-task-id", "External Task Id", "外部任务ID"]),
    st.sampled_from([" already exists", " has been used", " is a duplicate", "已存在", " 重复", " CONFLICT"]),
    st.sampled_from(["message", "msg", "error_message", "detail", "reason", "description", "title"]),
    st.integers(0, 4),
    st.booleans(),
)
def test_every_name_with_every_word_in_every_form(name: str, words: str, member: str, depth: int, upper: bool) -> None:
    text = name + words
    body: Any = {member: text.upper() if upper else text}
    for level in range(depth):
        body = [body] if level % 2 else {"error": body, "code": 1201}
    assert about_id(json.dumps(body).encode(), OURS) is About.EXISTS


@given(st.binary(max_size=300))
def test_any_bytes_are_read(body: bytes) -> None:
    about_id(body, OURS)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"external task " * 300_000, id="names"),
        pytest.param(b"not not " * 500_000, id="negations"),
        pytest.param(json.dumps({"message": "external" * 500_000}).encode(), id="one word"),
        pytest.param(b"request id " + b"9" * 500_000, id="one value"),
        pytest.param(b'request id "' + b'9"' * 500_000, id="quotes"),
        pytest.param(b"request id " + b" is" * 500_000, id="verbs"),
        pytest.param(b"request id 9 " * 300_000, id="other names"),
        pytest.param(b'{"a":' * 800_000, id="depth"),
        pytest.param(json.dumps([{"m": "x"}] * 300_000).encode(), id="entries"),
    ],
)
@pytest.mark.slow
def test_a_large_body_takes_bounded_time(body: bytes) -> None:
    began = time.process_time()
    about_id(body, OURS)
    assert time.process_time() - began < 2
