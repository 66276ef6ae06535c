"""The client's calls and commands for notifications, against the service's own views."""

import json
from typing import Any

import pytest

from boomerang_client.delivery_records import read_delivery, read_receiver
from boomerang_client.errors import UnexpectedAnswer


def example(openapi: dict[str, Any], view: str) -> dict[str, Any]:
    """Return an object with every member of a view."""
    found: dict[str, Any] = {}
    for name, schema in openapi["components"]["schemas"][view]["properties"].items():
        if schema.get("type") == "array":
            found[name] = [example(openapi, schema["items"]["$ref"].rpartition("/")[2])]
        else:
            found[name] = schema.get("example", schema.get("enum", [0])[0])
    return found


def test_the_records_have_what_the_views_have(openapi: dict[str, Any]) -> None:
    view = example(openapi, "DeliveryView")
    delivery = read_delivery(view)
    for name in set(view) - {"attempts", "changed_at"}:
        assert getattr(delivery, name) == view[name]
    assert {name for name in view["attempts"][0] if not hasattr(delivery.attempts[0], name)} == set()
    receiver = read_receiver(example(openapi, "ReceiverView"))
    assert receiver.accepted_at
    assert receiver.name == "hooks.shop.example"


@pytest.mark.parametrize("view", [None, [], {}, {"job": "a", "event": "b", "state": "c", "attempts": [{}]}])
def test_another_shape_is_an_error(view: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        read_delivery(json.loads(json.dumps(view)))
