"""Parse the service's answers into records. Unknown fields are ignored; missing ones are an error."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from boomerang_client.errors import UnexpectedAnswer, line_errors
from boomerang_client.outputs import Output, Saving
from boomerang_client.record_fields import JobError, JobEvent, Pilot, Review, Revision, Status
from boomerang_client.responses import BatchAccepted, BatchChanged, Lane, Note, Overview, Spend, SpendRow, Trouble

#: What wrong answers raise when they are read.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, InvalidOperation)


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
        watermark_url=_text(view.get("watermark_url")),
        source_url=_text(view.get("source_url")),
        url_expires_at=read_time(view.get("url_expires_at")),
        expires_at=read_time(view.get("expires_at")),
        saved_at=read_time(view.get("saved_at")),
        removed_at=read_time(view.get("removed_at")),
        sha256=_text(view.get("sha256")),
        size=_whole(view.get("size")),
        content_type=_text(view.get("content_type")),
        width=_whole(view.get("width")),
        height=_whole(view.get("height")),
    )


def _saving(view: Mapping[str, Any] | None) -> Saving | None:
    if not view:
        return None
    return Saving(
        since=read_time(view.get("since")),
        tries=int(view.get("tries") or 0),
        error=_text(view.get("error")),
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
        by=_text(view.get("by")),
        at=read_time(view.get("at")),
    )


def _event(view: Mapping[str, Any]) -> JobEvent:
    at = datetime.fromisoformat(str(view["at"]).replace("Z", "+00:00"))
    return JobEvent(
        at, str(view["event"]), int(view.get("count") or 1), _text(view.get("by")), _text(view.get("cause"))
    )


def parse_batch(data: object) -> dict[str, Any]:
    """Return the fields of a batch. Raises UnexpectedAnswer."""
    view = as_object(data, "batch")
    try:
        counts: dict[Status, int] = {}
        for name, number in view["counts"].items():
            counts[Status(name)] = counts.get(Status(name), 0) + int(number)
        return {
            "id": str(view["id"]),
            "accepted": int(view["accepted"]),
            "done": bool(view["done"]),
            "cost": as_money(view.get("cost")) or Decimal(0),
            "counts": counts,
            "errors": _numbers(view.get("errors")),
            "classes": _numbers(view.get("classes")),
            "rate": as_number(view.get("rate")),
            "eta": as_number(view.get("eta")),
            "paused": bool(view.get("paused")),
            "awaits_approval": bool(view.get("awaits_approval")),
            "pilot": _pilot(view.get("pilot")),
            "reason": view.get("reason"),
            "labels": dict(view.get("labels") or {}),
            "priority": view.get("priority"),
            "weight": None if view.get("weight") is None else int(view["weight"]),
            "max_cost": as_money(view.get("max_cost")),
            "unknown_costs": int(view.get("unknown_costs") or 0),
            "expected_cost": as_money(view.get("expected_cost")),
            "to_save": int(view.get("to_save") or 0),
            "unsaved": int(view.get("unsaved") or 0),
            "reviews": _numbers(view.get("reviews")),
            "created_at": read_time(view.get("created_at")),
            "owner": view.get("owner"),
            "raw": view,
        }
    except MALFORMED as problem:
        raise unexpected("batch", problem) from problem


def _numbers(view: Mapping[str, Any] | None) -> dict[str, int]:
    return {str(name): int(number) for name, number in (view or {}).items()}


def _pilot(view: Mapping[str, Any] | None) -> Pilot | None:
    if view is None:
        return None
    cost = as_money(view.get("cost")) or Decimal(0)
    return Pilot(jobs=_whole(view.get("jobs")), unfinished=int(view.get("unfinished") or 0), cost=cost)


def read_changed(data: object) -> BatchChanged:
    """Parse the outcome of a change to a batch. Raises UnexpectedAnswer."""
    view = as_object(data, "change of a batch")
    try:
        return BatchChanged(
            id=str(view["id"]),
            action=str(view["action"]),
            affected=int(view["affected"]),
            pending=int(view.get("pending") or 0),
            raw=view,
        )
    except MALFORMED as problem:
        raise unexpected("change of a batch", problem) from problem


def read_accepted(data: object) -> BatchAccepted:
    """Parse the outcome of an upload. Raises UnexpectedAnswer."""
    view = as_object(data, "batch")
    try:
        errors = line_errors(view.get("errors") or ())
        return BatchAccepted(
            id=str(view["id"]),
            accepted=int(view["accepted"]),
            known=int(view.get("known") or 0),
            rejected=int(view.get("rejected") or len(errors)),
            errors=errors,
            pilot=_whole(view.get("pilot")),
            warnings=read_notes(view.get("warnings")),
        )
    except MALFORMED as problem:
        raise unexpected("batch", problem) from problem


def read_notes(given: Iterable[Mapping[str, Any]] | None) -> tuple[Note, ...]:
    """Parse what will stop or delay jobs. A service of an earlier version does not say it."""
    return tuple(Note(code=str(one["code"]), message=str(one["message"])) for one in given or ())


def read_spend(data: object) -> Spend:
    """Parse a spending report. Raises UnexpectedAnswer."""
    view = as_object(data, "spend")
    try:
        rows = tuple(
            SpendRow(name=str(row["name"]), cost=as_money(row["cost"]) or Decimal(0), jobs=int(row.get("jobs") or 0))
            for row in view["rows"]
        )
        return Spend(
            by=str(view["by"]),
            rows=rows,
            cost=as_money(view.get("cost")) or sum((row.cost for row in rows), Decimal(0)),
            jobs=int(view.get("jobs") or sum(row.jobs for row in rows)),
            raw=view,
        )
    except MALFORMED as problem:
        raise unexpected("spend", problem) from problem


def read_lane(data: object) -> Lane:
    """Parse a lane. Raises UnexpectedAnswer."""
    view = as_object(data, "lane")
    try:
        return Lane(
            name=str(view["name"]),
            slots=int(view.get("slots") or 0),
            max_in_flight=int(view.get("max_in_flight") or 0),
            limit=int(view.get("limit", view.get("max_in_flight")) or 0),
            ready=int(view.get("ready") or 0),
            held=bool(view.get("held")),
            held_until=read_time(view.get("held_until")),
            reason=view.get("reason"),
            breaker=view.get("breaker"),
            configured=bool(view.get("configured", True)),
            spent=as_money(view.get("spent")),
            raw=view,
        )
    except MALFORMED as problem:
        raise unexpected("lane", problem) from problem


def read_overview(data: object) -> Overview:
    """Parse the lanes with the troubles of the service. Raises UnexpectedAnswer."""
    lanes = tuple(read_lane(each) for each in read_list(data, "lanes"))
    view = as_object(data, "list of lanes")
    try:
        # A service of an earlier version does not report troubles.
        troubles = tuple(_trouble(each) for each in view.get("troubles") or ())
        return Overview(lanes=lanes, troubles=troubles, last_round_age=as_number(view.get("last_round_age")))
    except MALFORMED as problem:
        raise unexpected("list of lanes", problem) from problem


def _trouble(data: object) -> Trouble:
    view = as_object(data, "trouble")
    return Trouble(
        code=str(view["code"]),
        what=str(view["what"]),
        do=str(view.get("do") or ""),
        since=read_time(view.get("since")),
        raw=view,
    )


def read_list(data: object, name: str) -> list[Any]:
    """Return the list under `name` in an answer. Raises UnexpectedAnswer."""
    found = data.get(name) if isinstance(data, Mapping) else None
    if isinstance(found, list):
        return found
    raise unexpected(f"list of {name}", f"it has no list {name!r}")


def as_object(data: object, what: str) -> Mapping[str, Any]:
    """Return an answer that is an object. Raises UnexpectedAnswer."""
    if isinstance(data, Mapping):
        return data
    raise unexpected(what, f"{type(data).__name__} instead of an object")


def unexpected(what: str, problem: object) -> UnexpectedAnswer:
    """Return the error for an answer that is not what it should be."""
    return UnexpectedAnswer(
        f"The answer is not a {what} of Boomerang's API ({problem!r}). Check BOOMERANG_URL, then the versions."
    )


def as_money(value: object) -> Decimal | None:
    """Return an amount of US dollars; None where there is none."""
    return None if value is None or value == "" else Decimal(str(value))


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def as_number(value: Any) -> float | None:
    """Return a number; None where there is none."""
    return None if value is None else float(value)


def _text(value: Any) -> str | None:
    return str(value) if value else None


def read_time(value: str | None) -> datetime | None:
    """Parse a time in ISO 8601."""
    # Python 3.10 does not parse the "Z" of ISO 8601.
    return datetime.fromisoformat(value.replace("Z", "+00:00")) if value else None
