"""The sidecar of a job: a JSON file beside its saved outputs, for people and programs that have the files only.

It is written after the outputs. So where there is one, the outputs are complete, and a repeated save reads it instead
of downloading anything again.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jobs.blobs.blob import is_object_name
from jobs.decoding import UNREADABLE
from jobs.job import Job
from jobs.saved import Saved, SavedOutput

CONTENT_TYPE = "application/json"
#: Parts of a request that say nothing about the result; an address to call may contain a secret.
_LEFT_OUT = frozenset({"callback_url"})


def write_sidecar(job: Job, saved: Saved, labels: Mapping[str, str]) -> bytes:
    """Describe a job and its saved outputs. `job` needs its text. `labels`: the job's and its batch's."""
    result = job.result
    outputs = result.output if result else ()
    body = {
        "id": job.given_id,
        "job": job.id,
        "owner": job.owner or None,
        "batch": job.batch,
        "model": job.model,
        "labels": dict(labels) or None,
        "request": _request(job.text),
        "attempt": job.attempt,
        "revision": job.revision,
        "external_task_id": job.given_id,
        "provider_external_id": job.external_task_id,
        "task_id": job.task_id,
        "cost": None if job.cost is None else str(job.cost),
        "usage": {"cost": str(result.cost)} if result and result.cost is not None else None,
        "discount": None if result is None else result.discount,
        "created_at": job.created_at.isoformat(),
        "ended_at": job.ended_at.isoformat() if job.ended_at else None,
        "saved_at": saved.at.isoformat(),
        "outputs": [
            {"type": given.get("type"), **_describe(output), "source_url": given["url"]}
            for given, output in zip(outputs, saved.outputs, strict=True)
        ],
    }
    return encode({name: value for name, value in body.items() if value is not None}, indent=1) + b"\n"


def read_sidecar(data: bytes) -> Mapping[str, Any] | None:
    """Read a sidecar; None if it is none, for instance because somebody changed it."""
    try:
        body = json.loads(data)
    except UNREADABLE:
        return None
    return body if isinstance(body, dict) and isinstance(body.get("job"), str) else None


def saved_by(job: Job, data: bytes) -> Saved | None:
    """Return what a sidecar says was saved of this result of this job; None if it is of another, or unreadable."""
    body = read_sidecar(data)
    if body is None or (body["job"], body.get("created_at")) != (job.id, job.created_at.isoformat()):
        return None
    try:
        wanted = [each["url"] for each in job.result.output] if job.result else []
        if body.get("removed_at") or [each["source_url"] for each in body["outputs"]] != wanted:
            return None
        outputs = tuple(
            SavedOutput(
                name=each["name"],
                sha256=each["sha256"],
                size=each["size"],
                content_type=each["content_type"],
                width=each.get("width"),
                height=each.get("height"),
            )
            for each in body["outputs"]
        )
        if not all(is_object_name(each.name) for each in outputs):
            return None
        return Saved(datetime.fromisoformat(body["saved_at"]), outputs)
    except UNREADABLE:
        return None


def encode(body: Mapping[str, Any], indent: int | None = None) -> bytes:
    """Encode JSON in UTF-8. A lone surrogate becomes its escape, which JSON allows."""
    separators = (",", ": ") if indent else (",", ":")
    text = json.dumps(body, ensure_ascii=False, indent=indent, separators=separators, default=str)
    return text.encode("utf-8", "backslashreplace")


def _describe(output: SavedOutput) -> Mapping[str, Any]:
    found = {
        "name": output.name,
        "sha256": output.sha256,
        "size": output.size,
        "content_type": output.content_type,
        "width": output.width,
        "height": output.height,
    }
    return {name: value for name, value in found.items() if value is not None}


def _request(text: str | None) -> Any:
    try:
        body = json.loads(text or "null")
    except ValueError:
        return None
    return {name: value for name, value in body.items() if name not in _LEFT_OUT} if isinstance(body, dict) else None
