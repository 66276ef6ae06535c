"""The progress of a batch as text."""

from datetime import timedelta

from boomerang_client.record_fields import BatchFields
from boomerang_client.terminal import clean


def progress_text(batch: BatchFields) -> str:
    """Describe a batch in one line: "5 of 20 ended: 1 failed, 4 completed, 15 queued; 2.5/s, ETA 0:01:00"."""
    parts = [pace_text(batch)] if pace_text(batch) else []
    parts += [clean(batch.reason)] if batch.reason and not batch.done else []
    return "; ".join([f"{batch.finished:,} of {batch.accepted:,} ended: {counts_text(batch)}", *parts])


def counts_text(batch: BatchFields) -> str:
    """Count the jobs by state, the final states first: "190 completed, 4 failed, 6 in progress"."""
    parts = [f"{number:,} {status.words}" for status, number in batch.by_state()]
    return ", ".join(parts) or "no jobs"


def pace_text(batch: BatchFields) -> str:
    """Say how fast a batch proceeds and when it ends: "37.5/s, ETA 0:02:34", "paused", or "" once it is done."""
    if batch.done:
        return ""
    if batch.paused:
        return "paused"
    parts = [f"{batch.rate:.1f}/s"] if batch.rate else []
    parts += [] if batch.eta is None else [f"ETA {duration_text(batch.eta)}"]
    return ", ".join(parts)


def duration_text(seconds: float) -> str:
    """Write a duration as 0:02:34, preceded by days if there are any."""
    return str(timedelta(seconds=round(seconds)))
