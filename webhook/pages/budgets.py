"""What was spent today, against caps: a part of several pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from jobs.liveness import Pulse
from jobs.read_models import Lane
from jobs.store.spending import key_caps, lane_caps
from jobs.units import dollars
from webhook.access.auth import caller
from webhook.services import services


@dataclass(frozen=True, slots=True)
class Budget:
    """What a lane or key has spent today, of its cap in USD (None: it has none). `unknown`: results of unknown cost."""

    kind: str
    name: str
    spent: Decimal
    cap: Decimal | None
    unknown: int


def read_budgets(lanes: Sequence[Lane], pulse: Pulse) -> tuple[list[Budget], datetime]:
    """Read today's spending, of lanes and of keys with a cap, and when the day ends. A producer gets its own."""
    settings = services().store.context.settings
    caps, all_lanes = key_caps(settings), lane_caps(settings.lanes)
    keys = sorted(caps) if caller().admin else [caller().name]
    names = [lane.name for lane in lanes] if caller().admin else []
    today = services().store.statistics.today(names, keys, now=pulse.now)
    found = [
        Budget("lane", name, today.lanes[name], _usd(all_lanes.get(name)), today.unknown_lanes[name]) for name in names
    ]
    found += [Budget("key", name, today.keys[name], _usd(caps.get(name)), today.unknown_keys[name]) for name in keys]
    return found, today.ends


def spent_today(budgets: Sequence[Budget]) -> Decimal:
    """Sum what was spent: every cost counts for one lane. A producer has no lanes in its budgets, and one key."""
    kind = "lane" if caller().admin else "key"
    return sum((each.spent for each in budgets if each.kind == kind), Decimal(0))


def _usd(cap: int | None) -> Decimal | None:
    return None if cap is None else dollars(cap)
