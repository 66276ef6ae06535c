"""One call of admission does a limited amount of work, and calls together reach every job that may go."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from jobs.audit.audit import audit
from jobs.job import Priority
from jobs.key_limits import KeyLimits
from jobs.lanes import LaneSettings, pooled
from jobs.new_job import BatchOptions
from jobs.states import State
from jobs.store.prices import PRICES_SURE
from jobs.store.store import Store
from tests.support.bench import Bench, new

#: Redis commands that one call may take. A thousand take some milliseconds.
MOST_COMMANDS = 5_000
#: (keys, queues of each key)
SHAPES = [(1, 600), (600, 1), (30, 20)]


@pytest.fixture
def short(bench: Bench) -> Store:
    """A store whose lane can pay for jobs of one image, but for none of four."""
    prices = bench.keys.singleton("prices")
    for price_class, price in (("kirin_image_omni|4|", "5000000"), ("kirin_image_omni|1|", "1000")):
        bench.raw.hset(prices, price_class, " ".join([price] * PRICES_SURE))
    high = {f"key {number}": KeyLimits(priority=Priority.HIGH) for number in range(250)}
    lanes = pooled([LaneSettings(max_cost_per_day=Decimal("0.004"))])
    return bench.with_settings(named_lanes=lanes, key_limits={**high, "last": KeyLimits(priority=Priority.LOW)})


def enqueue_dear(store: Store, keys: int, queues: int, named: str = "many") -> None:
    for key in range(keys):
        for queue in range(queues):
            options = BatchOptions(owner=f"{named} {key}", priority=Priority.HIGH)
            store.jobs.enqueue([new(f"{key}.{queue}", n=4)], f"{key}.{queue}", options)


def commands_of(bench: Bench, call: Callable[[], object]) -> int:
    """Return how many commands Redis runs for a call, also within scripts."""
    bench.raw.config_resetstat()
    call()
    return sum(each["calls"] for each in bench.raw.info("commandstats").values())


@pytest.mark.slow
@pytest.mark.parametrize(("keys", "queues"), SHAPES)
def test_a_lane_that_can_pay_for_no_job_keeps_redis_only_for_a_moment(
    bench: Bench, short: Store, keys: int, queues: int
) -> None:
    enqueue_dear(short, keys, queues)
    for _ in range(3):
        bench.forward(1)
        assert commands_of(bench, lambda: short.attempts.admit(20)) < MOST_COMMANDS
    assert audit(short) == []


@pytest.mark.parametrize("named", ["many", "key"])  # of the normal rank, and of a higher one
@pytest.mark.parametrize(
    "options",
    [
        BatchOptions(owner="press", priority=Priority.LOW),
        BatchOptions(owner="last"),
        BatchOptions(owner="{named} 0", priority=Priority.LOW),
        BatchOptions(owner="{named} 9"),
    ],
    ids=["low key", "key after all", "low class", "class after all"],
)
@pytest.mark.parametrize("shape", [(1, 60), (150, 1), (20, 16)])
def test_a_job_that_the_lane_can_pay_for_goes_soon_whatever_is_before_it(
    bench: Bench, short: Store, shape: tuple[int, int], options: BatchOptions, named: str
) -> None:
    enqueue_dear(short, *shape, named)
    options = replace(options, owner=options.owner.format(named=named))
    short.jobs.enqueue([new("cheap")], "one", options)
    for _ in range(100):
        bench.forward(1)
        if short.attempts.admit(20).ids == ("cheap",):
            break
    else:
        pytest.fail("the job is never reached")
    assert audit(short) == []


@pytest.mark.slow
@pytest.mark.parametrize("by", ["expired", "capped"])
def test_what_leaves_its_queue_without_being_admitted_is_taken_in_steps(bench: Bench, by: str) -> None:
    limits = {f"k{key}": KeyLimits(max_cost_per_day=Decimal("0.001")) for key in range(8)}
    store = bench.with_settings(key_limits=limits)
    bench.raw.hset(bench.keys.singleton("prices"), "kirin_image_omni|1|", " ".join(["5000000"] * PRICES_SURE))
    if by == "expired":
        store.jobs.enqueue([new(f"e{number}", expires_in=5) for number in range(1200)])
        bench.forward(10)
    else:
        for number in range(1200):
            store.jobs.enqueue([new(f"e{number}")], f"b{number}", BatchOptions(owner=f"k{number % 8}"))
    store.jobs.enqueue([new("one", owner="press")])
    left, calls = True, 0
    admitted: list[str] = []
    while left:
        admission = store.attempts.admit(20)
        left, calls = admission.more, calls + 1
        admitted += admission.ids
    assert admitted == ["one"]
    assert calls > 1
    if by == "expired":
        assert all(store.jobs.get(f"e{number}").state is State.EXPIRED for number in (0, 600, 1199))
    assert audit(store) == []
