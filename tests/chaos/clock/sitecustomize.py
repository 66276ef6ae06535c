"""A shifted clock for a process whose PYTHONPATH begins with this folder.

The file that `CHAOS_CLOCK` names holds how many seconds the clock is ahead. Writing it makes the clock jump. The
monotonic clock never changes. The first wrong time that is read creates a file beside it with the suffix `.used`.
"""

import datetime as dt
import os
import time
from pathlib import Path

_FILE = Path(os.environ["CHAOS_CLOCK"])
_time, _datetime = time.time, dt.datetime


def _ahead() -> float:
    try:
        ahead = float(_FILE.read_text("utf-8") or 0)
    except OSError:
        return 0.0
    if ahead:
        _FILE.with_suffix(".used").touch()
    return ahead


def _wrong_time() -> float:
    return _time() + _ahead()


class _Kind(type):
    """Count datetimes from the real clock as instances too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _datetime)


class _Wrong(_datetime, metaclass=_Kind):  # type: ignore[misc,valid-type]
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
        return _datetime.fromtimestamp(_wrong_time(), tz)

    @classmethod
    def utcnow(cls) -> dt.datetime:
        return _datetime.fromtimestamp(_wrong_time(), dt.UTC).replace(tzinfo=None)


time.time = _wrong_time
dt.datetime = _Wrong  # type: ignore[misc]
