"""The rate at which jobs of a batch end, and the time until all have ended, from counters alone.

The batch's hash has `RING` fields `r:0`, `r:1` …, used in turn. Each counts the jobs that ended in a span of `SPAN`
seconds: its value is the number of the span (seconds since 1970 / SPAN) times `SHIFT`, plus the count. The number of
the span tells an old count from a new one, so that nothing has to be cleared. Cancelled jobs are not counted, because
they do not show how fast the provider works.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from jobs.fields import BatchCounter
from jobs.job import CLASSES
from jobs.key_limits import KeyLimits
from jobs.lanes import LaneSettings

SPAN = 5
RING = 12  #: fields in use: together they cover a minute
SHIFT = 10_000_000
#: The shortest period (seconds) over which a rate is computed: one job that ends early must not suggest a high rate.
LEAST = 1.0


def rate(fields: Mapping[str, str], now: float, begun: float) -> float:
    """Return the jobs that ended per second, in the last minute or since `begun`. Times: seconds since 1970."""
    oldest = max(int(now // SPAN) - RING + 1, int(begun // SPAN))
    spans = (divmod(int(value), SHIFT) for name, value in fields.items() if name.startswith(BatchCounter.ENDED))
    ended = sum(count for span, count in spans if span >= oldest)
    return ended / max(now - max(oldest * SPAN, begun), LEAST)


@dataclass(frozen=True, slots=True)
class Pace:
    """The throughput of lanes.

    `jobs`: how many their slots and rates allow per second; 0: no limit, so that only the batch's own rate can tell.
    `share`: the batch's part of it, 0 to 1. `took`: seconds that a job takes at the provider; None: none has ended yet.
    """

    took: float | None = None
    jobs: float = 0.0
    share: float = 1.0

    def seconds(self, queued: int) -> float | None:
        """Return the seconds until `queued` waiting jobs have ended; None where that is unknown."""
        if self.took is None or (queued and not self.jobs):
            return None
        return (queued / (self.jobs * self.share) if queued else 0.0) + self.took


def share(flows: Mapping[str, int], limits: Mapping[str, KeyLimits], class_: str, owner: str, weight: int) -> float:
    """Return the part of the lanes' throughput that a batch gets, 0 to 1, while the present queues wait.

    `flows`: `<class>|<owner>` -> the sum of the weights of its queues that wait; `limits`: of producers' keys, the
    default where not named. Keys of a lower priority, and the key's own queues of a lower class, do not count. This is
    the rule of admission (admit.lua), except that it counts what has a higher priority or class as an equal, although
    that goes first while it lasts.
    """
    default = KeyLimits()
    own = limits.get(owner, default)
    others: dict[str, int] = {}
    higher, equal = 0, weight
    for flow, queues in flows.items():
        of_class, _, name = flow.partition("|")
        its = limits.get(name, default)
        if queues <= 0 or CLASSES[its.priority] > CLASSES[own.priority]:
            continue
        if name != owner:
            others[name] = its.weight
        elif of_class == class_:
            equal = max(weight, queues)
        elif of_class < class_:
            higher += queues
    return own.weight / (own.weight + sum(others.values())) * weight / (higher + equal)


def limits_of(
    lanes: Sequence[LaneSettings], learned: Mapping[str, Mapping[str, float]]
) -> dict[str, tuple[int, float]]:
    """Return the slots and the submissions per second of lanes: the lower of the configured and the learned limit."""
    limits = {}
    for lane in lanes:
        found = int(learned.get(lane.name, {}).get("limit") or 0) if lane.learn_limit else 0
        slots = min(lane.max_in_flight or found, max(found, 1)) if found else lane.max_in_flight
        limits[lane.name] = (slots, lane.submit_rate)
    return limits


def pace(
    learned: Mapping[str, Mapping[str, float]], limits: Mapping[str, tuple[int, float]], share_of_it: float = 1.0
) -> Pace:
    """Return the throughput of lanes.

    `learned`: for each lane, in µs, the average time that a job `took` and the `work` of all its images; 0: none yet.
    `limits`: for each lane, its slots and its submissions per second; 0: no limit.
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
    """Return the seconds until the `left` unfinished jobs have ended; None if that is unknown.

    `queued` of them are not sent yet. The observed rate, `per_second`, already reflects slots and other producers.
    `submit_rate` (jobs per second, 0: no limit) bounds it, and a lane on hold sends nothing for `held`
    seconds. The estimate comes from `pace` while the batch (which began, or continued, `age` seconds ago) is too young
    for jobs to have ended, and while none ends. If `pace` is unknown, there is no base for an estimate yet.
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
