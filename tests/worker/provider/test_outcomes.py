"""The provider's contract: what each answer means. Reading is pure, so tables of answers test it."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import TaskError
from worker.http.retry_after import LONGEST_RETRY_AFTER, retry_after
from worker.provider import Absent, Created, Doubtful, Exists, Found, Held, NotCreated, Refused, Unavailable
from worker.provider.outcomes import read_status_answer, read_submit_answer

OURS = "job-1"


def _body(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def _error(code: object, message: str = "answer so") -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


CREATED = {"id": "t1", "status": "in_progress", "model": "m", "created_at": 1760000000}

SUBMIT = {
    # 2xx with an id: created. The id may be in four places
    "200 id": (200, CREATED, Created("t1")),
    "201 id": (201, CREATED, Created("t1")),
    "202 id": (202, CREATED, Created("t1")),
    "200 task_id": (200, {"task_id": "t1"}, Created("t1")),
    "200 data.id": (200, {"code": 0, "data": {"id": "t1"}}, Created("t1")),
    "200 data.task_id": (200, {"data": {"task_id": "t1"}}, Created("t1")),
    "200 id as a number": (200, {"id": 17}, Created("17")),
    "200 id beside error null": (200, {**CREATED, "error": None}, Created("t1")),
    "200 id, finished already": (200, {**CREATED, "status": "completed"}, Created("t1")),
    # 2xx without an id: not created, by its code
    "200 {}": (200, {}, NotCreated),
    "200 empty id": (200, {"id": "", "status": "in_progress"}, NotCreated),
    "200 null id": (200, {"id": None}, NotCreated),
    "200 error that may pass": (200, _error("002016099"), NotCreated),
    "200 int error that may pass": (200, _error(2016095), NotCreated),
    "200 unknown code": (200, _error("9999"), NotCreated),
    "200 error as text": (200, {"error": "no such luck"}, NotCreated),
    "200 prompt missing": (200, _error(2016001), Refused),
    "200 prompt too long": (200, _error("002016002"), Refused),
    "200 n out of range": (200, _error("002016003"), Refused),
    "200 Kling 1200": (200, _error(1200), Refused),
    "200 Kling 1201": (200, _error(1201), Refused),
    "200 Kling 1300": (200, _error("1300"), Refused),
    "200 Kling 1301, at the top": (200, {"code": 1301, "message": "unsafe"}, Refused),
    "200 Kling 1302": (200, {"code": 1302, "message": "slow down"}, Held),
    "200 Kling 1303": (200, _error("1303"), Held),
    "200 Kling 1100": (200, _error(1100), Held),
    "200 Kling 1101": (200, _error(1101), Held),
    "200 Kling 1102": (200, _error(1102), Held),
    "200 Kling 1304": (200, _error("1304"), Held),
    "200 Kling duplicate": (200, {"code": 1201, "message": "external_task_id job-1 already exists"}, Exists),
    # an error *and* an id: either may be true
    "200 id and error": (200, {**CREATED, **_error("002016099")}, Doubtful),
    "200 id and permanent error": (200, {**CREATED, **_error("1301")}, Refused),
    # not an answer of the API: it says nothing about the task
    "200 HTML": (200, b"<!doctype html><h1>wait</h1>", Doubtful),
    "200 empty body": (200, b"", Doubtful),
    "200 list": (200, [], Doubtful),
    "200 null": (200, None, Doubtful),
    "200 text": (200, "t1", Doubtful),
    "204": (204, b"", Doubtful),
    "200 NaN as the id": (200, b'{"id": NaN}', Doubtful),
    "200 deep nesting": (200, b"[" * 30_000, Doubtful),
    "200 truncated before the id": (200, b'{"status": "in_progress", "id": "t', Doubtful),
    "200 truncated in the id": (200, b'{"id": "t1', Doubtful),
    "200 odd, without id": (200, b'{"status": "in_progress", "n": NaN}', Doubtful),
    # odd JSON with an id: created
    "200 truncated after the id": (200, b'{"id": "t1", "sta', Created("t1")),
    "200 Latin-1": (200, b'{"id": "t1", "model": "\xe9"}', Created("t1")),
    "200 NaN": (200, b'{"id": "t1", "score": NaN}', Created("t1")),
    "200 UTF-16": (200, '{"id": "t1"}'.encode("utf-16"), Created("t1")),
    "200 byte order mark": (200, b'\xef\xbb\xbf{"id": "t1"}', Created("t1")),
    "200 list of one": (200, [CREATED], Created("t1")),
    "200 an id twice": (200, b'{"id": "t1", "id": null}', Created("t1")),
    "200 odd error": (200, b'{"code": 1301, "message": "unsafe \\ud83d"}', Refused),
    # refused permanently
    "400": (400, _error("9", "no"), Refused),
    "400 prompt missing": (400, _error("002016001", "prompt is required"), Refused),
    "400 Kling 1201": (400, {"code": 1201, "message": "n is out of range"}, Refused),
    "400 HTML": (400, b"<h1>Bad Request</h1>", Refused),
    "404": (404, {}, Refused),
    "413": (413, b"too large", Refused),
    "422": (422, {"message": "no"}, Refused),
    "405, not listed": (405, b"", Refused),
    # the task exists already
    "409": (409, _error("1201", "exists"), Exists),
    "409 empty": (409, b"", Exists),
    "409 HTML": (409, b"<h1>Conflict</h1>", Exists),
    "400 names our id": (400, _error(1201, "task job-1 already exists"), Exists),
    "400 names our id in quotes": (400, _error(1201, 'duplicate value "job-1"'), Exists),
    "400 names the parameter": (400, {"code": 1201, "message": "external_task_id must be unique"}, Exists),
    "422 names the parameter": (422, _error("", "External Task ID has been taken"), Exists),
    "400 names the parameter, no duplicate": (400, _error(1201, "external_task_id is too long"), Refused),
    "400 duplicate of something else": (400, _error(1201, "duplicate subject image"), Refused),
    "400 another id that ours is part of": (400, _error(1201, "image job-12 does not exist"), Refused),
    # the account is refused: the lane is held
    "401": (401, _error("1000"), Held),
    "402": (402, b"", Held),
    "403": (403, b"<h1>Forbidden</h1>", Held),
    "400 Kling 1102": (400, _error(1102, "balance"), Held),
    "500 Kling 1101": (500, _error(1101, "debt"), Held),
    # too fast or too many
    "429": (429, b"", Held),
    "429 HTML": (429, b"<h1>Too many</h1>", Held),
    "429 Kling 1303": (429, {"code": 1303, "message": "parallel task over resource pack limit"}, Held),
    "400 Kling 1303": (400, {"code": 1303, "message": "parallel"}, Held),
    "500 Kling 1302": (500, _error(1302), Held),
    "429 with an account's code": (429, _error(1102), Held),
    # in doubt
    "408": (408, b"", Doubtful),
    "425": (425, b"", Doubtful),
    "500": (500, b"", Doubtful),
    "500 with an id": (500, CREATED, Doubtful),
    "500 with a permanent code": (500, _error("1301"), Doubtful),
    "502": (502, b"<h1>Bad gateway</h1>", Doubtful),
    "503": (503, b"", Doubtful),
    "504": (504, _error("5000"), Doubtful),
    "599": (599, b"", Doubtful),
    "301": (301, b"", Doubtful),
    "302": (302, b"", Doubtful),
    "303": (303, b"", Doubtful),
    "307": (307, b"", Doubtful),
    "308": (308, b"", Doubtful),
    "304": (304, b"", Doubtful),
    "100": (100, b"", Doubtful),
}


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "?", ""])
def test_the_age_of_a_task_does_not_depend_on_an_impossible_clock(date: str) -> None:
    created = datetime.now(UTC) - timedelta(seconds=900)
    body = _body({"id": "t1", "status": "running", "created_at": created.isoformat()})
    found = read_status_answer(200, body, OURS, {"Date": date})
    assert isinstance(found, Found)
    assert found.age
    assert found.age[0] <= 900 <= found.age[1] < 1500


@pytest.mark.parametrize(("status", "body", "meaning"), SUBMIT.values(), ids=SUBMIT)
def test_answer_to_a_submit(status: int, body: object, meaning: Any) -> None:
    outcome = read_submit_answer(status, {}, _body(body), OURS)
    if isinstance(meaning, type):
        assert type(outcome) is meaning
    else:
        assert outcome == meaning


THROTTLED = {
    "429": (429, b"", True),
    "429 with an account's code": (429, _error(1102), True),
    "200 Kling 1302": (200, _error(1302), True),
    "400 Kling 1303": (400, _error(1303), True),
    "401": (401, b"", False),
    "402": (402, b"", False),
    "403": (403, b"", False),
    "200 Kling 1304": (200, _error(1304), False),
    "400 Kling 1100": (400, _error("1100"), False),
}


@pytest.mark.parametrize(("status", "body", "throttled"), THROTTLED.values(), ids=THROTTLED)
def test_a_hold_says_whether_it_is_a_throttle_or_the_account(status: int, body: object, throttled: bool) -> None:
    outcome = read_submit_answer(status, {"Retry-After": "7"}, _body(body), OURS)
    assert isinstance(outcome, Held)
    assert outcome.throttled is throttled


def test_a_refusal_carries_the_providers_reason() -> None:
    answer = read_submit_answer(400, {}, _body(_error(2016001, "prompt missing")), OURS)
    assert answer == Refused(TaskError("002016001", "prompt missing"))  # as an int the code had lost its leading zeros


def test_a_refusal_without_a_reason_names_the_status() -> None:
    assert read_submit_answer(404, {}, b"", OURS) == Refused(TaskError("404", "the provider answered 404"))


@pytest.mark.parametrize("ours", ["a", "id", "1", "image"])
def test_an_id_that_is_a_common_word_does_not_match_every_message(ours: str) -> None:
    answer = _body(_error(1201, "a valid parameter: image 1 does not exist in this account id"))
    assert type(read_submit_answer(400, {}, answer, ours)) is Refused


def _done(**more: Any) -> dict[str, Any]:
    return {
        "id": "t1",
        "status": "completed",
        "output": [{"content": [{"type": "image", "url": "https://cdn.example/1.png"}]}],
        "usage": {"cost": "0.0065", "discount": 1},
        **more,
    }


STATUS = {
    "in progress": (200, {"id": "t1", "status": "in_progress", "progress": 0.4}, Found),
    "completed": (200, _done(), Found),
    "failed": (200, {"id": "t1", "status": "failed", "error": {"code": "1", "message": ""}}, Found),
    "unknown word": (200, {"id": "t1", "status": "paused"}, Found),
    "one level down": (200, {"code": 0, "data": _done()}, Found),
    "our own id": (200, _done(external_task_id=OURS), Found),
    "another's id": (200, _done(external_task_id="job-2"), Unavailable),
    "another attempt's id": (200, _done(external_task_id="job-1~2"), Unavailable),
    "404": (404, _error("1203", "not found"), Absent),
    "404 HTML": (404, b"<h1>Not found</h1>", Absent),
    "200 {}": (200, {}, Unavailable),
    "200 HTML": (200, b"<h1>wait</h1>", Unavailable),
    "200 truncated": (200, b'{"id": "t1", "status": "comp', Unavailable),
    "200 truncated, completed, before the price": (200, json.dumps(_done()).encode()[:120], Unavailable),
    "200 truncated, failed, before the price": (200, b'{"status": "failed", "error": {"code": "1"}, "us', Unavailable),
    "200 truncated, in progress": (200, b'{"id": "t1", "status": "in_progress", "prog', Found),
    "200 truncated, complete": (200, json.dumps(_done(metadata="x" * 90)).encode()[:-9], Found),
    "200 NaN": (200, json.dumps(_done(metadata=float("nan"))).encode(), Found),
    "200 list": (200, [], Unavailable),
    "200 list of one": (200, [_done()], Found),
    "200 list of two": (200, [_done(), _done()], Unavailable),
    "204": (204, b"", Unavailable),
    "301": (301, b"", Unavailable),
    "307": (307, b"", Unavailable),
    "400": (400, b"", Unavailable),
    "410": (410, b"", Unavailable),
    "429": (429, b"", Unavailable),
    "500": (500, b"", Unavailable),
    "503 with a task": (503, _done(), Unavailable),
    "401": (401, b"", Held),
    "402": (402, b"", Held),
    "403": (403, b"", Held),
}


@pytest.mark.parametrize(("status", "body", "meaning"), STATUS.values(), ids=STATUS)
def test_answer_to_a_look_up(status: int, body: object, meaning: type) -> None:
    assert type(read_status_answer(status, _body(body), OURS)) is meaning


NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)

RETRY_AFTER = {
    "absent": (None, 0),
    "empty": ("", 0),
    "seconds": ("5", 5),
    "zero": ("0", 0),
    "spaces around": (" 7 ", 7),
    "negative": ("-3", 0),
    "fraction, not in RFC 9110": ("1.5", 0),
    "ten years": (str(10 * 365 * 86400), LONGEST_RETRY_AFTER),
    "a number beyond all": ("9" * 400, LONGEST_RETRY_AFTER),
    "leading zeros": ("0000000000005", 5),
    "other digits than ours": ("\u0665", 0),  # ARABIC-INDIC DIGIT FIVE
    "superscript, isdigit but no int": ("\u00b2", 0),
    "date": (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30),
    "date with an offset": ("Thu, 01 Jan 2026 13:00:30 +0100", 30),
    "date without a zone": ("Thu, 01 Jan 2026 12:00:30 -0000", 30),
    "past date": (format_datetime(NOW - timedelta(days=1), usegmt=True), 0),
    "date in ten years": (format_datetime(NOW + timedelta(days=3650), usegmt=True), LONGEST_RETRY_AFTER),
    "garbage": ("soon", 0),
    "a date that is none": ("Thu, 32 Foo 2026 12:00:30 GMT", 0),
    "year beyond datetime": ("Thu, 01 Jan 99999 12:00:30 GMT", 0),
    "year beyond a C integer": ("Thu, 01 Jan 99999999999999999999 12:00:30 GMT", 0),
    "zone beyond a day": ("Thu, 01 Jan 2026 12:00:30 +9999", 0),
}


@pytest.mark.parametrize(("value", "seconds"), RETRY_AFTER.values(), ids=RETRY_AFTER)
def test_retry_after_is_read_as_a_number_or_a_date(value: str | None, seconds: float) -> None:
    assert retry_after({} if value is None else {"Retry-After": value}, NOW) == seconds


def test_a_throttled_answer_carries_the_requested_wait() -> None:
    outcome = read_submit_answer(429, {"Retry-After": "12"}, b"", OURS)
    assert isinstance(outcome, Held)
    assert outcome.retry_after == 12


DATES = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Thu", "Foo", ""]),
    st.integers(-5, 10**12),
    st.sampled_from(["Jan", "Foo", "13"]),
    st.integers(-5, 10**25),
    st.integers(-1, 99),
    st.integers(-1, 10**12),
    st.integers(-1, 99),
    st.sampled_from(["GMT", "+0100", "-9999", "+99999999999999999999999", "", "EST"]),
)


@given(value=st.one_of(DATES, st.text(max_size=60)))
def test_no_retry_after_value_raises(value: str) -> None:
    assert 0 <= retry_after({"Retry-After": value}) <= LONGEST_RETRY_AFTER


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "task_id", "data", "error", "code", "message", "status", "output", "usage", "url"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
BODIES = st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode())


@given(
    status=st.integers(0, 999), body=BODIES, ours=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:~-]{0,20}", fullmatch=True)
)
def test_reading_an_answer_never_raises(status: int, body: bytes, ours: str) -> None:
    submitted = read_submit_answer(status, {}, body, ours)
    read_status_answer(status, body, ours)
    # Only a 2xx answer with an id may count as created.
    assert not isinstance(submitted, Created) or 200 <= status < 300


@given(body=BODIES, status=st.sampled_from([408, 425, 500, 502, 503, 504, 301, 302, 307, 308]))
def test_a_possible_purchase_is_never_read_as_refused(status: int, body: bytes) -> None:
    outcome = read_submit_answer(status, {}, body, OURS)
    assert isinstance(outcome, (Doubtful, Held, Exists))
