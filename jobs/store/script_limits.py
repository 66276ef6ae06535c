"""The limits in force as the scripts get them, made once for each change of the limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from jobs.settings import Settings
from jobs.store.spending import budgets, rules


@dataclass(frozen=True, slots=True)
class ScriptLimits:
    """`rules`: each lane's, by its name. `budgets`: those of all lanes."""

    settings: Settings
    rules: Mapping[str, str]
    budgets: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the limits of these settings."""
        return cls(settings, {lane.name: rules(settings, lane) for lane in settings.lanes}, budgets(settings))
