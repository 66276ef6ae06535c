"""Serializer of the signs of life, as `schemas.views.liveness` documents them."""

from collections.abc import Sequence
from typing import Any

from jobs.liveness import Pulse, Trouble
from jobs.serializers.values import time_text


def serialize_liveness(pulse: Pulse | None, troubles: Sequence[Trouble]) -> dict[str, Any]:
    """Return the signs of life as `schemas.views.liveness` documents them. `pulse`: None where it cannot be read."""
    age = pulse.round_age if pulse else None
    return {
        "troubles": [
            {"code": each.code.value, "since": time_text(each.since), "what": each.what, "do": each.do}
            for each in troubles
        ],
        "last_round_age": None if age is None else round(age, 1),
    }
