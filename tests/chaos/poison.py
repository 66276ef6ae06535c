"""Malformed messages that any client of the broker could write."""

import json
import os
from base64 import b64encode
from typing import Any

from jobs.task_names import DELIVER, GENERATE, RECONCILE, SUBMIT

__all__ = ["DELIVER", "EMPTY", "GENERATE", "POISON", "QUEUES", "RECONCILE", "SUBMIT", "message"]

QUEUES = ("celery", SUBMIT, RECONCILE, DELIVER)


def message(body: bytes, task: str = SUBMIT, **more: Any) -> dict[str, Any]:
    """Return a message as kombu writes it to a Redis list."""
    properties = {
        "correlation_id": "x",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": SUBMIT},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": os.urandom(8).hex(),
    }
    whole = {
        "body": b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": task, "id": os.urandom(8).hex(), "argsrepr": "", "retries": 0},
        "properties": properties,
    }
    return {**whole, **more}


EMPTY = json.dumps([[], {}, {}]).encode()
POISON: dict[str, bytes] = {
    "garbage": b"garbage",
    "nothing": b"",
    "bad UTF-8": b'{"body": "\xff\xfe"}',
    "a list": b"[]",
    "a number": b"7",
    "no properties": json.dumps({"body": ""}).encode(),
    "no headers": json.dumps({**message(EMPTY), "headers": None}).encode(),
    "headers that are none": json.dumps({**message(EMPTY), "headers": [1]}).encode(),
    "bad base64": json.dumps({**message(EMPTY), "body": "a"}).encode(),
    "not JSON": json.dumps(message(b"not JSON")).encode(),
    "not UTF-8": json.dumps(message(b'"\xff"')).encode(),
    "no list of three": json.dumps(message(b"[1]")).encode(),
    "an object for a body": json.dumps(message(b'{"args": 7}')).encode(),
    "deep": json.dumps(message(b"[" * 30_000)).encode(),
    "no id": json.dumps({**message(EMPTY), "headers": {"task": SUBMIT}}).encode(),
    "a task that is a list": json.dumps({**message(EMPTY), "headers": {"task": [], "id": "x"}}).encode(),
}
