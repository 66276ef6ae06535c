"""Serializers of notifications and their receivers, as `schemas.views.deliveries` documents them."""

from typing import Any

from jobs.delivery_log import Notification, ReceiverHealth
from jobs.serializers.values import time_text


def serialize_notification(notification: Notification) -> dict[str, Any]:
    """Return a notification as `schemas.views.deliveries.DeliveryView` documents it."""
    return {
        "job": notification.job,
        "batch": notification.batch,
        "owner": notification.owner or None,
        "event": notification.event,
        "state": notification.state.value,
        "changed_at": notification.changed_at.isoformat(),
        "attempts": [
            {
                "id": each.id,
                "at": each.at.isoformat(),
                "address": each.address,
                "status": each.status,
                "took": each.took,
                "error": each.error or None,
                "next_at": time_text(each.next_at),
            }
            for each in notification.attempts
        ],
        "error": notification.error,
    }


def serialize_receiver(receiver: ReceiverHealth) -> dict[str, Any]:
    """Return a receiver of notifications as `schemas.views.deliveries.ReceiverView` documents it."""
    state = "failing" if receiver.failing_since else "healthy"
    return {
        "name": receiver.name,
        "owner": receiver.owner or None,
        "state": "disabled" if receiver.disabled_at else state,
        "accepted_at": time_text(receiver.accepted_at),
        "failing_since": time_text(receiver.failing_since),
        "failed_at": time_text(receiver.failed_at),
        "failures": receiver.failures,
        "error": receiver.error or None,
        "retry_at": time_text(receiver.open_until),
        "disabled_at": time_text(receiver.disabled_at),
    }
