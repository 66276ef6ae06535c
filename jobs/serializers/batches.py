"""Serializer of batches, as `schemas.views.batches` documents them."""

from typing import Any

from jobs.producer_ids import given_id
from jobs.read_models import Batch, Pilot
from jobs.review import LETTERS
from jobs.serializers.values import money_text


def serialize_batch(batch: Batch) -> dict[str, Any]:
    """Return a batch as `schemas.views.batches.BatchView` documents it."""
    return {
        "id": given_id(batch.id),
        "owner": batch.owner or None,
        "accepted": batch.accepted,
        "counts": {state.value: count for state, count in batch.counts.items()},
        "done": batch.done,
        "errors": dict(batch.errors),
        "classes": {failure.value: count for failure, count in batch.classes.items()},
        "labels": dict(batch.labels),
        "priority": batch.priority.value,
        "weight": batch.weight,
        "max_cost": money_text(batch.max_cost),
        "paused": batch.paused,
        "awaits_approval": batch.awaits_approval,
        "pilot": _pilot(batch.pilot),
        "rate": round(batch.rate, 3),
        "eta": None if batch.eta is None else round(batch.eta, 1),
        "reason": batch.reason,
        "reviews": {mark.value: batch.reviews.get(mark, 0) for mark in LETTERS},
        "cost": money_text(batch.cost),
        "unknown_costs": batch.unknown_costs,
        "expected_cost": money_text(batch.expected_cost),
        "to_save": batch.to_save,
        "unsaved": batch.unsaved,
        "created_at": batch.created_at.isoformat(),
    }


def _pilot(pilot: Pilot | None) -> dict[str, Any] | None:
    if pilot is None:
        return None
    return {"jobs": pilot.jobs, "unfinished": pilot.unfinished, "cost": money_text(pilot.cost)}
