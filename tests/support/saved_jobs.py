"""Jobs whose results are in a result store."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

from jobs.blobs.bucket import Bucket
from jobs.job import Job
from jobs.result import Result
from jobs.results.names import DEFAULT, Template, sidecar_name
from jobs.results.sidecar import write_sidecar
from jobs.saved import Saved, SavedOutput
from jobs.states import State

AT = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)


def a_job(job_id: str = "fox@shop", batch: str | None = "zoo@shop", **changes: Any) -> Job:
    plain: dict[str, Any] = {
        "id": job_id, "state": State.COMPLETED, "model": "kirin", "n": 1, "attempt": 1, "fence": 1, "created_at": AT,
        "updated_at": AT, "ended_at": AT, "batch": batch, "owner": "shop", "text": '{"prompt":"a fox"}',
    }  # fmt: skip
    return Job(**plain | changes)


def saved_in(
    results: Bucket, job: Job, *contents: bytes, at: datetime = AT, template: str = DEFAULT, **labels: str
) -> Saved:
    """Store outputs and a sidecar, as a worker does."""
    outputs = []
    for index, data in enumerate(contents):
        digest = sha256(data).hexdigest()
        name = Template.parse(template).name(job, index, "png", digest, labels)
        results.write(name, data, "image/png")
        outputs.append(SavedOutput(name=name, sha256=digest, size=len(data), content_type="image/png"))
    saved = Saved(at, tuple(outputs))
    urls = tuple({"type": "image", "url": f"https://cdn.example.com/{index}"} for index in range(len(contents)))
    result = Result(output=urls, cost=Decimal("0.01"))
    results.write(sidecar_name(job), write_sidecar(replace(job, result=result), saved, labels))
    return saved
