"""The serializer of a job's outputs: where each can be fetched now, and what is known about its file.

`schemas.views.outputs.OutputView` documents the shape.
"""

from collections.abc import Mapping
from typing import Any

from jobs.job import Job
from jobs.links import Links

#: A reader of the provider's contract expects these members of an output, and no others.
_OF_PROVIDER = ("type", "url", "watermark_url")


def serialize_outputs(job: Job, links: Links) -> list[dict[str, Any]]:
    """Return the outputs of a job. `url` is ours for a saved one, otherwise the provider's."""
    result = job.result
    if not result or not result.output:
        return []
    saved = result.saved
    files = saved.outputs if saved else ()
    since = (job.save and job.save.since) or job.ended_at
    rows: list[dict[str, Any]] = []
    for index, output in enumerate(result.output):
        expires_at = links.source_expiry(output["url"], job.lane, since)
        row: dict[str, Any] = {
            **output,
            "source_url": output["url"],
            "expires_at": expires_at and expires_at.isoformat(),
            **_NOTHING_SAVED,
        }
        if saved and index < len(files):
            file = files[index]
            row |= {
                "saved_at": saved.at.isoformat(),
                "sha256": file.sha256,
                "size": file.size,
                "content_type": file.content_type,
                "width": file.width,
                "height": file.height,
            }
            if saved.removed_at:
                row["removed_at"] = saved.removed_at.isoformat()
            elif link := links.make(job.id, index):
                row["url"] = link.url
                row["url_expires_at"] = link.expires_at and link.expires_at.isoformat()
        rows.append(row)
    return rows


_NOTHING_SAVED: Mapping[str, Any] = {
    "url_expires_at": None,
    "saved_at": None,
    "removed_at": None,
    "sha256": None,
    "size": None,
    "content_type": None,
    "width": None,
    "height": None,
}


def serialize_for_provider(job: Job, links: Links) -> list[dict[str, str]]:
    """Return the outputs of a job as the provider's contract has them.

    Programs that speak it send no key to the address of a result, so `url` is ours only where it is signed.
    """
    if not links.signed:
        return [dict(each) for each in job.result.output] if job.result else []
    return [{name: row[name] for name in _OF_PROVIDER if name in row} for row in serialize_outputs(job, links)]


def serialize_saving(job: Job) -> dict[str, Any] | None:
    """Return how far saving the results has come, as `schemas.views.outputs.SavingView` documents it."""
    save = job.save
    if save is None or job.saved:
        return None
    return {
        "since": save.since and save.since.isoformat(),
        "tries": save.tries,
        "error": save.error,
        "next_try_at": save.next_at.isoformat() if save.next_at and save.owed else None,
        "given_up_at": save.given_up_at and save.given_up_at.isoformat(),
    }
