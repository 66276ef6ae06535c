"""The part of the audit that concerns waiting: the queues, those of them that take part in admission, their weights."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import redis

from jobs.findings import CHUNK, Finding, chunks, ids_of
from jobs.keys import Keys
from jobs.states import State


def queue_findings(client: redis.Redis, keys: Keys) -> Iterator[Finding]:
    """What is wrong with the queues, and with what is counted of them."""
    waiting: Counter[str] = Counter()
    weights: Counter[tuple[str, str]] = Counter()
    taking_part = {
        str(queue)
        for place in ids_of(client, keys, "queues")
        for queue, _ in client.zscan_iter(keys.of("queues", place), count=CHUNK)
    }
    capped = {str(queue) for queue, _ in client.zscan_iter(keys.single("capped"), count=CHUNK)}
    for queue in {*ids_of(client, keys, "ready"), *taking_part}:
        yield from _entries(client, keys, queue)
        pool, level, name = queue.split("|", 2)
        batch = name[1:] if name.startswith("b") else None
        asked = ["paused", "do", "key", "weight"]
        told: Any = client.hmget(keys.of("batch", batch), asked) if batch else [None] * len(asked)
        paused, sweep, owner, weight = told
        halted = paused is not None or sweep == "cancel"
        length = client.zcard(keys.of("ready", queue))
        if (queue in taking_part) != (length > 0 and not halted and queue not in capped):
            detail = f"its queue {queue} takes part in admission, or does not, against its {length} jobs"
            yield Finding("queue", batch or name[1:], detail, "Pause the batch and resume it; or enqueue a job to it.")
        if not halted:
            waiting[pool] += length
        if queue in taking_part:
            weights[pool, f"{level}|{(owner or '') if batch else name[1:]}"] += int(weight or 1)
    yield from _pools(client, keys, waiting, weights)


def _pools(
    client: redis.Redis, keys: Keys, waiting: Counter[str], weights: Counter[tuple[str, str]]
) -> Iterator[Finding]:
    for pool in {*ids_of(client, keys, "pool"), *waiting}:
        key = keys.of("pool", pool)
        fields: Any = client.hgetall(key)
        if over := int(fields.get("ready", 0)) - waiting[pool]:
            yield Finding(
                "ready", f"pool {pool}", f"differs from its recount by {over:+d}", f"HINCRBY {key} ready {-over}"
            )
        told = {name: int(value) for name, value in fields.items() if "|" in name}
        counted = {name: weight for (of, name), weight in weights.items() if of == pool}
        for name in {*told, *counted}:
            if over := told.get(name, 0) - counted.get(name, 0):
                detail = f"the weights of {name} differ from their recount by {over:+d}"
                yield Finding("weights", f"pool {pool}", detail, f"HINCRBY {key} '{name}' {-over}")


def _entries(client: redis.Redis, keys: Keys, queue: str) -> Iterator[Finding]:
    key = keys.of("ready", queue)
    for ids in chunks(str(member) for member, _ in client.zscan_iter(key, count=CHUNK)):
        with client.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.hgetall(keys.of("job", job_id))
            records = pipe.execute()
        for job_id, fields in zip(ids, records, strict=True):
            wrong = ""
            if not fields:
                wrong = "there is no such job"
            elif fields["s"] != State.QUEUED:
                wrong = f"is {fields['s']}"
            elif "w" in fields:
                wrong = "is admitted already"
            elif "H" in fields:
                wrong = "is paused"
            elif _queue_of(fields) != queue:
                wrong = "belongs to another queue"
            if wrong:
                remedy = f"ZREM {key} {job_id}; its alarm puts it where it belongs."
                yield Finding("queue", job_id, f"waits for admission, but {wrong}", remedy)


def _queue_of(fields: dict[str, str]) -> str:
    """As `queue_of` in jobs/lua/_queues.lua."""
    of = "b" + fields["b"] if "b" in fields else "k" + fields.get("K", "")
    return f"{fields.get('P', '')}|{fields.get('Y', '1')}|{of}"
