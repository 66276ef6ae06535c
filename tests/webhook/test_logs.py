import logging

import pytest

from webhook.logs import MaskedFormatter, masked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"POST /callbacks/fox~2/s3cr3t HTTP/1.1" 204', '"POST /callbacks/fox~2/*** HTTP/1.1" 204'),
        ("/callbacks/fox/s3cr3t", "/callbacks/fox/***"),
        ("https://us.example.com/callbacks/fox/s3cr3t?x=1", "https://us.example.com/callbacks/fox/***?x=1"),
        ("Authorization: Bearer k3y", "Authorization: Bearer ***"),
        ("{'authorization': 'bearer k3y'}", "{'authorization': 'bearer ***'}"),
        ("nothing to hide /callbacks/", "nothing to hide /callbacks/"),
    ],
)
def test_tokens_and_keys_are_masked(text: str, expected: str) -> None:
    assert masked(text) == expected


def test_tracebacks_are_masked_too() -> None:
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed", (), None)
    error = ValueError("while reading /callbacks/fox/s3cr3t")
    record.exc_info = (ValueError, error, None)
    assert MaskedFormatter("%(message)s").format(record) == "failed\nValueError: while reading /callbacks/fox/***"
