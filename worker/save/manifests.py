"""Write the manifests of batches whose results were saved or removed."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from threading import Lock

from jobs.blobs.bucket import Bucket
from jobs.errors import StoreUnavailable
from jobs.results.manifest import write_manifest
from jobs.saving import SWEEP_EVERY
from jobs.store.store import Store

log = logging.getLogger(__name__)

#: After a write a manifest rests for so many times as long as the write took: writing needs a twentieth of a thread.
REST = 20.0


class ManifestWriter:
    """Writes one manifest at a time, in a thread of `executor`, and removes what killed writers left in the store.

    `results` opens the store when it is first needed.
    """

    def __init__(self, store: Store, results: Callable[[], Bucket], executor: Executor) -> None:
        self._store = store
        self._results = results
        self._executor = executor
        self._busy = Lock()
        self._sweep_at = time.monotonic()

    def __call__(self) -> None:
        """Begin with what is due, unless a write is under way."""
        if self._busy.acquire(blocking=False):
            self._executor.submit(self._run)

    def _run(self) -> None:
        try:
            while self.write_one():
                pass
            if time.monotonic() >= self._sweep_at:
                self._sweep_at = time.monotonic() + SWEEP_EVERY
                if count := self._results().sweep():
                    log.info("%d incomplete objects of killed workers are removed from the result store", count)
        except StoreUnavailable as error:
            log.warning("manifests are not written now: %s", error)
        except Exception:
            log.exception("manifests are not written, because of an unexpected error")
        finally:
            self._busy.release()

    def write_one(self) -> bool:
        """Write the manifest of one batch that is due; return whether there was one."""
        claimed = self._store.manifests.claim()
        if claimed is None:
            return False
        batch_id, claim = claimed
        begun = time.monotonic()
        try:
            lines = write_manifest(self._results(), batch_id)
        except Exception:
            # Soon again, not when the claim ends.
            self._store.manifests.note(batch_id)
            raise
        took = time.monotonic() - begun
        self._store.manifests.finish(batch_id, claim, REST * took)
        if lines is None:
            self._store.manifests.note(batch_id)
        log.info("the manifest of batch %s is written in %.1f s: %s jobs", batch_id, took, lines)
        return True
