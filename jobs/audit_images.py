"""The part of the audit that concerns images: who names them, and that what is named is there."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import redis

from jobs.findings import CHUNK, Finding, chunks, ids_of
from jobs.keys import Keys
from jobs.states import FINAL, State

_REFERENCE = re.compile("image:sha256:([0-9a-f]{64})")


def image_findings(client: redis.Redis, keys: Keys, *, in_redis: bool) -> Iterator[Finding]:
    """What is wrong with the images; `in_redis`: their bytes are there too."""
    single = keys.single
    named = _named(client, keys)
    counted = {str(digest): int(count) for digest, count in client.hscan_iter(single("uses"), count=CHUNK)}
    for digest in {*named, *counted}:
        if over := counted.get(digest, 0) - named[digest]:
            detail = f"how often unfinished jobs name it differs from a recount by {over:+d}"
            yield Finding("uses", digest, detail, f"HINCRBY {single('uses')} {digest} {-over}")
    there: dict[str, float] = {str(digest): score for digest, score in client.zscan_iter(single("images"), count=CHUNK)}
    kept: dict[str, Any] = {
        str(digest): json.loads(about) for digest, about in client.hscan_iter(single("kept"), count=CHUNK)
    }
    counted_bytes = int(client.hget(single("totals"), "image_bytes") or 0)
    if over := counted_bytes - sum(about["size"] for about in kept.values()):
        detail = f"the size of all images differs from a recount by {over:+d}"
        yield Finding("image bytes", "all", detail, f"HINCRBY {single('totals')} image_bytes {-over}")
    for digest in {*named, *there, *kept}:
        if (digest in there) != (digest in kept):
            detail = f"stands in one of {single('images')} and {single('kept')}, but not in the other"
            yield Finding("image", digest, detail, "Remove it there, and upload it again with POST /v1/images.")
        elif digest not in there:
            detail = f"unfinished jobs name it {named[digest]} times, but it is not there"
            yield Finding("image", digest, detail, "Upload it again with POST /v1/images, or its jobs will fail.")
        elif (there[digest] == float("inf")) != (named[digest] > 0):
            detail = f"unfinished jobs name it {named[digest]} times, but its time to go is {there[digest]:.0f}"
            yield Finding("image", digest, detail, f"ZADD {single('images')} +inf (it is named) or 0, and its hash.")
        elif in_redis and not client.exists(keys.of("object", kept[digest]["object"])):
            detail = "its bytes are not in Redis (any more)"
            remedy = f"HDEL {single('kept')} and ZREM {single('images')} it, then upload it again with POST /v1/images."
            yield Finding("image", digest, detail, remedy)


def _named(client: redis.Redis, keys: Keys) -> Counter[str]:
    """How often unfinished jobs name each image, and uploads that are being taken in."""
    found: Counter[str] = Counter()
    for state in State:
        if state in FINAL:
            continue
        for ids in chunks(str(member) for member, _ in client.zscan_iter(keys.of("state", state), count=CHUNK)):
            with client.pipeline(transaction=False) as pipe:
                for job_id in ids:
                    pipe.hget(keys.of("job", job_id), "I")
                    pipe.get(keys.of("text", job_id))
                answers = pipe.execute()
            for names_some, text in zip(answers[::2], answers[1::2], strict=True):
                if names_some and text:
                    params = json.loads(text)["params"]
                    found.update(_in({name: value for name, value in params.items() if name != "prompt"}))
    for batch in ids_of(client, keys, "batch"):
        doing, token = client.hmget(keys.of("batch", batch), ["do", "only"])
        if doing == "commit":
            pinned: Any = client.smembers(keys.of("pinned", str(token)))
            found.update(pinned)
    return found


def _in(value: Any) -> Iterator[str]:
    """As `find_images` in jobs/lua/_images.lua."""
    match value:
        case dict():
            for part in value.values():
                yield from _in(part)
        case list():
            for part in value:
                yield from _in(part)
        case str():
            if reference := _REFERENCE.fullmatch(value):
                yield reference[1]
