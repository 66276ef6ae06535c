"""Turn what Redis answers for records and results into jobs."""

import logging
from collections.abc import Sequence
from typing import Any

import redis

from jobs.connections.errors import translated
from jobs.decoding import decoding
from jobs.errors import JobNotFound, RecordDamaged
from jobs.fields import printable
from jobs.job import Job
from jobs.result import Result

log = logging.getLogger(__name__)

#: What is stored beside each record, and read with it.
BESIDE = ("result", "labels")


def known_job(job_id: str, job: Job | RecordDamaged | None) -> Job:
    """Return a job that was read. Raises `JobNotFound` and `RecordDamaged`."""
    if job is None:
        raise JobNotFound(job_id)
    if isinstance(job, RecordDamaged):
        raise job
    return job


def read_job(job_id: str, row: Sequence[Any], beside: Sequence[str]) -> Job | RecordDamaged | None:
    """Deserialize a record and what was read `beside` it; None where there is none.

    Raises errors of Redis, but returns that of a damaged record: a caller with several jobs leaves it out.
    """
    fields, *texts = row
    try:
        for answer in row:
            if isinstance(answer, redis.RedisError):
                raise translated(answer)
        return Job.from_fields(job_id, fields, **dict(zip(beside, texts, strict=True))) if fields else None
    except RecordDamaged as error:
        return RecordDamaged(f"job {printable(job_id)}", error.why)


def read_result(job_id: str, text: Any) -> Result | None:
    """Deserialize a result; None where there is none, or it cannot be read, which is logged."""
    if text is None:
        return None
    try:
        with decoding(f"job {printable(job_id)}"):
            return Result.from_json(str(text))
    except RecordDamaged as error:
        log.warning("its result is left out: %s", error)
        return None
