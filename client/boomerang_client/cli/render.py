"""Describe jobs, batches and lanes for people."""

from collections.abc import Mapping
from datetime import datetime

from rich.text import Text

from boomerang_client.batch_bar import STYLES, counts_line
from boomerang_client.cli.screen import Screen
from boomerang_client.cli.tables import Column
from boomerang_client.progress_text import pace_text
from boomerang_client.record_fields import Revision, Status
from boomerang_client.records import Batch, Job
from boomerang_client.responses import BatchChanged, Lane, Trouble
from boomerang_client.terminal import clean, shell_word


def job_lines(job: Job) -> list[Text]:
    """Describe a job, one property a line. Properties without a value are left out."""
    took = (job.finished_at - job.created_at).total_seconds() if job.finished_at and job.created_at else None
    rows = [
        ("job", job.id, ""),
        ("status", job.status.words, STYLES.get(job.status, "")),
        ("reason", job.reason, ""),
        ("error", f"{job.error.code} {job.error.message}" if job.error else None, "red"),
        ("class", job.failure, ""),
        ("prompt", (job.request or {}).get("prompt"), ""),
        *(("revision", _revision_text(each), "yellow") for each in job.revisions),
        ("model", job.model, ""),
        ("batch", job.batch, ""),
        ("labels", labels_text(job.labels), ""),
        ("priority", job.priority if job.priority != "normal" else None, ""),
        ("expires", job.expires_at, ""),
        ("lane", job.lane, ""),
        ("attempt", f"{job.attempt}, sent as {job.provider_external_id}" if job.attempt > 1 else None, ""),
        ("created", job.created_at, ""),
        ("finished", job.finished_at, ""),
        ("took", f"{took:.1f} s" if took is not None else None, ""),
        ("settled by", job.settled_by, ""),
        ("cost", f"{job.cost} USD" if job.cost is not None else None, ""),
        ("cost", _unknown_cost(job), "yellow"),
        *(("warning", f"{each.code} {each.message}", "yellow") for each in job.warnings),
        *((one.type, one.url, "") for one in job.output),
        *(("watermark", one.watermark_url, "") for one in job.output),
    ]
    return [Text.assemble((f"{clean(name):<11}", "dim"), (clean(value), style)) for name, value, style in rows if value]


def batch_lines(batch: Batch) -> list[Text]:
    """Describe a batch, one property a line. Properties without a value are left out."""
    limits = [f"{batch.expected_cost} expected"] if batch.expected_cost is not None else []
    limits += [f"at most {batch.max_cost}"] if batch.max_cost is not None else []
    limits += [f"unknown of {batch.unknown_costs:,} jobs"] if batch.unknown_costs else []
    rows = [
        ("batch", batch.id),
        ("state", batch_state(batch)),
        ("reason", batch.reason if not batch.done else None),
        ("jobs", f"{batch.finished:,} of {batch.accepted:,} ended: {counts_line(batch).plain}"),
        ("pace", pace_text(batch) if not batch.paused else None),
        ("errors", ", ".join(f"{number:,} × {code or 'without a code'}" for code, number in batch.errors.items())),
        ("failed for", ", ".join(f"{number:,} × {name}" for name, number in batch.classes.items())),
        ("labels", labels_text(batch.labels)),
        ("priority", batch.priority),
        ("weight", batch.weight),
        ("created", batch.created_at),
        ("cost", f"{batch.cost} USD" + (f" ({', '.join(limits)})" if limits else "")),
        ("pilot", _pilot(batch)),
        ("results", _results(batch)),
    ]
    return [Text.assemble((f"{name:<11}", "dim"), clean(value)) for name, value in rows if value]


def _results(batch: Batch) -> str | None:
    parts = [f"{batch.to_save:,} are being saved"] if batch.to_save else []
    parts += [f"{batch.unsaved:,} could not be saved"] if batch.unsaved else []
    return ", ".join(parts) or None


def _pilot(batch: Batch) -> str | None:
    pilot = batch.pilot
    if pilot is None or pilot.jobs is None:
        return None
    left = f", {pilot.unfinished:,} have not ended" if pilot.unfinished else ""
    return f"{pilot.jobs:,} jobs{left}: {pilot.cost} USD"


def _revision_text(revision: Revision) -> str:
    why = f": {revision.error.code} {revision.error.message}" if revision.error else ""
    cost = f", {revision.cost} USD" if revision.cost else ""
    prompt = (revision.request or {}).get("prompt")
    return f"{revision.revision} {revision.status.words}{why}{cost}" + (f" (prompt: {prompt})" if prompt else "")


def _unknown_cost(job: Job) -> str | None:
    if job.unknown_cost is None:
        return None
    sent = f"the provider sent {job.unknown_cost!r}" if job.unknown_cost else "the provider sent none"
    return f"unknown until an operator settles it: {sent}"


def labels_text(labels: Mapping[str, str]) -> str:
    """Write labels on a line: "shop=7, season=spring"."""
    return ", ".join(f"{name}={value}" for name, value in labels.items())


def batch_state(batch: Batch) -> str:
    """Return a batch's state, by the names of `list batches --status`."""
    return "done" if batch.done else "paused" if batch.paused else "running"


def lane_state(lane: Lane) -> str:
    """Return a lane's state in one or two words."""
    return "healthy" if lane.healthy else "paused" if lane.configured else "not configured"


def lane_text(lane: Lane) -> Text:
    """Describe a lane's state with its reason: "paused: 402: balance exhausted (until 10:32:05)"."""
    if lane.healthy:
        return Text("healthy", "green")
    reason = lane.reason or ("the provider does not answer" if lane.breaker == "open" else "")
    until = f" (until {lane.held_until.astimezone():%H:%M:%S})" if lane.held_until else ""
    return Text(f"{lane_state(lane)}{f': {clean(reason)}' if reason else ''}{until}", "red")


def trouble_text(trouble: Trouble) -> str:
    """Say what keeps the service from its work, and what the operator can do."""
    return clean(f"The service has a problem: {trouble.what}." + (f" {trouble.do}" if trouble.do else ""))


def use_text(lane: Lane) -> str:
    """Write how many images are being generated, and how many may be: "12/64"."""
    return f"{lane.slots:,}/{lane.limit:,}" if lane.limit else f"{lane.slots:,}"


def eta_text(batch: Batch) -> str:
    """Say how fast a batch proceeds, in a cell: "37.5/s, ETA 0:02:34", "done", "paused"."""
    return "done" if batch.done else pace_text(batch)


def local_time(moment: datetime | None) -> str:
    """Write a time to the minute, in this machine's time zone."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}" if moment else ""


_OUTCOMES = {
    "pause": ("paused", "be paused"),
    "resume": ("resumed", "be resumed"),
    "approve": ("approved", "be approved"),
    "cancel": ("cancelled", "be cancelled"),
    "retry": ("queued again", "be queued again"),
}


def report_change(screen: Screen, changed: BatchChanged, *, dry_run: bool = False) -> None:
    """Print what was done to a batch, or with `dry_run` what would be done."""
    if screen.as_json:
        screen.result_json(changed.raw)
        return
    jobs = "1 job" if changed.affected == 1 else f"{changed.affected:,} jobs"
    done, would = _OUTCOMES.get(changed.action, (changed.action, changed.action))
    more = f", up to {changed.pending:,} more follow" if changed.pending else ""
    screen.result(f"Batch {clean(changed.id)}: {jobs} {f'would {would}' if dry_run else done}{more}.")
    if not dry_run:
        screen.next_step(f"boomerang {'resume' if changed.action == 'pause' else 'watch'} {shell_word(changed.id)}")


def report_job(screen: Screen, job: Job) -> None:
    """Print the state of one job after a change."""
    if screen.as_json:
        screen.result_json(job.raw)
        return
    screen.result(f"Job {clean(job.id)} is {job.status.words}{f': {clean(job.reason)}' if job.reason else ''}.")
    screen.next_step(f"boomerang show {shell_word(job.id)}")


def _iso(moment: datetime | None) -> str:
    return moment.isoformat(timespec="seconds") if moment else ""


def _number(number: int, style: str) -> Text:
    return Text(f"{number:,}" if number else "", style)


def _ended_badly(status: Status, rank: int) -> Column[Batch]:
    return Column(
        name=status.words,
        plain=lambda batch: batch.counts.get(status, 0),
        text=lambda batch: _number(batch.counts.get(status, 0), STYLES[status]),
        rank=rank,
        right=True,
    )


JOB_COLUMNS: tuple[Column[Job], ...] = (
    Column(name="job", plain=lambda job: job.id),
    Column(
        name="status",
        plain=lambda job: job.status.value,
        text=lambda job: Text(job.status.words, STYLES.get(job.status, "")),
    ),
    Column(name="model", plain=lambda job: job.model, rank=5),
    Column(name="created", plain=lambda job: _iso(job.created_at), text=lambda job: local_time(job.created_at), rank=4),
    Column(name="batch", plain=lambda job: job.batch or "", rank=3),
    Column(name="cost", plain=lambda job: "" if job.cost is None else job.cost, rank=2, right=True),
    Column(name="error", plain=lambda job: job.error.code if job.error else "", rank=1),
)

BATCH_COLUMNS: tuple[Column[Batch], ...] = (
    Column(name="batch", plain=lambda batch: batch.id),
    Column(name="state", plain=batch_state),
    Column(
        name="ended",
        plain=lambda batch: batch.finished,
        text=lambda batch: f"{batch.finished:,}/{batch.accepted:,}",
        right=True,
    ),
    Column(name="jobs", plain=lambda batch: batch.accepted, on_terminal=False),
    _ended_badly(Status.FAILED, 1),
    _ended_badly(Status.CANCELLED, 2),
    _ended_badly(Status.EXPIRED, 3),
    Column(name="cost", plain=lambda batch: batch.cost, rank=4, right=True),
    Column(
        name="created",
        plain=lambda batch: _iso(batch.created_at),
        text=lambda batch: local_time(batch.created_at),
        rank=6,
    ),
    Column(name="labels", plain=lambda batch: labels_text(batch.labels), rank=5),
)

LANE_COLUMNS: tuple[Column[Lane], ...] = (
    Column(name="lane", plain=lambda lane: lane.name),
    Column(name="state", plain=lane_state, on_terminal=False),
    Column(name="in progress", plain=lambda lane: lane.slots, text=use_text, right=True),
    Column(name="limit", plain=lambda lane: lane.limit or "", on_terminal=False),
    Column(name="waiting", plain=lambda lane: lane.ready, text=lambda lane: f"{lane.ready:,}", right=True),
    Column(name="spent", plain=lambda lane: "" if lane.spent is None else lane.spent, rank=1, right=True),
    Column(name="reason", plain=lambda lane: lane.reason or "", on_terminal=False),
    Column(name="state", plain=lane_state, text=lane_text, in_pipe=False),
)
