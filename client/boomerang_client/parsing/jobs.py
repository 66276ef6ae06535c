"""Parse jobs, with their outputs, revisions, reviews and events."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from boomerang_client.outputs import Output, Saving
from boomerang_client.parsing.values import MALFORMED, as_money, as_object, as_text, as_whole, read_time, unexpected
from boomerang_client.record_fields import JobError, JobEvent, Review, Revision, Status


def parse_job(data: object) -> dict[str, Any]:
    """Return the fields of a job. Raises UnexpectedAnswer."""
    view = as_object(data, "job")
    try:
        error, usage = view.get("error"), view.get("usage") or {}
        return {
            "id": str(view["id"]),
            "status": Status(view["status"]),
            "model": str(view.get("model") or ""),
            "output": tuple(map(_output, view.get("output") or ())),
            "error": _error(error) if error else None,
            "warnings": tuple(map(_error, view.get("warnings") or ())),
            # A service of an earlier version counts only the last attempt.
            "cost": as_money(view["cost"] if "cost" in view else usage.get("cost")),
            "failure": view.get("class"),
            "attempt": int(view.get("attempt") or 1),
            "revision": int(view.get("revision") or 1),
            "regenerates": view.get("regenerates"),
            "regenerated_by": view.get("regenerated_by"),
            "external_task_id": view.get("external_task_id"),
            "provider_external_id": view.get("provider_external_id"),
            "created_at": read_time(view.get("created_at")),
            "updated_at": read_time(view.get("updated_at")),
            "finished_at": read_time(view.get("finished_at")),
            "settled_by": view.get("settled_by"),
            "batch": view.get("batch"),
            "reason": view.get("reason"),
            "labels": dict(view.get("labels") or {}),
            "priority": view.get("priority"),
            "expires_at": read_time(view.get("expires_at")),
            "lane": view.get("lane"),
            "unknown_cost": view.get("unknown_cost"),
            "request": view.get("request"),
            "revisions": tuple(map(_revision, view.get("revisions") or ())),
            "reviews": tuple(map(_review, view.get("reviews") or ())),
            "timeline": tuple(map(_event, view.get("timeline") or ())),
            "owner": view.get("owner"),
            "saving": _saving(view.get("saving")),
            "raw": view,
        }
    except MALFORMED as problem:
        raise unexpected("job", problem) from problem


def _output(view: Mapping[str, Any]) -> Output:
    return Output(
        str(view.get("type") or ""),
        str(view["url"]),
        watermark_url=as_text(view.get("watermark_url")),
        source_url=as_text(view.get("source_url")),
        url_expires_at=read_time(view.get("url_expires_at")),
        expires_at=read_time(view.get("expires_at")),
        saved_at=read_time(view.get("saved_at")),
        removed_at=read_time(view.get("removed_at")),
        sha256=as_text(view.get("sha256")),
        size=as_whole(view.get("size")),
        content_type=as_text(view.get("content_type")),
        width=as_whole(view.get("width")),
        height=as_whole(view.get("height")),
    )


def _saving(view: Mapping[str, Any] | None) -> Saving | None:
    if not view:
        return None
    return Saving(
        since=read_time(view.get("since")),
        tries=int(view.get("tries") or 0),
        error=as_text(view.get("error")),
        next_try_at=read_time(view.get("next_try_at")),
        given_up_at=read_time(view.get("given_up_at")),
    )


def _error(view: Mapping[str, Any]) -> JobError:
    return JobError(str(view.get("code") or ""), str(view.get("message") or ""))


def _revision(view: Mapping[str, Any]) -> Revision:
    error = view.get("error")
    return Revision(
        revision=int(view["revision"]),
        status=Status(view["status"]),
        error=_error(error) if error else None,
        failure=view.get("class"),
        cost=as_money(view.get("cost")),
        first_attempt=int(view.get("first_attempt") or 1),
        last_attempt=int(view.get("last_attempt") or 1),
        finished_at=read_time(view.get("finished_at")),
        corrected_at=read_time(view.get("corrected_at")),
        request=view.get("request"),
    )


def _review(view: Mapping[str, Any]) -> Review:
    return Review(
        output=int(view["output"]),
        verdict=view.get("verdict"),
        starred=bool(view.get("starred")),
        note=str(view.get("note") or ""),
        by=as_text(view.get("by")),
        at=read_time(view.get("at")),
    )


def _event(view: Mapping[str, Any]) -> JobEvent:
    at = datetime.fromisoformat(str(view["at"]).replace("Z", "+00:00"))
    return JobEvent(
        at, str(view["event"]), int(view.get("count") or 1), as_text(view.get("by")), as_text(view.get("cause"))
    )
