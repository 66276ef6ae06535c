"""When the jobs of a batch ended, from its first end to its last one, in a bounded number of columns.

The ends of the last minute are counted in the ring of `jobs.eta`. A span that leaves the ring, at most one every `SPAN`
seconds, is added to the field `ends` of the batch's hash: how many spans a column has, the number of the first column
(that of its first span, divided by it), and the count of each column. If they would be more than `COLUMNS`, each two
become one. So no end is left out, and most ends cost no further command of Redis.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from jobs.eta import SHIFT, SPAN
from jobs.fields import BatchCounter

#: Most columns that are stored, and most that are shown.
COLUMNS = 60


@dataclass(frozen=True, slots=True)
class Ends:
    """Jobs that ended, by time: the first column begins at `begun`, and each is `seconds` long. Empty: none ended."""

    begun: datetime
    seconds: int
    counts: tuple[int, ...]


def read_ends(fields: Mapping[str, str], until: float | None) -> Ends:
    """Return the ends of a batch, its hash given, up to its last one, or to `until` (seconds since 1970) if later.

    Cancelled jobs are not counted, and a job that was retried counts once more.
    """
    width, spans = _stored(fields.get(BatchCounter.ENDS, ""))
    for name, value in fields.items():
        if name.startswith(BatchCounter.ENDED):
            span, count = divmod(int(value), SHIFT)
            spans[span] += count
    if not spans:
        return Ends(datetime.fromtimestamp(0, UTC), SPAN, ())
    last = max(*spans, int((until or 0) // SPAN))
    while last // width - min(spans) // width >= COLUMNS:
        width *= 2
    first = min(spans) // width
    columns = Counter[int]()
    for span, count in spans.items():
        columns[span // width - first] += count
    counts = tuple(columns[number] for number in range(last // width - first + 1))
    return Ends(datetime.fromtimestamp(first * width * SPAN, UTC), width * SPAN, counts)


def is_damaged(text: str) -> bool:
    """Return whether this is not what the field holds. Then its ends are left out, and the next ones begin it anew."""
    return re.fullmatch(rf"[1-9]\d{{0,9}} \d{{1,10}}( \d{{1,12}}){{1,{COLUMNS}}}", text, re.ASCII) is None


def _stored(text: str) -> tuple[int, Counter[int]]:
    """Return the width of a column, and the first span of each with its count. Nothing where the text is damaged."""
    if is_damaged(text):
        return 1, Counter()
    width, first, *counts = map(int, text.split())
    return width, Counter({(first + number) * width: count for number, count in enumerate(counts) if count})
