"""Read the sidecars of a store, many at once, in bounded memory."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jobs.blobs.blob import Blob
from jobs.blobs.bucket import Bucket
from jobs.results.names import SIDECAR
from jobs.results.sidecar import read_sidecar
from jobs.store.chunks import chunks

#: Sidecars read at once: a bucket answers each after some milliseconds.
_AT_ONCE = 16


def is_sidecar(blob: Blob) -> bool:
    """Return whether an object is a sidecar, by its name."""
    return blob.name.endswith(SIDECAR)


def read_sidecars(results: Bucket, blobs: Iterable[Blob]) -> Iterator[tuple[Blob, Mapping[str, Any] | None]]:
    """Yield each sidecar with its content; None where it is unreadable or was removed meanwhile."""

    def read(blob: Blob) -> Mapping[str, Any] | None:
        data = results.read(blob.name)
        return None if data is None else read_sidecar(data)

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="boomerang-sidecars") as threads:
        for chunk in chunks(blob for blob in blobs if is_sidecar(blob)):
            yield from zip(chunk, threads.map(read, chunk), strict=True)
