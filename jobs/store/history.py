"""The recent past of all jobs, from counters (jobs.history)."""

from datetime import UTC, datetime

from jobs.connections.errors import translate_errors
from jobs.history import HOUR, HOURS_KEPT, MINUTE, MINUTES_KEPT, Period, read_period
from jobs.store.context import StoreContext


class History:
    """Reads and moves the counters. All methods raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._client = context.client
        self._keys = context.keys
        self._scripts = context.scripts

    def minutes(self, count: int, owner: str | None = None, now: datetime | None = None) -> tuple[Period, ...]:
        """Return the last minutes, oldest first, with the present one: of the jobs of one owner, or of all (None).

        Takes one round trip, whatever the number of jobs.
        """
        last = self._minute(now)
        numbers = range(last - min(count, MINUTES_KEPT) + 1, last + 1)
        rows = self._read([("ended_minute", number) for number in numbers])
        return tuple(
            read_period(_moment(number * MINUTE), MINUTE, [row], owner)
            for number, row in zip(numbers, rows, strict=True)
        )

    def hours(self, count: int, owner: str | None = None, now: datetime | None = None) -> tuple[Period, ...]:
        """Return the last hours, as `minutes` does."""
        minute = self._minute(now)
        last = minute * MINUTE // HOUR
        numbers = range(last - min(count, HOURS_KEPT) + 1, last + 1)
        # One more minute: it may not be moved yet.
        minutes = range(minute - MINUTES_KEPT - 1, minute + 1)
        names = [("ended_hour", number) for number in numbers] + [("ended_minute", number) for number in minutes]
        rows = self._read(names)
        of_minutes = dict(zip(minutes, rows[len(numbers) :], strict=True))
        return tuple(
            read_period(
                _moment(number * HOUR),
                HOUR,
                [row, *(each for at, each in of_minutes.items() if at * MINUTE // HOUR == number)],
                owner,
            )
            for number, row in zip(numbers, rows, strict=False)
        )

    def roll(self) -> bool:
        """Move a minute that is old enough to its hour. Returns whether there was one."""
        return bool(self._scripts.call("roll_history", MINUTES_KEPT, HOURS_KEPT))

    @staticmethod
    def _minute(now: datetime | None) -> int:
        return int((now or datetime.now(UTC)).timestamp()) // MINUTE

    @translate_errors()
    def _read(self, names: list[tuple[str, int]]) -> list[dict[str, str]]:
        with self._client.pipeline(transaction=False) as pipe:
            for family, number in names:
                pipe.hgetall(self._keys.member(family, str(number)))
            answers = pipe.execute(raise_on_error=False)
        return [each if isinstance(each, dict) else {} for each in answers]  # a damaged one counts as empty


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
