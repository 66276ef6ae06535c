"""The manifest of a batch: one line for each saved job, composed from the sidecars.

The sidecars are the truth, so nothing is lost whoever writes the manifest. After a write the sidecars are listed again:
a writer that was overtaken, and whose older list replaced a newer one, notices it and writes once more.
"""

from collections.abc import Iterator
from hashlib import sha256

from jobs.blobs.blob import Blob
from jobs.blobs.bucket import Bucket
from jobs.results.names import batch_folder, manifest_name
from jobs.results.sidecar import encode
from jobs.results.sidecars import is_sidecar, read_sidecars

CONTENT_TYPE = "application/x-ndjson"
#: How often a manifest is written again because results came meanwhile. Later ones wait for the next time.
_MOST_WRITES = 5


def write_manifest(results: Bucket, batch_id: str) -> int | None:
    """Write the manifest of a batch; return the number of its lines, or None if results still come.

    Raises `ResultsUnavailable`. Memory does not grow with the batch.
    """
    for _ in range(_MOST_WRITES):
        listed = _Listed()
        lines = 0
        with results.draft() as draft:
            for _blob, body in read_sidecars(results, listed.noting(results.list(f"{batch_folder(batch_id)}/"))):
                if body is not None:
                    draft.file.write(encode(body) + b"\n")
                    lines += 1
            results.put(draft, manifest_name(batch_id), CONTENT_TYPE)
        again = _Listed()
        for _blob in again.noting(results.list(f"{batch_folder(batch_id)}/")):
            pass
        if again == listed:
            return lines
    return None


class _Listed:
    """What a list of sidecars had, without regard to its order, in constant memory."""

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Listed) and (self.count, self.sum) == (other.count, other.sum)

    __hash__ = None  # type: ignore[assignment] # it changes

    def noting(self, blobs: Iterator[Blob]) -> Iterator[Blob]:
        """Yield the sidecars, and note each."""
        for blob in blobs:
            if is_sidecar(blob):
                facts = f"{blob.name}\0{blob.size}\0{blob.modified.isoformat()}"
                self.count += 1
                self.sum ^= int.from_bytes(sha256(facts.encode()).digest(), "big")
                yield blob
