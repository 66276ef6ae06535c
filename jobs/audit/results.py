"""Compare the result store with the records of jobs and with the sidecars, in bounded memory.

What jobs and sidecars say, and what the store has, is collected in a database on disk, and compared there. Each
difference is looked at again before it is reported, because results are saved and removed meanwhile.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from jobs.audit.findings import Finding
from jobs.blobs.blob import Blob
from jobs.blobs.bucket import Bucket
from jobs.connections.errors import translate_errors
from jobs.decoding import UNREADABLE
from jobs.result import Result
from jobs.results.names import MANIFEST
from jobs.results.sidecars import is_sidecar, read_sidecars
from jobs.store.chunks import CHUNK
from jobs.store.store import Store

RULE = "result"
#: An object may be this much older than its sidecar: all outputs of a job are stored before it.
UNDER_WAY = timedelta(hours=1)
_SAVE_AGAIN = "run boomerang-server save {job}, if the provider still has it"
_SCHEMA = """
CREATE TABLE objects (name TEXT PRIMARY KEY, size INTEGER, old INTEGER) WITHOUT ROWID;
CREATE TABLE wanted (name TEXT, job TEXT, size INTEGER, sha256 TEXT, PRIMARY KEY (name, job)) WITHOUT ROWID;
"""


def result_findings(
    store: Store, results: Bucket, *, contents: bool = False, now: datetime | None = None
) -> Iterator[Finding]:
    """Yield what the store lacks, has otherwise, or has for no job. `contents`: read all objects, to compare hashes."""
    moment = now or datetime.now(UTC)
    with closing(sqlite3.connect("")) as found:
        found.executescript(_SCHEMA)
        found.executemany("INSERT OR REPLACE INTO objects VALUES (?, ?, ?)", _objects(results, moment))
        yield from _read_sidecars(results, found)
        found.executemany("INSERT OR REPLACE INTO wanted VALUES (?, ?, ?, ?)", _saved(store))
        yield from _missing(store, results, found)
        yield from _unknown(results, found)
        if contents:
            yield from _changed(results, found)


def _objects(results: Bucket, now: datetime) -> Iterator[tuple[str, int, bool]]:
    for blob in results.list():
        if not is_sidecar(blob) and not blob.name.endswith(f"/{MANIFEST}"):
            yield blob.name, blob.size, _is_old(blob, now)


def _is_old(blob: Blob, now: datetime) -> bool:
    return blob.modified < now - UNDER_WAY


def _read_sidecars(results: Bucket, found: sqlite3.Connection) -> Iterator[Finding]:
    for blob, body in read_sidecars(results, results.list()):
        try:
            if body is None:
                raise ValueError("it is no JSON")
            job = str(body["job"])
            rows = [(each["name"], job, int(each["size"]), str(each["sha256"])) for each in body["outputs"]]
        except UNREADABLE:
            if results.info(blob.name) is not None:
                yield Finding(
                    RULE, blob.name, "this sidecar is damaged", "remove it; saving the job again writes it anew"
                )
            continue
        if not body.get("removed_at"):
            found.executemany("INSERT OR REPLACE INTO wanted VALUES (?, ?, ?, ?)", rows)


@translate_errors()
def _saved(store: Store) -> Iterator[tuple[str, str, int, str]]:
    client, keys = store.context.client, store.context.keys
    start = keys.member("result", "")
    cursor = 0
    while True:
        cursor, step = client.scan(cursor, match=f"{start}*", count=CHUNK)
        for key, text in zip(step, client.mget(step) if step else (), strict=True):
            job_id = str(key).removeprefix(start)
            yield from _of_result(job_id, str(text or ""))
        if not cursor:
            return


def _of_result(job_id: str, text: str) -> list[tuple[str, str, int, str]]:
    if '"saved"' not in text:
        return []
    try:
        saved = Result.from_json(text).saved
    except UNREADABLE:
        return []  # the audit of records reports it
    if saved is None or saved.removed_at:
        return []
    return [(each.name, job_id, each.size, each.sha256) for each in saved.outputs]


def _missing(store: Store, results: Bucket, found: sqlite3.Connection) -> Iterator[Finding]:
    rows = found.execute(
        "SELECT wanted.name, job, wanted.size, objects.size FROM wanted LEFT JOIN objects USING (name) "
        "WHERE objects.size IS NOT wanted.size"
    )
    for name, job, size, _ in rows:
        there = results.info(name)
        if there and there.size == size:
            continue
        current = store.jobs.get_many([job])[0]
        if current and current.result and current.result.saved and current.result.saved.removed_at:
            continue
        what = f"{name} is missing" if there is None else f"{name} has {there.size} bytes, not {size}"
        yield Finding(RULE, job, what, _SAVE_AGAIN.format(job=job))


def _unknown(results: Bucket, found: sqlite3.Connection) -> Iterator[Finding]:
    rows = found.execute(
        "SELECT name FROM objects WHERE old AND NOT EXISTS (SELECT 1 FROM wanted WHERE wanted.name = objects.name)"
    )
    for (name,) in rows:
        if results.info(name) is not None:
            yield Finding(
                RULE, name, "no job and no sidecar names this object", "remove it, if you know that none does"
            )


def _changed(results: Bucket, found: sqlite3.Connection) -> Iterator[Finding]:
    rows = found.execute("SELECT name, job, wanted.size, sha256 FROM wanted JOIN objects USING (name)")
    for name, job, size, wanted in rows:
        digest = sha256()
        for piece in results.stream(name, 0, size):
            digest.update(piece)
        if digest.hexdigest() != wanted:
            yield Finding(RULE, job, f"{name} has other bytes than were saved", _SAVE_AGAIN.format(job=job))
