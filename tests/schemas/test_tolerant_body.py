"""Tolerant JSON: whatever a provider sends, the reader ends within bounds, with an object or a refusal."""

import json
import math
import time
import tracemalloc
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import MAX_DEPTH, BodyInvalid, read_cost, read_object
from schemas.body import deeper_than
from tests.support.examples import examples

TASK = {"id": "t1", "status": "completed", "output": [{"content": [{"url": "https://h/1"}]}], "usage": {"cost": "0.1"}}
TEXT = json.dumps(TASK)
#: The largest answer that the client passes on.
LARGEST = 4 * 1024 * 1024


def _with(metadata: str | bytes) -> bytes:
    """Return the task with opaque metadata, given as JSON text or as the bytes of it."""
    raw = metadata if isinstance(metadata, bytes) else metadata.encode()
    return TEXT[:-1].encode() + b', "metadata": ' + raw + b"}"


def test_strict_json_is_read_exactly() -> None:
    reading = read_object(TEXT.encode())

    assert (reading.members, reading.exact, reading.whole) == (TASK, True, True)


ODD: dict[str, bytes] = {
    "half a surrogate pair": _with(r'"a boat \ud83d"'),
    "the second half": _with(r'"\uDE00 a boat"'),
    "half a pair in a key": _with(r'{"\ud83d": 1}'),
    "half a pair in bytes": _with(b'"\xed\xa0\xbd"'),
    "NaN": _with('{"score": NaN}'),
    "infinities": _with("[Infinity, -Infinity]"),
    "words of Python": _with("[None, True, False, nan, -inf]"),
    "undefined": _with("undefined"),
    "a raw newline": _with('"a\nb"'),
    "raw control characters": _with(b'"\0\x1b\x7f\t"'),
    "a key twice": _with('{"a": 1, "a": 2}'),
    "a byte order mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "Latin-1": _with('"caf\xe9"'.encode("latin-1")),
    "UTF-8 with an error": _with('"中文'.encode() + b'\xff"'),
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16 without a mark": TEXT.encode("utf-16-le"),
    "UTF-16, big-endian": TEXT.encode("utf-16-be"),
    "UTF-32": TEXT.encode("utf-32"),
    "nested a little too deep": _with("[" * 70 + "]" * 70),
    "nested very deep": _with("[" * 50_000 + "]" * 50_000),
    "nested objects": _with('{"a":' * 3000 + "1" + "}" * 3000),
    "a number beyond a double": _with("1e999"),
    "6,000 digits": _with("9" * 6000),
    "a comma at the end": _with('{"a": [1, 2, ], }'),
    "unknown escapes": _with(r'"C:\dir\x \u12"'),
    "text behind it": TEXT.encode() + b"\n<!-- served by cache-7 -->",
    "another object behind it": TEXT.encode() + b'{"id": "t2"}',
    "zeros behind it": TEXT.encode() + b"\0" * 100,
    "white space around it": b" \r\n\t" + TEXT.encode() + b"\n",
    "a guard before it": b")]}',\n" + TEXT.encode(),
    "an event": b"data: " + TEXT.encode() + b"\n\n",
    "a function call": b"callback(" + TEXT.encode() + b");",
    "a list of one": b"[" + TEXT.encode() + b"]",
    "JSON in a string": json.dumps(TEXT).encode(),
    "cut in the metadata": _with('"aaaa')[:-1],
    "cut in nested metadata": _with('{"a": [1, {"b": ')[:-1],
    "cut before the last brace": TEXT[:-1].encode(),
}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
def test_odd_json_is_read(body: bytes) -> None:
    reading = read_object(body)

    assert {name: reading.members.get(name) for name in TASK} == TASK


@pytest.mark.parametrize(
    "body",
    [b"", b" \n", b"null", b"12", b'"text"', b"[]", b"[1]", b"[{}, {}]", b"<html>{}</html>", b"\x1f\x8b\x08", b"OK",
     b"x" * 100 + b"{}", b"{", b'{"a', b"{]", b"\xff\xfe\xfd", b"{1: 2}"],
)  # fmt: skip
def test_what_is_no_object_cannot_be_read(body: bytes) -> None:
    with pytest.raises(BodyInvalid) as caught:
        read_object(body)
    assert caught.value.reason


@pytest.mark.parametrize(
    ("text", "members"),
    [
        # Only what is complete: half a price would be another price, and half of the images would pass for all
        ('{"id": "t1", "status": "compl', {"id": "t1"}),
        ('{"id": "t1", "usage": {"cost": "0.00', {"id": "t1"}),
        ('{"id": "t1", "usage": {"discount": 1, "cost": "0.00', {"id": "t1", "usage": {"discount": 1}}),
        ('{"id": "t1", "output": [{"url": "a"}, {"url": "b"}, ', {"id": "t1"}),
        ('{"id": "t1", "output": [{"url": "a"}, {"ur', {"id": "t1"}),
        ('{"id": "t1", "progress": 0.1', {"id": "t1"}),
        ('{"id": "t1", "n": 1, "a": tr', {"id": "t1", "n": 1}),
        ('{"data": {"id": "t1", "status": "x', {"data": {"id": "t1"}}),
        ('{"id": "t1", "a": [1}', {"id": "t1"}),
    ],
)
def test_of_an_object_that_is_cut_off_only_complete_members_are_read(text: str, members: dict[str, Any]) -> None:
    reading = read_object(text.encode())

    assert (reading.members, reading.whole) == (members, False)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1, "a": 2}', 2),
        ('{"a": "0.01", "a": null}', "0.01"),
        ('{"a": [1], "a": []}', [1]),
        ('{"a": null, "a": 0}', 0),
        ('{"a": 1, "a": false}', False),
    ],
)
def test_of_a_key_that_repeats_an_empty_value_never_wins(text: str, value: object) -> None:
    assert read_object(text.encode()).members == {"a": value}


def test_numbers_and_texts_stay_as_they_were_written() -> None:
    members = read_object(
        rb'{"a": 1e999, "b": %s, "c": "\ud83d\ude00 \ud83d", "d": 0.1, "e": "C:\d", "f": NaN}' % (b"1" * 60)
    ).members

    assert members["a"] == "1e999"
    assert members["b"] == "1" * 40 + "…"
    assert members["c"] == "\U0001f600 \ufffd"
    assert members["d"] == 0.1
    assert members["e"] == r"C:\d"
    assert math.isnan(members["f"])


#: The worst of each kind, as large as the client lets them be.
WORST = {
    "brackets": b'{"a":' + b"[" * LARGEST,
    "braces": b'{"a":' * (LARGEST // 5),
    "members": b"{" + b'"a":1,' * (LARGEST // 6),
    "numbers": b'{"a":[' + b"1," * (LARGEST // 2),
    "backslashes": b'{"' + b"\\" * LARGEST,
    "broken escapes": b'{"' + b"\\u" * (LARGEST // 2),
    "quotes": b'{"a":' + b'"' * LARGEST,
    "not UTF-8": b'{"a":"' + b"\xe9" * LARGEST,
    "half surrogates": b'{"a":"' + rb"\ud83d" * (LARGEST // 6) + b'"}',
    "commas": b'{"a":[' + b",\n" * (LARGEST // 2) + b"]",
    "blanks": b'{"a":' + b" " * LARGEST,
    "letters": b"{" + b"a" * LARGEST,
    "digits": b'{"a":' + b"1" * LARGEST,
}


@pytest.mark.parametrize("body", WORST.values(), ids=WORST)
@pytest.mark.slow
def test_the_worst_answers_end_within_bounds(body: bytes) -> None:
    began = time.process_time()
    with suppress(BodyInvalid):
        read_object(body[:LARGEST])
    assert time.process_time() - began < 20  # without bounds: hours


@pytest.mark.parametrize("body", WORST.values(), ids=WORST)
@pytest.mark.slow
def test_memory_is_bounded_by_the_size_of_the_answer(body: bytes) -> None:
    size = LARGEST // 16
    tracemalloc.start()
    with suppress(BodyInvalid):
        read_object(body[:size])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * size


_PIECES = st.sampled_from(
    [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"\\ud83d", b'"id"', b'"a":', b"1", b"-",
     b"1e999", b"NaN", b"nul", b"None", b" ", b"\n", b"\0",
     b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"<", b"\xed\xa0\xbd", b"9" * 50]
)  # fmt: skip
_BODIES = st.one_of(
    st.binary(),
    st.lists(_PIECES, max_size=60).map(b"".join),
    st.lists(_PIECES, max_size=20).map(lambda pieces: b'{"id": "t1", ' + b"".join(pieces)),
    st.tuples(st.just(_with('{"a": [1, {"b": "c"}], "d": null}')), st.integers(0, 200), st.binary(max_size=3)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + len(parts[2]) :]
    ),
)


@settings(max_examples=examples(500))
@given(_BODIES)
def test_any_bytes_give_an_object_or_are_refused(body: bytes) -> None:
    try:
        reading = read_object(body)
    except BodyInvalid:
        return
    assert isinstance(reading.members, dict)
    json.dumps(reading.members, ensure_ascii=False).encode()  # storable, without half surrogates
    assert not deeper_than(reading.members, MAX_DEPTH)
    if reading.exact:
        assert reading.members == json.loads(body)


@given(st.integers(0, len(TEXT)))
def test_a_cut_never_changes_a_member(length: int) -> None:
    try:
        reading = read_object(TEXT[:length].encode())
    except BodyInvalid:
        return
    assert all(TASK[name] == value for name, value in reading.members.items())


@pytest.mark.parametrize("odd", ["", ",", "\n,"], ids=["strict", "a comma at the end", "a raw newline"])
@pytest.mark.parametrize(
    ("sent", "amount"),
    [
        ("0.00000000250000000000000001", "0.000000003"),
        ("0.0000000025", "0.000000002"),
        ("0.00000000250000000000000000", "0.000000002"),
        ("2.50000000000000000001e-9", "0.000000003"),
        ("123456.1234567885000000000001", "123456.123456789"),
        ("1.7999999999999998e-05", "0.000018"),
        ("6.5E-3", "0.0065"),
        ("0." + "0" * 20_000 + "1", "0"),
    ],
)
def test_a_price_that_is_a_number_is_rounded_once(sent: str, amount: str, odd: str) -> None:
    body = f'{{"usage": {{"cost": {sent}{odd}}}, "score": {sent}}}'.encode()
    members = read_object(body).members
    assert read_cost(members["usage"]["cost"]).amount == Decimal(amount)
    # Elsewhere it is a number as any other
    assert json.loads(json.dumps(members)) == {"usage": {"cost": float(sent)}, "score": float(sent)}
