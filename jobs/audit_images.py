"""The part of the audit that concerns images: that what is named is there, and goes when it should."""

import json
from collections.abc import Iterator
from typing import Any

from jobs.findings import CHUNK, Drift, Finding, Look, Reader

#: How often the size of all images is counted, until nothing came or went meanwhile.
COUNTS = 5


def image_findings(reader: Reader, *, in_redis: bool) -> Iterator[Finding]:
    """What looks wrong with the images; `in_redis`: their bytes are there too."""
    client, single = reader.client, reader.keys.single
    named = {str(digest) for digest, _ in client.hscan_iter(single("uses"), count=CHUNK)}
    there = {str(digest): score for digest, score in client.zscan_iter(single("images"), count=CHUNK)}
    kept = {str(digest) for digest, _ in client.hscan_iter(single("kept"), count=CHUNK)}
    for digest in {*named, *there, *kept}:
        look = Look("mend_image", (digest,), "image")
        if (digest in there) != (digest in kept):
            detail = f"stands in one of {single('images')} and {single('kept')}, but not in the other"
            yield Finding("image", digest, detail, "Remove it there, and upload it again with POST /v1/images.", look)
        elif digest in kept and (there[digest] == float("inf")) != (digest in named):
            detail = f"its time to go is {there[digest]:.0f}, which is not so by whether unfinished jobs name it"
            yield Finding(
                "image", digest, detail, f"ZADD {single('images')} +inf (it is named) or 0, and its hash.", look
            )
        if digest not in kept and digest in named:
            gone = Look("mend_image", (digest,), "gone", mends=False)
            detail = "unfinished jobs name it, but it is not there"
            remedy = "Upload it again with POST /v1/images, or its jobs will fail."
            yield Finding("image", digest, detail, remedy, gone)
    if in_redis:
        yield from _bytes(reader, kept)


def _bytes(reader: Reader, kept: set[str]) -> Iterator[Finding]:
    """An object has a name of its own, which is used once: what was kept and is not there will never be."""
    of, kept_key = reader.keys.of, reader.keys.single("kept")
    for digests in reader.steps(sorted(kept)):
        objects = [
            json.loads(str(about))["object"] if about else "" for about in reader.client.hmget(kept_key, digests)
        ]
        with reader.client.pipeline(transaction=False) as pipe:
            for name in objects:
                pipe.exists(of("object", name))
            there = pipe.execute()
        for digest, name, is_there in zip(digests, objects, there, strict=True):
            if name and not is_there:
                remedy = "Upload it again with POST /v1/images."
                look = Look("mend_object", (digest, name), "lost")
                yield Finding("image", digest, "its bytes are not in Redis (any more)", remedy, look)


def size_findings(reader: Reader) -> Iterator[Finding]:
    """Whether the size of all images is that of each together: counted until nothing came or went meanwhile."""
    client, kept, totals = reader.client, reader.keys.single("kept"), reader.keys.single("totals")
    for _ in range(COUNTS):
        before = int(client.hget(totals, "image_bytes") or 0), client.hlen(kept)
        about: Any = dict(client.hscan_iter(kept, count=CHUNK))
        size = sum(json.loads(each)["size"] for each in about.values())
        if before == (int(client.hget(totals, "image_bytes") or 0), client.hlen(kept)):
            if over := before[0] - size:
                drift = Drift(totals, "image_bytes", over)
                detail = f"the size of all images differs from a recount by {over:+d}"
                yield Finding("image bytes", "all", detail, f"HINCRBY {totals} image_bytes {-over}", drifts=(drift,))
            return
