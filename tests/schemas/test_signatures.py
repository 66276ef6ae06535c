"""Signatures match the vector in the provider's contract; any other header is refused without an error."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.signatures import is_signed, secret_problem, signed

SECRET = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="
OTHER = "whsec_" + b64encode(b"another secret of thirty-two byt").decode()
#: From the provider's contract: id, time stamp, body, signature.
VECTOR = (
    "9876543210",
    1781080794,
    '{"id":"1234567890","status":"succeeded","message":"","create_time":1781080778802,"update_time":1781080794151}',
    "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4=",
)
BODY = "{}"


def signed_headers(*secrets: str, ago: float = 0.0) -> dict[str, str]:
    return signed("msg-1", datetime.now(UTC) - timedelta(seconds=ago), BODY, secrets)


def test_the_signature_of_the_contracts_vector_is_reproduced() -> None:
    message_id, timestamp, body, signature = VECTOR
    headers = signed(message_id, datetime.fromtimestamp(timestamp, UTC), body, [SECRET])
    assert headers == {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature,
    }


def test_one_common_secret_is_enough() -> None:
    assert is_signed(signed_headers(SECRET), BODY.encode(), [OTHER, SECRET])
    assert is_signed(signed_headers(OTHER, SECRET), BODY.encode(), [SECRET])
    assert not is_signed(signed_headers(OTHER), BODY.encode(), [SECRET])
    assert not is_signed(signed_headers(SECRET), BODY.encode(), [])


@pytest.mark.parametrize(("ago", "good"), [(290, True), (310, False), (-290, True), (-310, False)])
def test_a_time_stamp_more_than_five_minutes_off_is_refused(ago: float, good: bool) -> None:
    assert is_signed(signed_headers(SECRET, ago=ago), BODY.encode(), [SECRET]) is good


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("webhook-id", "msg-2"),
        ("webhook-id", ""),
        ("webhook-timestamp", "yesterday"),
        ("webhook-timestamp", "nan"),
        ("webhook-timestamp", "1e999"),
        ("webhook-signature", ""),
        ("webhook-signature", "v1"),
        ("webhook-signature", "v1,"),
        ("webhook-signature", "v1,not base64!"),
        ("webhook-signature", "v1,a,b"),
        ("webhook-signature", "v1a,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4="),
    ],
)
def test_a_wrong_header_is_refused(header: str, value: str) -> None:
    assert not is_signed(signed_headers(SECRET) | {header: value}, BODY.encode(), [SECRET])


def test_another_body_or_an_unreadable_one_is_refused() -> None:
    assert not is_signed(signed_headers(SECRET), b'{"a":1}', [SECRET])
    assert not is_signed(signed_headers(SECRET), b"\xff", [SECRET])


@given(st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()))
def test_any_header_is_refused_without_an_error(headers: dict[str, Any]) -> None:
    assert not is_signed(headers, BODY.encode(), [SECRET])


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (SECRET, None),
        ("dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI=", "begin with whsec_"),
        ("whsec_not base64", "base64 after"),
        ("whsec_c2hvcnQ=", "24 to 64 bytes"),
    ],
)
def test_a_bad_secret_is_refused_and_not_repeated(secret: str, expected: str | None) -> None:
    problem = secret_problem(secret)
    if expected is None:
        assert problem is None
    else:
        assert expected in str(problem)
        assert secret.removeprefix("whsec_") not in str(problem)
