"""The audit of images: each one that a job refers to is stored, and unneeded ones are removed."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping

from jobs.audit.findings import Check, Drift, Finding, Reader, whole
from jobs.decoding import UNREADABLE

#: How often the sizes are summed at most, until no image was added or removed meanwhile.
COUNTS = 5


def image_findings(reader: Reader, *, in_redis: bool) -> Iterator[Finding]:
    """Yield suspected errors of images. `in_redis`: their bytes are in Redis, too."""
    single = reader.keys.singleton
    named = {digest for digest, _ in reader.fields(single("uses"))}
    there = dict(reader.scores(single("images")))
    kept = {digest for digest, _ in reader.fields(single("kept"))}
    for digest in {*named, *there, *kept}:
        check = Check("repair_image", (digest,), "image")
        if (digest in there) != (digest in kept):
            detail = f"stands in one of {single('images')} and {single('kept')}, but not in the other"
            yield Finding("image", digest, detail, "Remove it there, and upload it again with POST /v1/images.", check)
        elif digest in kept and (there[digest] == float("inf")) != (digest in named):
            name = "name" if digest in named else "do not name"
            detail = f"its time of last use is {there[digest]:.0f}, although unfinished jobs {name} it"
            yield Finding(
                "image", digest, detail, f"ZADD {single('images')} +inf (it is named) or 0, and its hash.", check
            )
        if digest not in kept and digest in named:
            gone = Check("repair_image", (digest,), "gone", repairs=False)
            detail = "unfinished jobs name it, but it is not stored"
            remedy = "Upload it again with POST /v1/images, or its jobs will fail."
            yield Finding("image", digest, detail, remedy, gone)
    if in_redis:
        yield from _bytes(reader, kept)


def _bytes(reader: Reader, kept: set[str]) -> Iterator[Finding]:
    """Yield images without bytes. The name of an object is used once, so a missing one does not come back."""
    of, kept_key = reader.keys.member, reader.keys.singleton("kept")
    for digests in reader.steps(sorted(kept)):
        with reader.client.pipeline(transaction=False) as pipe:
            pipe.hmget(kept_key, digests)
            objects = [_about(text)[0] for text in reader.ask(pipe)[0]]
        with reader.client.pipeline(transaction=False) as pipe:
            for name in objects:
                pipe.exists(of("object", name))
            there = pipe.execute()
        for digest, name, is_there in zip(digests, objects, there, strict=True):
            if name and not is_there:
                remedy = "Upload it again with POST /v1/images."
                check = Check("repair_object", (digest, name), "lost")
                yield Finding("image", digest, "its bytes are not in Redis", remedy, check)


def size_findings(reader: Reader) -> Iterator[Finding]:
    """Yield whether the counted size of all images differs from the sum of their sizes."""
    single = reader.keys.singleton
    kept, totals = single("kept"), single("totals")
    for _ in range(COUNTS):
        before = _counted(reader, totals, kept)
        about = dict(reader.fields(kept))
        sizes = [_about(each)[1] for each in about.values()]
        if None in sizes:
            return  # one cannot be read, so its size is unknown
        size = sum(each or 0 for each in sizes)
        owners, counted = dict(reader.fields(single("image_owners"))), dict(reader.fields(single("stored_images")))
        if before == _counted(reader, totals, kept):
            if over := before[0] - size:
                drift = Drift(totals, "image_bytes", over)
                detail = f"the size of all images differs from a recount by {over:+d}"
                yield Finding("image bytes", "all", detail, f"HINCRBY {totals} image_bytes {-over}", drifts=(drift,))
            yield from _owner_findings(single("stored_images"), counted, owners, dict(zip(about, sizes, strict=True)))
            return


def _owner_findings(
    key: str, counted: Mapping[str, str], owners: Mapping[str, str], sizes: Mapping[str, int | None]
) -> Iterator[Finding]:
    """Yield the owners whose counted bytes of images differ from the sum of the sizes."""
    of_owner = Counter[str]()
    for digest in owners.keys() & sizes.keys():
        of_owner[owners[digest]] += sizes[digest] or 0
    for owner in sorted({*counted, *of_owner}):
        if over := whole(counted.get(owner)) - of_owner[owner]:
            detail = f"the size of its images differs from a recount by {over:+d}"
            drift = Drift(key, owner, over, absent=True)
            yield Finding("image bytes", f"key {owner}", detail, f"HINCRBY {key} '{owner}' {-over}", drifts=(drift,))


def _counted(reader: Reader, totals: str, kept: str) -> tuple[int, int]:
    with reader.client.pipeline(transaction=False) as pipe:
        pipe.hget(totals, "image_bytes")
        pipe.hlen(kept)
        size, count = reader.ask(pipe)
    return whole(size), int(count)


def _about(text: str | None) -> tuple[str, int | None]:
    """Return the object of an image and its size; '' and None where they cannot be read."""
    try:
        about = json.loads(text or "")
        return str(about["object"]), int(about["size"])
    except UNREADABLE:
        return "", None
