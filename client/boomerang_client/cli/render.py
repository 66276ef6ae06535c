"""Jobs and batches in words and colours."""

from collections.abc import Iterable, Mapping

from rich.table import Table
from rich.text import Text

from boomerang_client.cli.screen import Screen, clean
from boomerang_client.progress_line import duration
from boomerang_client.records import Batch, Job, Status
from boomerang_client.responses import BatchChanged

STYLES = {
    Status.COMPLETED: "green",
    Status.FAILED: "red",
    Status.EXPIRED: "red",
    Status.CANCELLED: "magenta",
    Status.IN_DOUBT: "yellow",
    Status.IN_PROGRESS: "cyan",
}


def words(status: Status) -> str:
    """A state as people write it: "in progress"."""
    return status.value.replace("_", " ")


def job_lines(job: Job) -> list[Text]:
    """A job, one property a line; those that say nothing are left out."""
    took = (job.finished_at - job.created_at).total_seconds() if job.finished_at and job.created_at else None
    rows = [
        ("job", job.id, ""),
        ("status", words(job.status), STYLES.get(job.status, "")),
        ("reason", job.reason, ""),
        ("error", f"{job.error.code} {job.error.message}" if job.error else None, "red"),
        ("model", job.model, ""),
        ("batch", job.batch, ""),
        ("labels", labels_text(job.labels), ""),
        ("priority", job.priority if job.priority != "normal" else None, ""),
        ("expires", job.expires_at, ""),
        ("lane", job.lane, ""),
        ("attempt", f"{job.attempt}, sent as {job.external_task_id}" if job.attempt > 1 else None, ""),
        ("created", job.created_at, ""),
        ("finished", job.finished_at, ""),
        ("took", f"{took:.1f} s" if took is not None else None, ""),
        ("settled by", job.settled_by, ""),
        ("cost", f"{job.cost} USD" if job.cost is not None else None, ""),
        *((one.type, one.url, "") for one in job.output),
    ]
    return [Text.assemble((f"{clean(name):<11}", "dim"), (clean(value), style)) for name, value, style in rows if value]


def counts_text(batch: Batch) -> Text:
    """The states that hold jobs: "190 completed, 4 failed, 6 in progress"."""
    parts = [
        Text(f"{batch.counts[status]} {words(status)}", STYLES.get(status, ""))
        for status in sorted(batch.counts, key=list(Status).index, reverse=True)
        if batch.counts[status]
    ]
    return Text(", ").join(parts) if parts else Text("no jobs")


def pace_text(batch: Batch) -> str:
    """How fast it goes and how long it will take, as the service tells: "37.5/s  ETA 0:02:34"."""
    if batch.done:
        return "done"
    if batch.paused:
        return clean(batch.reason or "paused")
    parts = [f"{batch.rate:.1f}/s"] if batch.rate else []
    parts += [] if batch.eta is None else [f"ETA {duration(batch.eta)}"]
    parts += [clean(batch.reason)] if batch.reason else []
    return "  ".join(parts)


def batch_lines(batch: Batch) -> list[Text]:
    """A batch, one property a line; those that say nothing are left out."""
    caps = [f"{batch.expected_cost} expected"] if batch.expected_cost is not None else []
    caps += [f"at most {batch.max_cost}"] if batch.max_cost is not None else []
    rows = [
        ("batch", batch.id),
        ("jobs", f"{batch.finished:,} of {batch.accepted:,} ended"),
        ("states", counts_text(batch).plain),
        ("pace", pace_text(batch)),
        ("errors", ", ".join(f"{number:,} × {code or 'without a code'}" for code, number in batch.errors.items())),
        ("labels", labels_text(batch.labels)),
        ("priority", batch.priority),
        ("weight", batch.weight),
        ("created", batch.created_at),
        ("cost", f"{batch.cost} USD" + (f" ({', '.join(caps)})" if caps else "")),
    ]
    return [Text.assemble((f"{name:<11}", "dim"), clean(value)) for name, value in rows if value]


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels in a line: "shop=7, season=spring"."""
    return ", ".join(f"{key}={value}" for key, value in labels.items())


_DONE = {"pause": "wait from now on", "resume": "go on", "cancel": "cancelled", "retry": "queued again"}


def present_change(screen: Screen, changed: BatchChanged, *, dry_run: bool = False) -> None:
    """Say what was done to a batch, or (`dry_run`) would be."""
    if screen.as_json:
        screen.document(changed.raw)
        return
    jobs = "1 job" if changed.affected == 1 else f"{changed.affected} jobs"
    what = "would be queued again" if dry_run else _DONE.get(changed.action, changed.action)
    rest = f", {changed.pending} at most follow" if changed.pending else ""
    screen.say(f"Batch {changed.id}: {jobs} {what}{rest}.")
    if not dry_run:
        screen.say(f"Next: boomerang {'resume' if changed.action == 'pause' else 'watch'} {changed.id}")


def present_job(screen: Screen, job: Job) -> None:
    """Say what became of one job."""
    if screen.as_json:
        screen.document(job.raw)
        return
    screen.say(f"Job {job.id} is {words(job.status)}{f': {clean(job.reason)}' if job.reason else ''}.")
    screen.say(f"Next: boomerang show {job.id}")


JOB_COLUMNS = ("job", "status", "model", "created", "batch", "cost")
BATCH_COLUMNS = ("batch", "ended", "jobs", "failed", "state", "created", "cost", "labels")


def table(columns: Iterable[str], rows: Iterable[Iterable[str]], styles: Mapping[str, str] | None = None) -> Table:
    """Cells as a table for a terminal; `styles` by what a cell says."""
    made = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        made.add_column(name, overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell, (styles or {}).get(cell, "")) for cell in row))
    return made


def job_row(job: Job) -> list[str]:
    """A job's cells, for a table or to be joined by tabs."""
    created = job.created_at.isoformat(timespec="seconds") if job.created_at else ""
    cost = "" if job.cost is None else str(job.cost)
    return [clean(cell) for cell in (job.id, words(job.status), job.model, created, job.batch or "", cost)]


def batch_row(batch: Batch) -> list[str]:
    """A batch's cells, for a table or to be joined by tabs."""
    state = "done" if batch.done else "paused" if batch.paused else "running"
    created = batch.created_at.isoformat(timespec="seconds") if batch.created_at else ""
    counts = (str(batch.finished), str(batch.accepted), str(batch.unsuccessful))
    return [clean(cell) for cell in (batch.id, *counts, state, created, str(batch.cost), labels_text(batch.labels))]
