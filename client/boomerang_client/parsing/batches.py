"""Parse batches, and the outcomes of uploads and changes."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from boomerang_client.errors import line_errors
from boomerang_client.parsing.values import (
    MALFORMED,
    as_money,
    as_number,
    as_object,
    as_whole,
    read_time,
    unexpected,
)
from boomerang_client.record_fields import Pilot, Status
from boomerang_client.responses import BatchAccepted, BatchChanged, Note


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
    return Pilot(jobs=as_whole(view.get("jobs")), unfinished=int(view.get("unfinished") or 0), cost=cost)


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
            pilot=as_whole(view.get("pilot")),
            warnings=read_notes(view.get("warnings")),
        )
    except MALFORMED as problem:
        raise unexpected("batch", problem) from problem


def read_notes(given: Iterable[Mapping[str, Any]] | None) -> tuple[Note, ...]:
    """Parse what will stop or delay jobs. A service of an earlier version does not say it."""
    return tuple(Note(code=str(one["code"]), message=str(one["message"])) for one in given or ())
