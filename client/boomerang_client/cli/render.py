"""Jobs and batches in words and colours."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from boomerang_client.cli.screen import Screen, clean
from boomerang_client.records import Batch, BatchChanged, Job, Status

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
        ("labels", ", ".join(f"{key}={value}" for key, value in job.labels.items()), ""),
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


def job_table(jobs: Iterable[Job]) -> Table:
    """Jobs as a table for a terminal."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("job", "status", "model", "created", "batch", "cost"):
        table.add_column(name, overflow="fold")
    for job in jobs:
        id_, status, *others = job_row(job)
        table.add_row(Text(id_), Text(status, STYLES.get(job.status, "")), *map(Text, others))
    return table


def job_row(job: Job) -> list[str]:
    """A job's cells, for a table or to be joined by tabs."""
    created = job.created_at.isoformat(timespec="seconds") if job.created_at else ""
    cost = "" if job.cost is None else str(job.cost)
    return [clean(cell) for cell in (job.id, words(job.status), job.model, created, job.batch or "", cost)]
