"""Errors of redis-py, translated into those of this package: the one place that knows both."""

import re
from contextlib import ContextDecorator
from types import TracebackType

import redis

from jobs import fields
from jobs.errors import AccessRefused, RecordDamaged, RecordTooNew, StoreUnavailable, WorkRefused, why_refused

_REFUSALS = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.BusyLoadingError,
    redis.ReadOnlyError,
    redis.OutOfMemoryError,
)
#: Server errors that say "not now" rather than "you are wrong".
_NOT_NOW = re.compile(
    # At the start, after the name of the script (Redis 6), or after that of the command in a pipeline (redis-py).
    r"(?:^|: |-)(?:OOM|MISCONF|LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY) "
    r"|command not allowed when used memory"
)
#: A verb met the record of a later version (`load` in _record.lua).
_NEWER = re.compile(r"NEWER ([^\s,]+)")
#: A verb met something damaged (`damaged` in _record.lua), and says what and why.
_DAMAGED = re.compile(r"DAMAGED \[([^\]]*)\] ([^\n]*?)(?: script: [0-9a-f]{40}.*)?$", re.DOTALL)
#: What a command or a script comes to on a value that this service does not write there. An error of a script that
#: begins with "expected" is about its arguments, and a mistake of ours.
_ODD_VALUE = re.compile(
    r"WRONGTYPE|is not an integer|not a valid (?:integer|float)|is not a float|value is out of range|would overflow"
    r"|user_script:\d+: (?!expected |@?user_script|Unknown )"
)
#: The user lacks a right; the last two are said of commands in scripts, since 7.0.
_NO_RIGHT = re.compile(r"NOPERM|NOAUTH|WRONGPASS|no permissions to|can't run this command|can't access at least one")
#: A verb that takes work in or hands it out met a Redis without the jobs that it should hold (_epoch.lua).
_REFUSED = re.compile(r"REFUSED \[(\w+)\] \[([^\]]*)\]")


def translated(error: redis.RedisError) -> Exception:
    """The error of this package for one of redis-py's; what is a mistake of ours stays as it is."""
    said = str(error)
    if raised := _raised_by_script(said):
        return raised
    if isinstance(error, (redis.AuthenticationError, redis.exceptions.NoPermissionError)) or _NO_RIGHT.search(said):
        return AccessRefused(said)
    if isinstance(error, _REFUSALS) or _NOT_NOW.search(said):
        return StoreUnavailable(f"Redis (BOOMERANG_REDIS_URL) does not take this now: {type(error).__name__}: {error}")
    if isinstance(error, redis.ResponseError) and _ODD_VALUE.search(said):
        return RecordDamaged("something", said)
    return error


def _raised_by_script(said: str) -> Exception | None:
    if newer := _NEWER.search(said):
        return RecordTooNew(newer[1])
    if refused := _REFUSED.search(said):
        return WorkRefused(why_refused(*refused.groups()))
    if damaged := _DAMAGED.search(said):
        return RecordDamaged(fields.shown(damaged[1]), fields.shown(damaged[2]))
    return None


class translate_errors(ContextDecorator):  # noqa: N801 - it reads like contextlib's own
    """Raise redis-py's errors as those of this package: around a block, or as a decorator of a function.

    A class, since every call of a verb passes here: a generator would cost several times as much.
    """

    def __enter__(self) -> None:
        """Do nothing: there is no state."""

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        """Translate the block's error."""
        if isinstance(error, redis.RedisError) and (ours := translated(error)) is not error:
            raise ours from error
