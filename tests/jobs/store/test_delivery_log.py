"""The log of notifications: what attempts leave, who may read it and send them again, and the health of receivers."""

from typing import Any

import pytest

from jobs.delivery_log import (
    ATTEMPTS_KEPT,
    Attempt,
    EnableOutcome,
    NotificationState,
    ReplayOutcome,
    address_without_secrets,
)
from jobs.fields import Field
from jobs.job import Delivery
from jobs.receivers import FAILURES_TO_OPEN, LONGEST_PAUSE, BeginOutcome
from jobs.states import State
from jobs.store.attempts import DUE_LEASE
from jobs.units import from_micros
from tests.support.bench import Bench

HOST = "hooks.shop.example"
S = NotificationState


class Producer:
    """Ended jobs of a producer, and attempts to notify it."""

    def __init__(self, bench: Bench, name: str = "shop") -> None:
        self.bench, self.name = bench, name

    def ended(self, job_id: str, owed: str = "n") -> None:
        self.bench.job(job_id, owed=owed, owner=self.name)
        self.bench.store.jobs.cancel(job_id)
        self.bench.raw.sadd("{b}:producers", self.name)

    def attempt(self, job_id: str, error: str = "", *, host: str = HOST, wait: float | None = 60.0, **more: Any) -> str:
        """Attempt a notification. Returns the outcome of asking for a place."""
        deliveries = self.bench.store.deliveries
        self.bench.forward(0.1)
        (due,) = deliveries.claim([job_id])
        turn = deliveries.begin_notification(due, host, 100)
        if turn.outcome is BeginOutcome.GRANTED:
            status = None if error else 204
            address = f"https://{host}/hook"
            attempt = Attempt(id=f"{job_id}.x", at=due.now, address=address, status=status, took=0.25, error=error)
            ended = {"retry_in": wait if error else None, "why": error, "attempt": attempt, **more}
            deliveries.end_notification(due, turn, limit=100, random=0.5, **ended)
        return turn.outcome.value

    def state(self, job_id: str) -> str | None:
        found = self.bench.store.delivery_log.of_job(self.bench.store.jobs.get(job_id))
        return found.state.value if found else None

    def listed(self, *states: S, **where: Any) -> list[str]:
        return [each.id for each in self.bench.store.delivery_log.page([self.name], states, **where).notifications]


@pytest.fixture
def shop(bench: Bench) -> Producer:
    return Producer(bench)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://shop.example/hook", "https://shop.example/hook"),
        ("https://user:secret@shop.example:8443/a?token=secret&b=2#x", "https://shop.example:8443/a?token=…&b=…"),
        ("https://shop.example?secret", "https://shop.example?…"),
        ("https://shop.example/x?a=b&secret&c=#y", "https://shop.example/x?a=…&…&c=…"),
        ("https://shop.example/x?=secret&", "https://shop.example/x?=…&…"),
        ("http://[::1]:80/", "http://[::1]:80/"),
    ],
)
def test_an_address_is_logged_without_secrets(url: str, address: str) -> None:
    assert address_without_secrets(url) == address


def test_a_notification_goes_through_its_states(shop: Producer) -> None:
    shop.ended("a")
    assert (shop.state("a"), shop.listed(S.PENDING)) == ("pending", ["a"])
    shop.attempt("a", "ReadTimeout")
    assert (shop.state("a"), shop.listed(S.PENDING), shop.listed(S.FAILED)) == ("failed", [], ["a"])
    shop.attempt("a", "ReadTimeout", wait=None)
    assert (shop.state("a"), shop.listed(S.GIVEN_UP), shop.listed(S.FAILED)) == ("given_up", ["a"], [])
    assert shop.bench.store.delivery_log.replay(["a"], "shop") == [ReplayOutcome.OWED]
    assert (shop.state("a"), shop.listed(S.GIVEN_UP)) == ("pending", [])
    assert shop.bench.store.jobs.get("a").undelivered == frozenset()
    shop.attempt("a")
    assert (shop.state("a"), shop.listed(S.DELIVERED), shop.listed()) == ("delivered", ["a"], ["a"])
    log = shop.bench.store.delivery_log.of_job(shop.bench.store.jobs.get("a"))
    assert log
    assert [each.error for each in log.attempts] == ["ReadTimeout", "ReadTimeout", ""]
    assert (log.attempts[-1].status, log.attempts[-1].took) == (204, 0.25)
    assert shop.bench.audit() == []


def test_a_job_that_notifies_nobody_leaves_nothing(shop: Producer) -> None:
    shop.ended("a", owed="")
    assert (shop.state("a"), shop.listed()) == (None, [])
    assert shop.bench.store.delivery_log.replay(["a"], "shop") == [ReplayOutcome.NOTHING]
    assert not [key for key in shop.bench.dump() if key.startswith(("ns:", "na:"))]


def test_a_waiting_notification_is_no_attempt(shop: Producer) -> None:
    shop.ended("a")
    (due,) = shop.bench.store.deliveries.claim(["a"])
    assert shop.bench.store.deliveries.begin_notification(due, HOST, 0).outcome == "waits"
    shop.bench.store.deliveries.postpone_notifications([(due, 5, "open")])
    assert shop.state("a") == "pending"


def test_notifications_are_postponed_together(shop: Producer) -> None:
    for each in ("a", "b", "c", "d"):
        shop.ended(each)
    deliveries = shop.bench.store.deliveries
    stale, *others = deliveries.claim(["a", "b", "c", "d"])
    deliveries.claim(["a"])
    shop.bench.raw.hset("{b}:j:b", Field.STATE, "frozen")
    for _ in range(2):  # an answer that got lost: the same again
        deliveries.postpone_notifications([(stale, 500, "away"), *((due, 500, "away") for due in others)])
    jobs = [shop.bench.store.jobs.get(each) for each in ("a", "c", "d")]
    assert [job.delivery_error for job in jobs] == [None, "away", "away"]
    assert {job.delivery_tries for job in jobs} == {0}
    assert {job.owed for job in jobs} == {frozenset({Delivery.NOTIFY})}
    of_a, of_c = shop.bench.alarm("a"), shop.bench.alarm("c")
    assert of_a is not None
    assert of_c is not None
    assert of_a <= DUE_LEASE < 400 < of_c <= 500  # whoever claimed `a` since then sends it


def test_the_log_of_a_job_is_bounded_and_deleted_with_it(shop: Producer) -> None:
    shop.ended("a")
    for number in range(ATTEMPTS_KEPT + 5):
        assert shop.attempt("a", f"error {number}") in {"granted", "open"}
        shop.bench.forward(LONGEST_PAUSE)
    assert shop.bench.raw.llen("{b}:na:a") == ATTEMPTS_KEPT
    shop.attempt("a")
    shop.bench.forward(shop.bench.store.context.settings.retention + 1)
    shop.bench.store.jobs.purge()
    assert not [key for key in shop.bench.dump() if key.startswith(("ns:", "na:"))]


def test_delivered_notifications_that_are_listed_are_bounded(shop: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.bench.raw.zadd("{b}:ns:d|shop", {f"old{number}": number for number in range(10_000)})
    shop.bench.raw.rpush("{b}:na:old0", "{}")
    shop.ended("a")
    shop.attempt("a")
    assert shop.bench.raw.zcard("{b}:ns:d|shop") == 10_000
    assert shop.bench.raw.zscore("{b}:ns:d|shop", "old0") is None
    assert not shop.bench.raw.exists("{b}:na:old0")


def test_a_job_that_is_retried_notifies_anew(shop: Producer) -> None:
    shop.ended("a")
    shop.attempt("a")
    shop.bench.store.jobs.retry("a")
    assert (shop.state("a"), shop.listed()) == (None, [])
    assert shop.bench.store.delivery_log.replay(["a"], "shop") == [ReplayOutcome.NOTHING]
    shop.bench.store.jobs.cancel("a")
    assert shop.listed(S.PENDING) == ["a"]


def test_pages_follow_one_another_also_where_times_are_equal(shop: Producer) -> None:
    ids = [f"job-{number}" for number in range(25)]
    for each in ids:
        shop.ended(each)
    for each in ids[::2]:
        shop.attempt(each, "no", host=f"{each}.example")
    seen: list[str] = []
    cursor, pages = None, 0
    while True:
        page = shop.bench.store.delivery_log.page(["shop"], cursor=cursor, limit=4)
        seen += [each.id for each in page.notifications]
        cursor, pages = page.cursor, pages + 1
        if cursor is None:
            break
    assert sorted(seen) == sorted(ids)
    assert pages == 7


def test_a_list_by_host_and_time(shop: Producer) -> None:
    for each, host in (("a", HOST), ("b", "other.example:8443"), ("c", HOST)):
        shop.ended(each)
        shop.bench.forward(10)
        shop.attempt(each, "no", host=host)
    assert shop.listed(host=HOST) == ["c", "a"]
    assert shop.listed(host="other.example:8443") == ["b"]
    assert shop.listed(since=from_micros(shop.bench.now - 15_000_000)) == ["c", "b"]


def test_a_producer_sees_and_replays_only_its_own(bench: Bench) -> None:
    shop, other = Producer(bench), Producer(bench, "other")
    shop.ended("a")
    other.ended("b")
    shop.attempt("a")
    other.attempt("b")
    assert (shop.listed(), other.listed()) == (["a"], ["b"])
    before = bench.dump()
    assert bench.store.delivery_log.replay(["a", "nothing"], "other") == [ReplayOutcome.UNKNOWN] * 2
    assert bench.dump() == before
    assert bench.store.delivery_log.replay(["a", "b"], "*") == [ReplayOutcome.OWED] * 2


def test_one_under_way_is_not_replayed(shop: Producer) -> None:
    shop.ended("a")
    (due,) = shop.bench.store.deliveries.claim(["a"])
    shop.bench.store.deliveries.begin_notification(due, HOST, 10)
    assert shop.bench.store.delivery_log.replay(["a"], "shop") == [ReplayOutcome.UNDER_WAY]


def test_a_replay_leaves_celery_messages_alone(shop: Producer) -> None:
    shop.ended("a", owed="cn")
    shop.attempt("a")
    deliveries = shop.bench.store.deliveries
    (due,) = deliveries.claim(["a"])
    deliveries.record(due, Delivery.CELERY, retry_in=500, why="not processed")
    shop.bench.store.delivery_log.replay(["a"], "shop")
    (due,) = deliveries.claim(["a"])
    assert due.owed == {Delivery.NOTIFY}
    shop.attempt("a")
    assert shop.bench.alarm("a") == pytest.approx(500, abs=0.2)
    assert shop.bench.audit() == []


def test_a_replay_of_a_job_that_the_provider_still_has(bench: Bench) -> None:
    bench.put(State.IN_PROGRESS, "a", owed="n", owner="shop")
    bench.store.jobs.cancel("a")
    shop = Producer(bench)
    shop.attempt("a")
    poll = bench.alarm("a")
    assert bench.store.delivery_log.replay(["a"], "shop") == [ReplayOutcome.OWED]
    assert bench.alarm("a") == 0
    shop.attempt("a")
    assert bench.alarm("a") == pytest.approx(poll, abs=0.2)
    assert bench.audit() == []


def test_many_are_spread_over_time(shop: Producer) -> None:
    ids = [f"job-{number}" for number in range(100)]
    for each in ids:
        shop.ended(each)
        shop.attempt(each)
    shop.bench.store.delivery_log.replay(ids, "shop")
    alarms = sorted(shop.bench.alarm(each) or 0 for each in ids)
    assert alarms[0] == 0
    assert 1 < alarms[-1] < 60
    assert len(set(alarms)) == len(ids)


def test_a_receiver_that_fails_for_too_long_is_disabled_until_it_is_enabled(shop: Producer) -> None:
    log, shortest = shop.bench.store.delivery_log, 3 * LONGEST_PAUSE
    for number in range(FAILURES_TO_OPEN + 40):
        shop.ended(f"job-{number}")
        if shop.attempt(f"job-{number}", "ConnectTimeout", disable_after=shortest) == "disabled":
            break
        (health,) = log.receivers("shop")
        assert health.failing_since
        shop.bench.forward(LONGEST_PAUSE / 2)
    (health,) = log.receivers("shop")
    assert health.disabled_at
    assert (health.name, health.error, health.accepted_at) == (HOST, "ConnectTimeout", None)
    assert (health.disabled_at - health.failing_since).total_seconds() >= shortest
    # No request is let through, however long it takes
    shop.bench.forward(LONGEST_PAUSE * 2)
    assert shop.attempt(f"job-{number}") == "disabled"
    assert log.enable("other", HOST) is EnableOutcome.UNKNOWN
    assert log.enable("shop", HOST) is EnableOutcome.ENABLED
    assert shop.attempt(f"job-{number}") == "granted"
    (health,) = log.receivers("shop")
    assert (health.disabled_at, health.failing_since, health.failures) == (None, None, 0)
    assert health.accepted_at


def test_an_answer_counts_although_the_lease_was_over(shop: Producer) -> None:
    deliveries = shop.bench.store.deliveries
    for number in range(FAILURES_TO_OPEN):
        shop.ended(f"job-{number}")
        (due,) = deliveries.claim([f"job-{number}"])
        turn = deliveries.begin_notification(due, HOST, 100)
        shop.bench.forward(40)
        deliveries.claim([f"job-{number}"])
        for _ in range(2):  # the reply is lost, and it is sent again
            deliveries.end_notification(due, turn, limit=100, random=0.5, retry_in=60, why="ReadTimeout")
        assert shop.bench.store.delivery_log.receivers("shop")[0].failures == number + 1
    shop.ended("next")
    assert shop.attempt("next") == "open"
