"""Room: how much of what the service can hold each producer's key may use.

A part of all room is kept for each key, by its weight: others cannot fill that part, whatever they enqueue and never
have done. The rest is for the keys that come first, so that one key alone can use nearly all of it.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from jobs.key_limits import KeyLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The limits of unfinished jobs for new jobs of `owner`.

    `most`: of all owners together; `own`: of this one; None: no limit. `kept`: key → the part of `most` that is kept
    for it (`parts`).
    """

    owner: str = ""
    most: int | None = None
    own: int | None = None
    kept: Mapping[str, int] = field(default_factory=dict)

    def to_script_json(self) -> str:
        """Return it as JSON for `free_places` in shared/accept.lua; '' without limits."""
        if self.most is None and self.own is None:
            return ""
        limits = {"most": self.most, "own": self.own}
        set_ = {name: limit for name, limit in limits.items() if limit is not None}
        return json.dumps({"owner": self.owner, "kept": self.kept, **set_})


def parts(room: float, share: float, names: Collection[str], limits: Mapping[str, KeyLimits]) -> dict[str, int]:
    """Divide a `share` of all room among the keys, by weight. `limits`: of keys, the default where not named."""
    default = KeyLimits()
    weights = {name: limits.get(name, default).weight for name in names}
    whole = sum(weights.values())
    return {name: int(room * share * weight / whole) for name, weight in weights.items()}


def left_by_others(kept: Mapping[str, int], used: Mapping[str, int], owner: str) -> int:
    """Return how much of the parts of the other keys is not used: an owner must leave that much free."""
    return sum(max(0, part - used.get(name, 0)) for name, part in kept.items() if name != owner)
