"""Parameters that no schema knows, with BOOMERANG_UNKNOWN_PARAMETERS=pass."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import GenerationRequest, RequestInvalid, load_request
from schemas.requests.unknown import MOST

FOX = {"model": "kirin_image_omni", "prompt": "a fox"}
SUBJECT = {
    "model": "kirin_v2_1_reference2image", "subject_image_list": [{"subject_image": "https://e.com/a.png"}],
}  # fmt: skip
NEW: dict[str, Any] = {
    "element_list": [{"element_id": 17, "weight": 0.5}], "result_type": "series", "extra": None, "deep": {"a": [{}]},
}  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).filter(lambda text: "image:" not in text),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def refused(request: dict[str, Any]) -> dict[str, list[str]]:
    with pytest.raises(RequestInvalid) as raised:
        load_request(request, pass_unknown=True)
    return raised.value.errors


def test_they_are_refused_by_default() -> None:
    with pytest.raises(RequestInvalid) as raised:
        load_request(FOX | NEW)
    assert set(raised.value.errors) == set(raised.value.unknown) == set(NEW)


def test_they_are_passed_unchanged_and_are_part_of_the_request() -> None:
    request = load_request(FOX | NEW, pass_unknown=True)
    assert request.params == {"prompt": "a fox"} | NEW
    assert GenerationRequest.from_text(request.text()).params == request.params
    assert request.text() != load_request(FOX | NEW | {"result_type": "single"}, pass_unknown=True).text()


@given(st.dictionaries(st.from_regex(r"x_[a-z]{1,9}", fullmatch=True), JSON, max_size=5))
def test_any_json_is_passed_unchanged(unknown: dict[str, Any]) -> None:
    request = load_request(FOX | unknown, pass_unknown=True)
    assert json.loads(request.text())["params"] == {"prompt": "a fox"} | unknown


@pytest.mark.parametrize("sent", ["|ownerB", "2k", "x" * 30_000, 4, ["2k"]])
def test_an_unknown_resolution_has_no_price_class_of_its_own(sent: Any) -> None:
    request = load_request(SUBJECT | {"resolution": sent}, pass_unknown=True)
    assert request.params["resolution"] == sent
    assert request.resolution == ""
    assert GenerationRequest.from_text(request.text()).resolution == ""
    assert load_request(FOX | NEW | {"resolution": "2k"}, pass_unknown=True).resolution == "2k"


def test_known_ones_are_still_checked() -> None:
    assert set(refused(FOX | NEW | {"n": 12, "prompt": " "})) == {"n", "prompt"}
    assert "image_list.0.weight" in refused(FOX | NEW | {"image_list": [{"image": "https://e.com/a.png", "weight": 1}]})
    assert set(refused({"model": "kirin_9", "prompt": "x", "a": 1})) == {"model"}


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("unknown", "path", "problem"),
    [
        pytest.param({f"x{n}": n for n in range(MOST + 1)}, "request", "at most", id="too many"),
        pytest.param({"x": "a" * 70_000}, "request", "bytes", id="too long"),
        pytest.param({"x": ["é" * 9_000] * 4}, "request", "bytes", id="too long in all"),
        pytest.param({"x": nested(9)}, "x", "levels", id="too deep"),
        pytest.param({"a b": 1}, "a b", "name", id="a space in a name"),
        pytest.param({"": 1}, "", "name", id="no name"),
        pytest.param({"x" * 65: 1}, "x" * 64 + "…", "name", id="a long name"),
        pytest.param({"=cmd": 1}, "=cmd", "name", id="a formula"),
        pytest.param({"x": {"y": "a\0b"}}, "x", "NUL", id="NUL"),
        pytest.param({"x": {"a\0b": 1}}, "x", "NUL", id="NUL in a name"),
        pytest.param({"x": ["\ud800"]}, "x", "surrogate", id="half a surrogate pair"),
        pytest.param({"x": {"y": ["image:sha256:" + "0" * 64]}}, "x", "reference", id="a reference"),
        pytest.param({"x": 10**30}, "x", "too large", id="a large number"),
        pytest.param({"x": [float("nan")]}, "x", "finite", id="NaN"),
        pytest.param({"x": float("inf")}, "x", "finite", id="infinity"),
        # Celery's JSON has more types
        pytest.param({"x": datetime.now(UTC)}, "x", "JSON", id="a time"),
        pytest.param({"x": [Decimal(1)]}, "x", "JSON", id="a decimal"),
        pytest.param({"x": b"bytes"}, "x", "JSON", id="bytes"),
        pytest.param({"x": {1: 2}}, "x", "JSON", id="a number as a name"),
    ],
)
def test_what_cannot_be_passed_is_refused(unknown: dict[str, Any], path: str, problem: str) -> None:
    errors = refused(FOX | unknown)
    assert problem in errors[path][0]
