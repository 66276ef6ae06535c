"""How many results of a task count."""

from jobs.decoding import UNREADABLE
from jobs.job import Job
from jobs.store.store import Store
from schemas import GenerationRequest, TaskReport


def limited(store: Store, job: Job, report: TaskReport) -> TaskReport:
    """Leave out results beyond those that were asked for: as many again only if they were to get a watermark."""
    if len(report.output) <= job.n:
        return report
    try:
        watermarked = GenerationRequest.from_text(store.jobs.get(job.id, text=True).text or "").watermarked
    except UNREADABLE:
        watermarked = False
    return report.limited_to(job.n * 2 if watermarked else job.n)
