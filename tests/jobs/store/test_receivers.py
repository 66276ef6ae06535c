"""Places for notifications: shared between producers, limited for each receiver, and closed by its circuit breaker."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobs.claims import Due
from jobs.delivery_log import EnableOutcome
from jobs.job import Delivery
from jobs.receivers import (
    FAILURES_TO_OPEN,
    FIRST_PAUSE,
    LEASE,
    LONGEST_PAUSE,
    MOST_TO_ONE,
    RECHECK,
    BeginOutcome,
    Turn,
    receiver_of,
)
from jobs.states import State
from tests.support.bench import Bench

HOST = "hooks.shop.example"


class Notifying:
    """Notifications of cancelled jobs, each with a claim. Each job's owner is the part of its id before the dot."""

    def __init__(self, bench: Bench, limit: int = 1000) -> None:
        self.bench, self.limit = bench, limit
        self.under_way: dict[str, tuple[Due, Turn]] = {}

    def claim(self, job_id: str) -> Due:
        store = self.bench.store
        if not self.bench.raw.exists("{b}:j:" + job_id):
            self.bench.job(job_id, owed="n", owner=job_id.partition(".")[0])
            store.jobs.cancel(job_id)
        (due,) = store.deliveries.claim([job_id])
        return due

    def begin(self, job_id: str, host: str = HOST) -> str:
        due = self.claim(job_id)
        turn = self.bench.store.deliveries.begin_notification(due, host, self.limit)
        if turn.outcome is BeginOutcome.GRANTED:
            self.under_way[job_id] = due, turn
        return turn.outcome.value

    def end(self, job_id: str, why: str = "", **options: Any) -> list[str]:
        due, turn = self.under_way.pop(job_id)
        wait = 60.0 if why else None
        given = {"limit": self.limit, "random": 0.5, "retry_in": wait, "why": why, **options}
        return self.bench.store.deliveries.end_notification(due, turn, **given)

    def accept(self, owner: str, host: str = HOST) -> None:
        """Let the receiver accept one notification."""
        assert self.begin(f"{owner}.first", host) == "granted"
        self.end(f"{owner}.first")

    def granted(self, owner: str, count: int, host: str = HOST) -> int:
        return sum(self.begin(f"{owner}.{number}", host) == "granted" for number in range(count))


@pytest.fixture
def notifying(bench: Bench) -> Notifying:
    return Notifying(bench)


@pytest.mark.parametrize(
    ("url", "receiver"),
    [
        ("https://Shop.example/hook?a=1", "shop.example"),
        ("https://shop.example.:443/", "shop.example"),
        ("http://shop.example:80", "shop.example"),
        ("http://shop.example:443/", "shop.example:443"),
        ("https://[2001:db8::1]:8443/", "2001:db8::1:8443"),
    ],
)
def test_a_receiver_is_the_host_with_an_unusual_port(url: str, receiver: str) -> None:
    assert receiver_of(url) == receiver


def test_a_receiver_that_never_accepted_has_few_requests_under_way(notifying: Notifying) -> None:
    assert notifying.granted("shop", 20) == FAILURES_TO_OPEN
    for _ in range(FAILURES_TO_OPEN):
        notifying.end(next(iter(notifying.under_way)), "ReadTimeout", begin=5)
    # Not one more, however many wait
    assert notifying.under_way == {}
    assert notifying.begin("shop.20") == "open"


def test_a_receiver_that_accepts_has_more(notifying: Notifying) -> None:
    notifying.accept("shop")
    assert notifying.granted("shop", 30) == MOST_TO_ONE


def test_an_owner_leaves_as_many_places_free_as_it_has(bench: Bench) -> None:
    notifying = Notifying(bench, limit=8)
    assert sum(notifying.granted("bad", 4, f"{number}.bad.example") for number in range(9)) == 4
    assert notifying.granted("shop", 9) == 2
    assert notifying.granted("third", 9) == 1


def test_an_end_begins_one_that_waits_of_the_owner_that_was_considered_least_recently(bench: Bench) -> None:
    notifying = Notifying(bench, limit=1)
    assert notifying.begin("bad.0") == "granted"
    for number in range(1, 5):
        assert notifying.begin(f"bad.{number}") == "waits"
        bench.forward(0.1)
    assert notifying.begin("shop.0") == "waits"
    assert notifying.begin("shop.1") == "waits"
    begun = []
    last = "bad.0"
    for _ in range(6):
        bench.forward(0.1)
        (last,) = notifying.end(last, begin=1)
        begun.append(last)
        # It has its place already, and a claim of its own
        assert notifying.begin(last) == "granted"
    assert begun[:4] == ["bad.1", "shop.0", "bad.2", "shop.1"]
    assert notifying.end(last) == []
    assert bench.raw.keys("{b}:w[rn]*") == bench.raw.keys("{b}:waiting*") == []


def test_one_that_waits_is_no_failure_and_asks_again_by_its_alarm(bench: Bench) -> None:
    notifying = Notifying(bench, limit=1)
    notifying.begin("shop.0")
    assert notifying.begin("shop.1") == "waits"
    assert bench.store.jobs.get("shop.1").delivery_tries == 0
    assert 0 < (bench.alarm("shop.1") or 0) <= LEASE + 1
    # Given a worker that was killed, the place is free after the lease
    bench.forward(LEASE + 1)
    assert notifying.begin("shop.1") == "granted"


def test_a_long_queue_asks_less_often(bench: Bench) -> None:
    notifying = Notifying(bench, limit=1)
    notifying.begin("shop.0")
    for number in range(1, 40):
        notifying.begin(f"shop.{number}")
    assert (bench.alarm("shop.39") or 0) > (bench.alarm("shop.1") or 0) + 1


def test_an_open_breaker_lets_one_probe_through_after_each_pause(notifying: Notifying) -> None:
    bench = notifying.bench
    assert notifying.granted("shop", FAILURES_TO_OPEN) == FAILURES_TO_OPEN
    for job_id in list(notifying.under_way):
        notifying.end(job_id, "ConnectTimeout")
    probes, begin = 0, bench.now
    pauses: list[float] = []
    while len(pauses) < 14:
        assert notifying.begin("shop.other") == "open"
        turn = bench.store.deliveries.begin_notification(notifying.claim("shop.probe"), HOST, 100)
        pauses.append(turn.pause)
        bench.forward(turn.pause)
        assert notifying.begin("shop.probe") == "granted"
        assert notifying.begin("shop.other") == "open"
        probes += 1
        notifying.end("shop.probe", "ConnectTimeout")
    assert FIRST_PAUSE / 2 <= pauses[0] <= FIRST_PAUSE
    assert pauses[1] > pauses[0]
    assert LONGEST_PAUSE / 2 <= pauses[-1] <= LONGEST_PAUSE
    assert (bench.now - begin) / 1e6 / probes > 600
    # An accepted probe closes it
    bench.forward(LONGEST_PAUSE)
    notifying.accept("shop")
    assert notifying.granted("shop", 40) == MOST_TO_ONE


def test_open_breakers_and_waiting_producers_are_counted(notifying: Notifying) -> None:
    load = notifying.bench.store.statistics.notifications
    assert (load().waiting_producers, load().open_breakers) == (0, 0)
    assert notifying.granted("shop", FAILURES_TO_OPEN + 2, "a.example") == FAILURES_TO_OPEN
    assert notifying.granted("bad", 2, "b.example") == 2
    assert (load().waiting_producers, load().open_breakers) == (1, 0)
    for job_id in list(notifying.under_way):
        notifying.end(job_id, "ConnectTimeout" if job_id.startswith("shop") else "")
    assert load().open_breakers == 1
    assert notifying.bench.store.delivery_log.enable("shop", "a.example") is EnableOutcome.ENABLED
    assert load().open_breakers == 0


def test_a_receiver_that_accepts_again_is_no_longer_counted_as_open(notifying: Notifying) -> None:
    notifying.granted("shop", FAILURES_TO_OPEN)
    for job_id in list(notifying.under_way):
        notifying.end(job_id, "ConnectTimeout")
    assert notifying.bench.store.statistics.notifications().open_breakers == 1
    notifying.bench.forward(LONGEST_PAUSE)
    notifying.accept("shop")
    assert notifying.bench.store.statistics.notifications().open_breakers == 0


def test_late_failures_of_one_outage_do_not_prolong_the_pause(notifying: Notifying) -> None:
    notifying.accept("shop")
    assert notifying.granted("shop", MOST_TO_ONE) == MOST_TO_ONE
    for job_id in list(notifying.under_way):
        notifying.end(job_id, "ReadTimeout")
    turn = notifying.bench.store.deliveries.begin_notification(notifying.claim("shop.next"), HOST, 100)
    assert turn.pause <= FIRST_PAUSE


def test_a_probe_whose_worker_was_killed_is_followed_by_another(notifying: Notifying) -> None:
    notifying.granted("shop", FAILURES_TO_OPEN)
    for job_id in list(notifying.under_way):
        notifying.end(job_id, "ConnectTimeout")
    notifying.bench.forward(FIRST_PAUSE)
    assert notifying.begin("shop.probe") == "granted"
    assert notifying.begin("shop.next") == "open"
    notifying.bench.forward(LEASE)
    assert notifying.begin("shop.next") == "granted"


def test_a_producer_cannot_open_the_breaker_of_another_one(notifying: Notifying) -> None:
    notifying.granted("bad", FAILURES_TO_OPEN)
    for job_id in list(notifying.under_way):
        notifying.end(job_id, "the callback_url answered 404")
    assert notifying.begin("bad.next") == "open"
    assert notifying.begin("shop.0") == "granted"


def test_a_success_between_failures_keeps_the_breaker_closed(notifying: Notifying) -> None:
    for number in range(3 * FAILURES_TO_OPEN):
        assert notifying.begin(f"shop.{number}") == "granted"
        notifying.end(f"shop.{number}", "" if number % FAILURES_TO_OPEN == 0 else "answered 500")


def test_what_no_longer_owes_a_notification_is_passed_over(bench: Bench) -> None:
    notifying = Notifying(bench, limit=1)
    notifying.begin("shop.0")
    for number in range(1, 15):
        assert notifying.begin(f"shop.{number}") == "waits"
    for number in range(1, 14):
        bench.store.deliveries.record(notifying.claim(f"shop.{number}"), "n")
    last = "shop.0"
    begun = notifying.end(last) or []
    if not begun:  # it considers ten at once
        notifying.begin("shop.again")
        begun = notifying.end("shop.again")
    assert begun == ["shop.14"]


def test_an_older_claim_gets_no_place(notifying: Notifying) -> None:
    due = notifying.claim("shop.0")
    notifying.claim("shop.0")
    turn = notifying.bench.store.deliveries.begin_notification(due, HOST, 10)
    assert turn.outcome is BeginOutcome.REFUSED


class Orders(RuleBasedStateMachine):
    """Begins, ends, kills and alarms in any order. The first receiver of owner `a` never accepts."""

    bench: Bench

    @initialize()
    def begin(self) -> None:
        self.bench.start_afresh()
        self.all = Notifying(self.bench, limit=5)
        self.owing = {f"{owner}.{n}": f"{n % 2}.{owner}.example" for owner in "ab" for n in range(8)}

    @rule(data=st.data(), kill=st.booleans())
    def a_begin(self, data: st.DataObject, kill: bool) -> None:
        if ids := sorted(self.owing.keys() - self.all.under_way.keys()):
            self.start(data.draw(st.sampled_from(ids)), kill=kill)

    def start(self, job_id: str, *, kill: bool = False) -> None:
        self.all.begin(job_id, self.owing[job_id])
        if kill:
            self.all.under_way.pop(job_id, None)

    @precondition(lambda self: self.all.under_way)
    @rule(data=st.data())
    def an_end(self, data: st.DataObject) -> None:
        self.finish(data.draw(st.sampled_from(sorted(self.all.under_way))))

    def finish(self, job_id: str) -> None:
        fails = self.owing[job_id] == "0.a.example"
        begun = self.all.end(job_id, "no" if fails else "", begin=2)
        if not fails:
            del self.owing[job_id]
        for each in begun:
            assert each in self.owing, f"{each} was notified before"
            self.start(each)
            assert each in self.all.under_way, "it has a place"

    @rule(seconds=st.floats(0.1, 40))
    def time_passes(self, seconds: float) -> None:
        self.bench.forward(seconds)
        # A worker's request has ended before its lease does.
        if seconds > LEASE / 2:
            self.all.under_way.clear()

    @invariant()
    def limits_hold(self) -> None:
        if not hasattr(self, "all"):
            return
        entries = [
            entry.split("|") for entry in self.bench.raw.zrangebyscore("{b}:notifying", f"({self.bench.now}", "+inf")
        ]
        owners = Counter(owner for owner, _, _ in entries)
        assert len(entries) <= 5
        assert max(owners.values(), default=0) <= 3
        assert Counter(host for _, host, _ in entries)["0.a.example"] <= FAILURES_TO_OPEN

    def teardown(self) -> None:
        """Without kills, alarms notify all receivers that accept."""
        if not hasattr(self, "all"):
            return
        rounds = 0
        while [host for host in self.owing.values() if host != "0.a.example"]:
            for job_id in list(self.all.under_way):
                self.finish(job_id)
            self.bench.forward(40)
            for job_id in self.owing.keys() - self.all.under_way.keys():
                self.start(job_id)
            rounds += 1
            assert rounds < 100, self.bench.dump()


def test_the_limits_hold_in_random_orders_and_nothing_is_left_behind(bench: Bench) -> None:
    class Here(Orders):
        pass

    Here.bench = bench
    run_state_machine_as_test(
        Here,
        settings=settings(max_examples=15, stateful_step_count=40, deadline=None, phases=[Phase.generate]),
    )


def test_a_job_with_a_place_may_be_looked_up_meanwhile(bench: Bench) -> None:
    bench.put(State.IN_PROGRESS, "shop.0", owed="n", owner="shop")
    bench.store.jobs.cancel("shop.0")
    notifying = Notifying(bench, limit=1)
    assert notifying.begin("shop.0") == "granted"
    bench.put(State.IN_PROGRESS, "shop.1", owed="n", owner="shop")
    bench.store.jobs.cancel("shop.1")
    assert notifying.begin("shop.1") == "waits"
    assert bench.audit() == []


@pytest.mark.parametrize("confirmation", [3, 3_000])
def test_a_receiver_delays_no_celery_message(bench: Bench, confirmation: int) -> None:
    deliveries = bench.store.deliveries
    bench.job("shop.1", owed="cn", owner="shop")
    bench.store.jobs.cancel("shop.1")
    (due,) = deliveries.claim(["shop.1"])
    deliveries.record(due, Delivery.CELERY, retry_in=confirmation, why="not processed")
    assert deliveries.begin_notification(due, HOST, 0).outcome == "waits"
    assert bench.alarm("shop.1") == pytest.approx(min(confirmation, RECHECK), abs=0.1)
    deliveries.record(due, Delivery.CELERY, retry_in=confirmation, why="not processed")
    deliveries.record(due, Delivery.NOTIFY, retry_in=300, why="open")
    assert bench.alarm("shop.1") == min(confirmation, 300)
    deliveries.record(due, Delivery.CELERY)
    deliveries.record(due, Delivery.NOTIFY, retry_in=300, why="open")
    assert bench.alarm("shop.1") == 300


@pytest.mark.parametrize("first", ["celery", "notification"])
def test_each_kind_has_its_own_time_and_tries(bench: Bench, first: str) -> None:
    """What repeats one kind neither repeats the other one nor counts as a try of it."""
    deliveries = bench.store.deliveries
    bench.job("shop.1", owed="cn", owner="shop")
    bench.store.jobs.cancel("shop.1")
    (due,) = deliveries.claim(["shop.1"])
    assert due.owed == {Delivery.CELERY, Delivery.NOTIFY}
    soon, late = (Delivery.CELERY, Delivery.NOTIFY) if first == "celery" else (Delivery.NOTIFY, Delivery.CELERY)
    deliveries.record(due, soon, retry_in=40, why="no")
    deliveries.record(due, late, retry_in=1_000, why="no")
    for count in range(2, 12):
        due = bench.due("shop.1")
        # The message of the round names the job, and its claim comes later
        bench.forward(0.5)
        (due,) = deliveries.claim(["shop.1"])
        assert due.owed == {soon}
        deliveries.record(due, soon, retry_in=40, why="no")
        job = bench.store.jobs.get("shop.1")
        assert (job.tries(soon), job.tries(late)) == (count, 1)
    deliveries.record(due, soon)
    assert bench.alarm("shop.1") == pytest.approx(1_000 - 10 * 40, abs=20)
    assert bench.audit() == []


def test_a_claim_before_either_time_leaves_the_alarm(bench: Bench) -> None:
    deliveries = bench.store.deliveries
    bench.job("shop.1", owed="cn", owner="shop")
    bench.store.jobs.cancel("shop.1")
    (due,) = deliveries.claim(["shop.1"])
    for kind in due.owed:
        deliveries.record(due, kind, retry_in=700, why="no")
    (again,) = deliveries.claim(["shop.1"])
    assert again.owed == frozenset()
    assert bench.alarm("shop.1") == 700


def test_a_second_message_for_a_notification_under_way_sends_nothing(notifying: Notifying) -> None:
    assert notifying.begin("shop.0") == "granted"
    first = notifying.under_way["shop.0"]
    assert notifying.begin("shop.0") == "refused"
    notifying.under_way["shop.0"] = first
    # Who sends it records the answer, although another claim was made
    notifying.end("shop.0")
    assert notifying.bench.store.jobs.get("shop.0").owed == frozenset()
    assert notifying.bench.alarm("shop.0") is None


def test_the_failure_of_one_under_way_counts_after_another_claim(notifying: Notifying) -> None:
    notifying.begin("shop.0")
    notifying.claim("shop.0")
    notifying.end("shop.0", "ReadTimeout", retry_in=77.0)
    assert notifying.bench.store.jobs.get("shop.0").delivery_tries == 1
    assert notifying.bench.alarm("shop.0") == 77


def test_a_notification_of_an_earlier_end_is_not_recorded(notifying: Notifying) -> None:
    bench = notifying.bench
    notifying.begin("shop.0")
    bench.store.jobs.retry("shop.0")
    bench.store.jobs.cancel("shop.0")
    notifying.end("shop.0")
    assert bench.store.jobs.get("shop.0").owed == {Delivery.NOTIFY}
    bench.forward(LEASE + 1)
    assert notifying.begin("shop.0") == "granted"


@pytest.mark.slow
@pytest.mark.parametrize("owed", ["n", "cn"])
def test_a_worker_killed_before_it_claims_what_it_was_given_costs_a_lease(bench: Bench, owed: str) -> None:
    notifying = Notifying(bench, limit=1)
    notifying.begin("shop.0")
    bench.job("shop.1", owed=owed, owner="shop")
    bench.store.jobs.cancel("shop.1")
    for number in range(2, 1_500):
        notifying.begin(f"shop.{number}")
    (due,) = bench.store.deliveries.claim(["shop.1"])
    if owed == "cn":
        bench.store.deliveries.record(due, Delivery.CELERY, retry_in=5_000, why="not processed")
    bench.raw.delete("{b}:waiting-owners", "{b}:wr:shop", "{b}:wn:shop|" + HOST)
    for number in range(2_000):
        bench.raw.zadd("{b}:wn:shop|" + HOST, {f"shop.gone{number}": number + 1e17})
    assert bench.store.deliveries.begin_notification(due, HOST, 1).outcome is BeginOutcome.WAITS
    assert (bench.alarm("shop.1") or 0) > 2 * LEASE
    assert notifying.end("shop.0") == ["shop.1"]
    # The worker that got the id is killed here
    assert (bench.alarm("shop.1") or 0) <= LEASE
    again = bench.due("shop.1")
    assert again.owed == {Delivery.NOTIFY}
