"""The errors of a refusal: few, short and counted, whatever was sent."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import BodyInvalid, RequestInvalid, bounded, load_request, parse_json
from schemas.error_budget import MOST_BYTES, MOST_FIELDS, MOST_MESSAGES
from tests.support.examples import examples

FOX = {"model": "kirin_image_omni", "prompt": "a fox"}
SUBJECT = {
    "model": "kirin_v2_1_reference2image",
    "subject_image_list": [{"subject_image": "https://example.com/a.png"}],
}

_text = st.text(st.characters(exclude_categories=()), max_size=2_000)
_errors = st.dictionaries(_text | st.just("request"), st.lists(_text, min_size=1, max_size=12), max_size=60)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _text,
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(_text, inner, max_size=60),
    max_leaves=200,
)
_names = st.sampled_from(["prompt", "n", "image_list", "labels", "watermark_info", "callback_url", "external_task_id"])


def size(errors: dict[str, list[str]]) -> int:
    return len(json.dumps(errors, ensure_ascii=False).encode())


def refusal(data: object, **options: Any) -> dict[str, list[str]]:
    with pytest.raises(RequestInvalid) as raised:
        load_request(data, **options)
    return raised.value.errors


@given(_errors)
def test_any_errors_are_bounded_and_counted(errors: dict[str, list[str]]) -> None:
    kept = bounded(errors)

    assert size(kept) <= MOST_BYTES
    assert len(kept.keys() - {"request"}) <= MOST_FIELDS
    assert all(len(messages) <= MOST_MESSAGES for path, messages in kept.items() if path != "request")
    assert bounded(kept) == kept
    assert bool(kept) == bool(errors)


@pytest.mark.parametrize("count", [1, 19, 20, 21, 22, 500, 100_000])
def test_the_errors_that_are_not_named_are_counted(count: int) -> None:
    kept = bounded({f"field{number}": ["is wrong"] for number in range(count)})
    assert len(kept.keys() - {"request"}) == min(count, MOST_FIELDS)
    omitted = count - MOST_FIELDS
    assert ("request" in kept) == (omitted > 0)
    assert omitted <= 0 or f"{omitted:,}" in kept["request"][0]


@pytest.mark.slow
@settings(max_examples=examples(40))
@given(st.sampled_from([FOX, SUBJECT]), st.dictionaries(_names | _text, _json, max_size=60), st.booleans())
def test_any_request_is_accepted_or_refused_within_the_budget(
    sound: dict[str, Any], more: dict[str, Any], pass_unknown: bool
) -> None:
    try:
        load_request(sound | more, pass_unknown=pass_unknown)
    except RequestInvalid as error:
        refused = error
    else:
        return
    assert 0 < size(refused.errors) <= MOST_BYTES
    assert len(str(refused)) <= MOST_BYTES
    assert set(refused.unknown) <= set(refused.errors)


#: Requests by their number of hostile parts. Each part is wrong by itself.
GROWING: dict[str, Callable[[int], Any]] = {
    "unknown members": lambda count: FOX | {f"parameter{number}": 0 for number in range(count)},
    "unknown members of an object": lambda count: FOX | {"watermark_info": {f"k{each}": 0 for each in range(count)}},
    "unknown members of each entry": lambda count: (
        FOX | {"image_list": [{f"k{number}": 0 for number in range(count // 10)} for _ in range(10)]}
    ),
    "entries": lambda count: FOX | {"image_list": [{"image": ""}] * count},
    "labels": lambda count: FOX | {"labels": {f"label {number}": 0 for number in range(count)}},
    "a long name": lambda count: FOX | {"x" * count: 0},
    "a long prompt": lambda count: FOX | {"prompt": "<<image 1> " * count},
    "a blank prompt": lambda count: FOX | {"prompt": " \u200b" * count},
    "a blank image": lambda count: FOX | {"image_list": [{"image": "\u200b" * count}]},
    "a long URL": lambda count: FOX | {"callback_url": "https://a." + "a." * count},
    "a long base64": lambda count: FOX | {"image_list": [{"image": "A" * count}]},
    "a long choice": lambda count: FOX | {"resolution": "1k" * count},
    "a long id": lambda count: FOX | {"external_task_id": "a" * count + "!"},
    "a list of lists": lambda count: FOX | {"image_list": [[[]] * count]},
    "an array as a whole": lambda count: [FOX] * count,
    "placeholders": lambda count: FOX | {"prompt": "<<<image_2>>>" * count},
    "brackets": lambda count: FOX | {"prompt": "<" * count},
}


@pytest.mark.parametrize("make", GROWING.values(), ids=GROWING)
@pytest.mark.parametrize("pass_unknown", [False, True])
def test_the_work_of_a_refusal_does_not_grow_with_what_is_wrong(make: Callable[[int], Any], pass_unknown: bool) -> None:
    few, many = make(3_000), make(60_000)
    with counted_calls() as calls_of_few:
        refusal(few, pass_unknown=pass_unknown)
    started = time.process_time()
    with counted_calls() as calls_of_many:
        errors = refusal(many, pass_unknown=pass_unknown)
    assert size(errors) <= MOST_BYTES
    # Linear at most: twenty times as many parts. What is below a few thousand calls is the request itself.
    assert calls_of_many[0] <= 20 * calls_of_few[0] + 1_000
    assert time.process_time() - started < 2


@contextmanager
def counted_calls() -> Iterator[list[int]]:
    """Count the calls of functions, also of built-in ones: unlike a time, it is the same each time."""
    count, before = [0], sys.getprofile()

    def note(_frame: object, event: str, _argument: object) -> None:
        count[0] += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        yield count
    finally:
        sys.setprofile(before)


def test_an_object_with_too_many_members_is_refused_before_its_members_are_read() -> None:
    errors = refusal(FOX | {"n": 99} | {f"parameter{number}": 0 for number in range(100)})
    assert list(errors) == ["request"]
    assert "103 members" in errors["request"][0]
    nested = refusal(FOX | {"watermark_info": {f"parameter{number}": 0 for number in range(100)}})
    assert list(nested) == ["watermark_info"]


def test_errors_of_known_fields_come_before_unknown_ones_in_the_order_of_the_request() -> None:
    unknown = [f"parameter{number}" for number in range(15)]
    errors = refusal(dict.fromkeys(unknown, 0) | FOX | {"n": 99, "resolution": "9k"})
    assert set(list(errors)[:2]) == {"n", "resolution"}
    assert list(errors)[2:] == unknown


@pytest.mark.parametrize("part", [b"[],", b"{},", b"0,", b'"",', b"[[", b'{"a":{"a":'])
def test_a_body_of_millions_of_values_is_refused_before_it_is_parsed(part: bytes) -> None:
    body = b"[" + part * (3 * 1024 * 1024 // len(part)) + b"0]"
    started = time.process_time()
    with pytest.raises(BodyInvalid):
        parse_json(body)
    assert time.process_time() - started < 1


def test_a_large_body_with_few_values_is_parsed() -> None:
    image = "A" * (14 * 1024 * 1024)
    assert parse_json(json.dumps(FOX | {"image_list": [{"image": image}]}).encode()) is not None
