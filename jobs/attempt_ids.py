"""The external ids of the attempts of a job."""

import re

ATTEMPT_MARK = "~"


def external_id(job_id: str, attempt: int) -> str:
    """Return the external id of an attempt: the job's own id for attempt 1, `<id>~k` for attempt k."""
    return job_id if attempt == 1 else f"{job_id}{ATTEMPT_MARK}{attempt}"


def parse_external_id(text: str) -> tuple[str, int] | None:
    """Return the job id and attempt of an external id; None if this service cannot have made it."""
    job_id, mark, number = text.partition(ATTEMPT_MARK)
    if not mark:
        return job_id, 1
    canonical = re.fullmatch(r"[2-9]|[1-9][0-9]{1,8}", number)
    return (job_id, int(number)) if job_id and canonical else None
