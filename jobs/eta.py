"""The rate at which jobs of a batch end, and the time until it is done, from counters alone.

The batch's hash has a ring of fields `r:0` … , each for the jobs that ended in a span of `SPAN` seconds. A field holds
the number of its span (seconds since 1970 / SPAN) times `SHIFT`, plus the count: one whole number, so that a span that
is over need not be cleared. Jobs that the producer cancelled are not counted: they say nothing about the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from jobs.fields import BatchCounter

SPAN = 5
RING = 12  #: spans, together a minute
SHIFT = 10_000_000
#: The shortest period (seconds) that counts, so that the first job that ends does not suggest a high rate.
LEAST = 1.0


def rate(fields: Mapping[str, str], now: float, begun: float) -> float:
    """Return the jobs that ended per second, in the last minute or since `begun`. Times: seconds since 1970."""
    oldest = max(int(now // SPAN) - RING + 1, int(begun // SPAN))
    spans = (divmod(int(value), SHIFT) for name, value in fields.items() if name.startswith(BatchCounter.ENDED))
    ended = sum(count for span, count in spans if span >= oldest)
    return ended / max(now - max(oldest * SPAN, begun), LEAST)


@dataclass(frozen=True, slots=True)
class Pace:
    """What lanes let through, as far as is known.

    `jobs` a second by their slots and rates (0: any number, so that only the batch's own rate can tell), of which a
    batch has its `share` (0 to 1). `took`: seconds that a job takes at the provider, None where none has ended there.
    """

    took: float | None = None
    jobs: float = 0.0
    share: float = 1.0

    def seconds(self, queued: int) -> float | None:
        """Return the seconds until `queued` waiting jobs have ended; None where that is unknown."""
        if self.took is None or (queued and not self.jobs):
            return None
        return (queued / (self.jobs * self.share) if queued else 0.0) + self.took


def share(flows: Mapping[str, int], weights: Mapping[str, int], class_: str, owner: str, weight: int) -> float:
    """What of the lanes a batch may count on, 0 to 1, beside those that wait now and of its class or a higher one.

    `flows`: `<class>|<owner>` -> the sum of the weights of its queues that wait; `weights`: of producers' keys, 1 where
    not named. It is the rule of admission (admit.lua), but for higher classes, which get all while they last.
    """
    others: set[str] = set()
    own = weight
    for flow, queues in flows.items():
        of_class, _, name = flow.partition("|")
        if queues > 0 and of_class <= class_:
            others.add(name)
            own = max(own, queues) if (of_class, name) == (class_, owner) else own
    others.discard(owner)
    mine = weights.get(owner, 1)
    return mine / (mine + sum(weights.get(name, 1) for name in others)) * weight / own


def pace(
    learned: Mapping[str, Mapping[str, float]], limits: Mapping[str, tuple[int, float]], share_of_it: float = 1.0
) -> Pace:
    """What lanes let through: `learned` of each (µs: `took` a job, `work` its images together; 0: nothing yet).

    `limits`: images at once and submissions a second of each lane, 0 being no limit.
    """
    known = [each for each in learned.values() if each["took"]]
    if not known:
        return Pace()
    took, work = (sum(each[name] for each in known) / len(known) / 1e6 for name in ("took", "work"))
    jobs = 0.0
    for name in learned:
        slots, submissions = limits.get(name, (0, 0.0))
        most = min(slots / work if slots else inf, submissions or inf)
        if most == inf:
            return Pace(took, 0.0, share_of_it)
        jobs += most
    return Pace(took, jobs, share_of_it)


def eta(
    *,
    left: int,
    queued: int,
    per_second: float,
    submit_rate: float,
    held: float,
    paused: bool,
    age: float = inf,
    pace: Pace | None = None,
) -> float | None:
    """Seconds until the `left` unfinished jobs, `queued` of them not sent yet, have ended; None where that is unknown.

    Jobs end as fast as slots come free, so the rate seen speaks for the slots, and for what others have of them;
    `submit_rate` (jobs a second, 0: no limit) bounds what may follow a rush, and a lane on hold for `held` seconds
    sends nothing before. Until jobs of the batch have had the time to end (it began, or continued, `age` seconds ago),
    and while none ends, `pace` has to do. Where it cannot tell, there is no base for an estimate yet.
    """
    if left == 0:
        return 0.0
    if paused and queued:
        return None
    wait = held if queued else 0.0
    expected = pace.seconds(queued) if pace else None
    young = pace is not None and pace.took is not None and age < 2 * pace.took
    if young or per_second == 0:
        return None if expected is None else wait + expected
    return wait + max(left / per_second, queued / submit_rate if submit_rate else 0.0)
