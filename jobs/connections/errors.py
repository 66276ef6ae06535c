"""Translation of redis-py's errors into those of this package (jobs.errors)."""

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
#: Server errors that pass by themselves, unlike those that report a mistake in the command.
_NOT_NOW = re.compile(
    # At the start, after the name of the script (Redis 6), or after that of the command in a pipeline (redis-py).
    r"(?:^|: |-)(?:OOM|MISCONF|LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY) "
    r"|command not allowed when used memory"
)
#: A verb met the record of a later version (`load` in record.lua).
_NEWER = re.compile(r"NEWER ([^\s,]+)")
#: A verb met something damaged (`damaged` in record.lua): what it is, and what is wrong with it.
_DAMAGED = re.compile(r"DAMAGED \[([^\]]*)\] ([^\n]*?)(?: script: [0-9a-f]{40}.*)?$", re.DOTALL)
#: Errors of a command or script on a value that this service does not write there. An error of a script that begins
#: with "expected" is about its arguments, and thus a bug of this service.
_ODD_VALUE = re.compile(
    r"WRONGTYPE|is not an integer|not a valid (?:integer|float)|is not a float|value is out of range|would overflow"
    r"|user_script:\d+: (?!expected |@?user_script|Unknown )"
)
#: The user lacks a right. The last two come from commands in scripts, since Redis 7.0.
_NO_RIGHT = re.compile(r"NOPERM|NOAUTH|WRONGPASS|no permissions to|can't run this command|can't access at least one")
#: A verb that accepts work or hands it out met a Redis without the jobs that it should hold (epoch.lua).
_REFUSED = re.compile(r"REFUSED \[(\w+)\] \[([^\]]*)\]")


def translated(error: redis.RedisError) -> Exception:
    """Return this package's error for one of redis-py's; return an error that only a bug can cause as it is."""
    text = str(error)
    if raised := _raised_by_script(text):
        return raised
    if isinstance(error, (redis.AuthenticationError, redis.exceptions.NoPermissionError)) or _NO_RIGHT.search(text):
        return AccessRefused(text)
    if isinstance(error, _REFUSALS) or _NOT_NOW.search(text):
        return StoreUnavailable(f"Redis (BOOMERANG_REDIS_URL) cannot do this now: {type(error).__name__}: {error}")
    if isinstance(error, redis.ResponseError) and _ODD_VALUE.search(text):
        return RecordDamaged("a key", text)
    return error


def _raised_by_script(text: str) -> Exception | None:
    if newer := _NEWER.search(text):
        return RecordTooNew(newer[1])
    if refused := _REFUSED.search(text):
        return WorkRefused(why_refused(*refused.groups()))
    if damaged := _DAMAGED.search(text):
        return RecordDamaged(fields.printable(damaged[1]), fields.printable(damaged[2]))
    return None


class translate_errors(ContextDecorator):  # noqa: N801 - it reads like contextlib's own
    """Raise redis-py's errors as those of this package: a context manager, and a decorator.

    It is a class because every call of a verb uses it: a generator would cost several times as much.
    """

    def __enter__(self) -> None:
        """Do nothing: there is no state."""

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        """Translate the block's error."""
        if isinstance(error, redis.RedisError) and (ours := translated(error)) is not error:
            raise ours from error
