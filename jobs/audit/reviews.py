"""The audit of reviews: a batch's indexes have exactly the marks of its jobs' reviews, and each review has a job."""

from collections.abc import Iterator, Sequence

from jobs.audit.findings import Check, Finding, Reader


def review_findings(ids: Sequence[str]) -> Iterator[Finding]:
    """Yield the jobs with reviews. The second check finds those whose reviews are wrong."""
    for job_id in ids:
        yield _finding(job_id, "", "")


def mark_findings(reader: Reader) -> Iterator[Finding]:
    """Yield the entries of indexes whose output has no review. Raises redis-py's errors."""
    for name in sorted(reader.names["marked"]):
        batch = name.partition("|")[2]
        for members in reader.steps(reader.members(reader.keys.member("marked", name))):
            entries = [member.partition(":")[::2] for member in members]
            with reader.client.pipeline(transaction=False) as pipe:
                for number, job_id in entries:
                    pipe.hexists(reader.keys.member("reviews", job_id), number)
                there = reader.ask(pipe)
            for (number, job_id), has_review in zip(entries, there, strict=True):
                if not has_review:
                    yield _finding(job_id, batch, number)


def _finding(job_id: str, batch: str, number: str) -> Finding:
    detail = "a review of its outputs is malformed, or differs from the indexes of its batch, or there is no such job"
    remedy = "Review the outputs again; without a job, DEL the reviews."
    return Finding("review", job_id, detail, remedy, Check("repair_review", (job_id, batch, number), "review"))
