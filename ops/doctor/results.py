"""Check the result store: that this process can use it, and that it is the one that holds the saved results."""

import secrets
from collections.abc import Iterator

from jobs.blobs.bucket import Bucket
from jobs.errors import ResultsUnavailable, StoreUnavailable
from jobs.results.results import open_results
from jobs.settings import Settings
from jobs.store.saves import Backlog
from ops.commands.store import open_store
from ops.doctor.check import Finding, bad, ok, warning

SUBJECT = "result store"


def check_results(settings: Settings) -> Iterator[Finding]:
    """Write, read and remove a small object, and report what waits. No finding if results are never saved."""
    try:
        with open_store(settings) as store:
            backlog, used, saves = store.saves.backlog(), store.saves.used_before(), store.liveness.pulse().saves
    except StoreUnavailable:
        return  # reported already
    if settings.result_store is None:
        if backlog.owed or saves:
            what = f"not set here, but other processes save results ({backlog.owed} are still to be saved)"
            yield bad(SUBJECT, what, "Set BOOMERANG_RESULT_STORE to the same store for all processes.")
        return
    try:
        results = open_results(settings.result_store, lambda: used)
        name, data = f"doctor-{secrets.token_hex(8)}", secrets.token_bytes(32)
        results.write(name, data)
        read = results.read(name)
        results.remove([name])
        next(results.list(), None)
    except ResultsUnavailable as error:
        remedy = "Check BOOMERANG_RESULT_STORE, its credentials, and the rights to read, write, list and delete."
        yield bad(SUBJECT, f"failed: {error}", remedy)
        return
    if read == data:
        yield ok(SUBJECT, f"an object was written, read and removed; {_waits(backlog)}")
    else:
        yield bad(SUBJECT, "returned other data than were written", "Look for a cache or proxy in front of it.")
    yield from _may_sweep(results)
    if backlog.unsaved:
        what = f"the results of {backlog.unsaved} jobs could not be saved"
        yield bad(SUBJECT, what, "boomerang-server stuck says why, boomerang-server save --all-unsaved tries again.")


def _may_sweep(results: Bucket) -> Iterator[Finding]:
    """Warn if incomplete uploads cannot be found: they would stay in the bucket, and are paid for."""
    try:
        results.check_sweep()
    except ResultsUnavailable as error:
        what = f"its incomplete uploads cannot be listed, so they are never removed: {error}"
        yield warning(SUBJECT, what, "Give its user the right s3:ListBucketMultipartUploads.")


def _waits(backlog: Backlog) -> str:
    return f"{backlog.saved} jobs' results saved so far, {backlog.owed} still to be saved"
