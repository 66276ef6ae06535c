"""Limits of lanes and keys that are changed while the service runs (jobs/limits.py)."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jobs.limits import (
    AllOverrides,
    Override,
    Overrides,
    Subject,
    apply,
    expired_fields,
    read_overrides,
    to_text,
    without_expired,
)
from jobs.settings import Settings
from jobs.store.scripts import Scripts
from jobs.units import from_micros

#: Seconds after which a process notices a change.
MAX_AGE = 1.0


@dataclass(frozen=True, slots=True)
class _State:
    """What was read last: as it is stored, decoded, without what has expired, and the settings that follow."""

    stored: Mapping[str, str]
    decoded: AllOverrides
    overrides: AllOverrides
    in_force: Settings


class Limits:
    """The changed limits, beside the configured ones. All methods raise `StoreUnavailable`."""

    def __init__(
        self,
        scripts: Scripts,
        configured: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scripts = scripts
        self._configured = configured
        self._clock = clock
        self._read_at: float | None = None
        self._state = _State({}, {}, {}, configured)

    def in_force(self) -> Settings:
        """Return the settings with the limits in force. The same object until a limit changes."""
        now = self._clock()
        # Two threads may read at once, which does no harm.
        if self._read_at is None or now - self._read_at >= MAX_AGE:
            self._refresh()
            self._read_at = now
        return self._state.in_force

    def overrides(self, subject: Subject, name: str) -> Overrides:
        """Return the changed limits of a lane or key."""
        self.in_force()
        return self._state.overrides.get((subject, name), {})

    def change(
        self,
        subject: Subject,
        name: str,
        values: Mapping[str, Any],
        *,
        reset: Collection[str] = (),
        by: str = "",
        reason: str = "",
        expires_in: float | None = None,
    ) -> None:
        """Change these limits of a lane or key to valid values; `reset` gives others their configured values back.

        `expires_in`: seconds after which the configured values are back.
        """
        now, known = self._read()
        until = None if expires_in is None else now + timedelta(seconds=expires_in)
        stored: list[str] = []
        for limit, value in values.items():
            override = Override(value=value, at=now, until=until, by=by, reason=reason)
            stored += (f"{subject}{name}|{limit}", to_text(subject, limit, override))
        gone = [f"{subject}{name}|{limit}" for limit in reset if limit not in values]
        gone += sorted(expired_fields(read_overrides(known), now) - set(stored))
        self._scripts.call("change_limits", len(values), *stored, *gone)
        self._read_at = None

    def _refresh(self) -> None:
        now, stored = self._read()
        before = self._state
        decoded = before.decoded if stored == before.stored else read_overrides(stored)
        overrides = without_expired(decoded, now)
        in_force = before.in_force if overrides == before.overrides else apply(self._configured, overrides)
        self._state = _State(stored, decoded, overrides, in_force)

    def _read(self) -> tuple[datetime, dict[str, str]]:
        now, flat = self._scripts.call("limits")
        return from_micros(now), dict(zip(flat[::2], flat[1::2], strict=True))
