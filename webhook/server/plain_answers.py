"""Answers of the event loop to connections that get no thread."""

#: Seconds in which a head, and the form after it, must arrive: from its first byte or the beginning of the connection.
HEAD_SECONDS = 5.0
#: Bytes of a head. A callback has less than 2 KB.
MOST_HEAD = 16 * 1024
_TEXTS = {
    408: ("Request Timeout", f"The request took more than {HEAD_SECONDS:g} s. Send it again, faster."),
    431: ("Request Header Fields Too Large", f"The head has more than {MOST_HEAD:,} bytes. Send fewer headers."),
    503: ("Service Unavailable", "Your address has too many connections. Close some, or use them again; then retry."),
}


def plain_answer(status: int) -> bytes:
    """Return an answer that the event loop can send without a thread."""
    reason, detail = _TEXTS[status]
    body = (f'{{"type": "about:blank", "title": "{reason}", "status": {status}, "detail": "{detail}"}}').encode()
    again = "Retry-After: 5\r\n" if status == 503 else ""  # noqa: PLR2004 - a status of HTTP
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}{again}Connection: close\r\n\r\n".encode() + body
