"""What the service still has to do for one test. Its queues hold the messages of other tests, too."""

import json
from base64 import b64decode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from celery.signals import before_task_publish


@contextmanager
def published_ids() -> Iterator[set[str]]:
    """Yield a set that grows by the ids of all tasks that this process sends, and of the jobs that they ask for."""
    ids: set[str] = set()

    def note(headers: Any = None, body: Any = None, **_: Any) -> None:
        ids.add(str(headers["id"]))
        if job_id := body[1].get("external_task_id"):
            ids.add(str(job_id))

    before_task_publish.connect(note)
    try:
        yield ids
    finally:
        before_task_publish.disconnect(note)


def unprocessed(redis: Any, ids: Iterable[str], *queues: str) -> list[str]:
    """Return the messages that contain one of these ids, as text: those that wait, and those that a worker holds."""
    waiting = [text for name in ("celery", "boomerang.deliver", *queues) for text in redis.lrange(name, 0, -1)]
    held = [json.dumps(json.loads(text)[0]) for text in redis.hvals("unacked")]
    ids = tuple(ids)
    return [text for text in (*waiting, *held) if any(each in _readable(text) for each in ids)]


def _readable(text: str) -> str:
    message = json.loads(text)
    return json.dumps(message["headers"]) + b64decode(message["body"]).decode(errors="replace")
