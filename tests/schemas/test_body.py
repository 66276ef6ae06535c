import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import MAX_DEPTH, BodyInvalid, parse_json


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", {}),
        (b"null", None),
        (b"[]", []),
        (b' {"a": [1, 2.5, "x", true]} \n', {"a": [1, 2.5, "x", True]}),
        ('{"p": "Füchse 🦊"}'.encode(), {"p": "Füchse 🦊"}),
        (b'"\\ud83e\\udd8a"', "🦊"),
        (b'"\\\\ud800"', "\\ud800"),
        (b'"\\u0000"', "\0"),
        (b'{"a": {"x": 1}, "b": {"x": 1}}', {"a": {"x": 1}, "b": {"x": 1}}),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)),
        (b"[" + b"{}," * 100 + b"[]]", [{}] * 100 + [[]]),
        (json.dumps("[{" * 100).encode(), "[{" * 100),
    ],
)
def test_strict_json_is_parsed(body: bytes, value: object) -> None:
    assert parse_json(body) == value


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b"{} {}", "not JSON: Extra data"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b'"a\nb"', "not JSON: Invalid control character"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'"\xe4"', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"NaN", "NaN"),
        (b'{"a": [Infinity]}', "Infinity"),
        (b"-Infinity", "-Infinity"),
        (b"1e999", "too large"),
        (b"-1e999", "too large"),
        (b"1" * 5000, "too many digits"),
        (b'{"a": 1, "a": 1}', "same key"),
        (b'[{"a": {"b": 1, "\\u0062": 2}}]', "same key"),
        (b'"\\ud800"', "surrogate"),
        (b'{"a": ["\\uDC00x"]}', "surrogate"),
        (b'{"\\ud83e": 1}', "surrogate"),
        (b"[" * 65 + b"]" * 65, "64 levels"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "64 levels"),
        (b"[" * 30_000, "64 levels"),
        (b"[" * 900 + b"]" * 900, "64 levels"),
        (b"[" * 100_000 + b"]" * 100_000, "64 levels"),
        (b"\x00", "not JSON"),
    ],
)  # fmt: skip
def test_other_bodies_are_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(BodyInvalid) as refusal:
        parse_json(body)

    assert reason in refusal.value.reason


@given(st.binary(max_size=80))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    try:
        value = parse_json(body)
    except BodyInvalid as refusal:
        assert refusal.reason  # noqa: PT017 - one of two documented outcomes
    else:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_JSON, st.booleans())
def test_what_json_writes_is_parsed_back(value: Any, ascii_only: bool) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode("utf-8")) == value
