"""The event that no result of a batch is to be saved any more: once for each time, after the batch's end."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.claims import Due
from jobs.saved import Saved
from jobs.states import State
from tests.jobs.store.test_batch_events import Shop
from tests.support.bench import Bench, new
from tests.support.examples import examples

SAVED = Saved(datetime(2026, 1, 2, tzinfo=UTC), ())


class SavingShop(Shop):
    """A batch of a producer, in a service that saves results. `first`: before anything is delivered."""

    def __init__(self, bench: Bench, *, first: bool = False, **options: Any) -> None:
        super().__init__(bench, **options)
        store = bench.with_settings(result_store="file:///srv/results", complete_when_saved=first)
        self.saves = store.saves
        self.saves.announce()

    def begin_save(self, job_id: str) -> Due:
        self.bench.forward(61)
        dues = {due.job.id: due for due in self.saves.claim(60.0, 100, 100)}
        return dues[job_id]

    def save(self, *ids: str) -> None:
        for job_id in ids:
            assert self.saves.saved(self.begin_save(job_id), SAVED).outcome == "saved"

    def give_up(self, *ids: str) -> None:
        for job_id in ids:
            assert self.saves.give_up(self.begin_save(job_id), "it answered 404").outcome == "unsaved"

    def counts(self) -> tuple[int, int]:
        batch = self.bench.store.batches.get("b")
        return batch.to_save, batch.unsaved


@pytest.fixture
def shop(bench: Bench) -> SavingShop:
    return SavingShop(bench)


def test_results_saved_before_and_after_the_end_are_one_event(shop: SavingShop) -> None:
    shop.add("a", "b", "c")
    shop.end("a")
    assert shop.counts() == (1, 0)
    shop.save("a")
    assert (shop.ids(), shop.counts()) == ([], (0, 0))
    shop.end("b")
    shop.end("c")
    assert shop.ids() == ["finished.1"]
    shop.save("c")
    assert (shop.ids(), shop.counts()) == (["finished.1"], (1, 0))
    shop.save("b")
    assert shop.ids() == ["finished.1", "saved.2"]
    assert shop.bench.audit() == []


@pytest.mark.parametrize("last", [State.FAILED, State.CANCELLED])
def test_a_batch_whose_results_are_saved_already_has_it_at_its_end(shop: SavingShop, last: State) -> None:
    shop.add("a", "b")
    shop.end("a")
    shop.save("a")
    shop.end("b", last)
    assert shop.ids() == ["finished.1", "saved.2"]


def test_a_batch_without_results_has_it_at_its_end(shop: SavingShop) -> None:
    shop.add("a")
    shop.end("a", State.FAILED)
    assert shop.ids() == ["finished.1", "saved.2"]


def test_results_that_are_given_up_are_named(shop: SavingShop) -> None:
    shop.add("a", "b", "c")
    for each in "abc":
        shop.end(each)
    shop.save("a")
    shop.give_up("c")
    assert shop.ids() == ["finished.1"]
    shop.give_up("b")
    assert shop.ids() == ["finished.1", "saved.2"]
    assert (shop.counts(), shop.events.unsaved("b")) == ((0, 2), ["c", "b"])
    # An operator has them saved after all
    shop.saves.retry(["b", "c"])
    assert (shop.counts(), shop.ids()) == ((2, 0), ["finished.1", "saved.2"])
    shop.save("b", "c")
    assert (shop.counts(), shop.events.unsaved("b")) == ((0, 0), [])
    assert shop.ids() == ["finished.1", "saved.2", "saved.3"]
    assert shop.bench.audit() == []


def test_results_that_nobody_saves_before_they_expire_are_given_up_with_the_event(shop: SavingShop) -> None:
    shop.add("a")
    shop.end("a")
    shop.bench.forward(40 * 24 * 3600)
    for _ in range(3):  # the workers are back for longer than their margin
        shop.saves.announce()
        shop.bench.forward(2000)
    shop.saves.find_due()
    assert (shop.ids(), shop.events.unsaved("b")) == (["finished.1", "saved.2"], ["a"])


def test_a_batch_that_grows_has_it_again(shop: SavingShop) -> None:
    shop.add("a")
    shop.end("a")
    shop.add("b")
    shop.save("a")
    assert shop.ids() == ["finished.1"]
    shop.end("b")
    shop.save("b")
    assert shop.ids() == ["finished.1", "finished.2", "saved.3"]
    shop.add("c")
    shop.end("c")
    shop.save("c")
    assert shop.ids() == ["finished.1", "finished.2", "saved.3", "finished.4", "saved.5"]


def test_a_late_result_of_a_cancelled_job_is_saved_with_another_event(shop: SavingShop) -> None:
    shop.add("a", "b")
    shop.end("b")
    attempts = shop.bench.store.attempts
    attempts.admit(10)
    (claim,) = attempts.claim(["a"])
    attempts.mark_in_progress("a", claim.fence, "t1")
    shop.end("a", State.CANCELLED)
    shop.save("b")
    assert shop.ids() == ["finished.1", "saved.2"]
    images = shop.bench.store.jobs.get("b").result
    assert images is not None
    attempts.finish("a", State.COMPLETED, images, "callback")
    assert shop.ids() == ["finished.1", "saved.2"]
    shop.save("a")
    assert shop.ids() == ["finished.1", "saved.2", "saved.3"]


def test_without_a_result_store_there_is_none(bench: Bench) -> None:
    shop = Shop(bench)
    shop.add("a")
    shop.end("a")
    assert shop.ids() == ["finished.1"]


def test_a_batch_without_an_address_has_none(bench: Bench) -> None:
    shop = SavingShop(bench, callback_url=None)
    shop.add("a", "b")
    shop.end("a")
    shop.end("b")
    shop.give_up("a")
    shop.save("b")
    assert (shop.ids(), shop.counts()) == ([], (0, 1))


def test_the_end_of_a_batch_waits_for_its_results_if_the_operator_wants_that(bench: Bench) -> None:
    shop = SavingShop(bench, first=True)
    shop.add("a", "b")
    shop.end("a")
    shop.end("b")
    assert shop.ids() == []
    shop.save("a")
    assert shop.ids() == []
    # It grows meanwhile
    shop.add("c")
    shop.give_up("b")
    assert shop.ids() == []
    shop.end("c")
    assert shop.ids() == []
    shop.save("c")
    assert shop.ids() == ["finished.1", "saved.2"]
    shop.add("d")
    shop.end("d", State.FAILED)
    assert shop.ids() == ["finished.1", "saved.2", "finished.3", "saved.4"]


def test_results_saved_during_an_upload_of_all_lines_are_announced_at_its_end(shop: SavingShop) -> None:
    uploads, batches = shop.bench.store.uploads, shop.bench.store.batches
    shop.add("a")
    shop.end("a")
    uploads.stage("t", [new("a")])
    shop.bench.raw.hset(shop.bench.keys.member("batch", "b"), mapping={"do": "commit", "only": "t", "hits": 0})
    shop.bench.raw.zadd(shop.bench.keys.singleton("sweeps"), {"b": 1})
    shop.save("a")
    assert shop.ids() == ["finished.1"]
    while batches.sweep():
        pass
    assert shop.ids() == ["finished.1", "saved.2"]


def test_a_deleted_batch_leaves_nothing(bench: Bench) -> None:
    shop = SavingShop(bench, callback_url=None)
    shop.add("a")
    shop.end("a")
    shop.give_up("a")
    bench.forward(10**7)
    bench.with_settings(retention=50).jobs.purge()
    bench.with_settings(retention=50).jobs.purge()
    assert not [key for key in bench.dump() if key.startswith(("bs:", "bu:", "b:"))]


@pytest.mark.parametrize("family", ["batch_saves", "batch_unsaved"])
@pytest.mark.parametrize("ends", [True, False])
def test_damaged_indexes_neither_stop_a_job_nor_its_save(bench: Bench, family: str, ends: bool) -> None:
    shop = SavingShop(bench)
    shop.add("a")
    if ends:
        shop.end("a")
    key = bench.keys.member(family, "b")
    bench.raw.delete(key)
    bench.raw.set(key, "x")
    if not ends:
        shop.end("a")
    assert bench.store.batches.get("b").id == "b"
    shop.save("a")
    assert bench.store.jobs.get("a").saved


class Course:
    """What happens to a batch, and how often it must have the event."""

    def __init__(self, shop: SavingShop, *, repeats: bool) -> None:
        self.shop = shop
        self.repeats = repeats
        self.running, self.to_save, self.unsaved = list[str](), list[str](), list[str]()
        self.count, self.expected, self.changed = 0, 0, False

    def call(self, act: Callable[[], object]) -> None:
        act()
        if self.repeats:
            act()

    def add(self) -> bool:
        self.count += 1
        self.shop.add(f"j{self.count}")
        self.running.append(f"j{self.count}")
        return True

    def end(self, state: State) -> bool:
        if not self.running:
            return False
        job_id = self.running.pop(0)
        self.shop.end(job_id, state)
        if state is State.COMPLETED:
            self.to_save.append(job_id)
        return True

    def save(self) -> bool:
        if not self.to_save:
            return False
        due = self.shop.begin_save(self.to_save.pop())
        self.call(lambda: self.shop.saves.saved(due, SAVED))
        return True

    def give_up(self) -> bool:
        if not self.to_save:
            return False
        due = self.shop.begin_save(self.to_save.pop())
        self.call(lambda: self.shop.saves.give_up(due, "it answered 404"))
        self.unsaved.append(due.job.id)
        return True

    def save_again(self) -> bool:
        if not self.unsaved:
            return False
        self.call(lambda: self.shop.saves.retry(self.unsaved))
        self.to_save += self.unsaved
        self.unsaved.clear()
        return True

    def take(self, step: Callable[["Course"], bool]) -> bool:
        """Take a step, and check the events. Returns whether anything has changed."""
        changed = step(self)
        self.changed = self.changed or changed
        if self.changed and not self.running and not self.to_save:
            self.expected += 1
            self.changed = False
        events = [each.partition(".")[0] for each in self.shop.ids()]
        assert events.count("saved") == self.expected
        if self.count:
            assert self.shop.counts() == (len(self.to_save), len(self.unsaved))
        return changed


STEPS: Sequence[Callable[[Course], bool]] = [
    Course.add,
    lambda course: course.end(State.COMPLETED),
    lambda course: course.end(State.FAILED),
    lambda course: course.end(State.CANCELLED),
    Course.save,
    Course.give_up,
    Course.save_again,
]


@pytest.mark.parametrize("first", [False, True])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(30), deadline=None)
@given(steps=st.lists(st.sampled_from(STEPS), min_size=4, max_size=25), repeats=st.booleans())
def test_whatever_happens_it_follows_each_time_that_all_results_are_saved(
    bench: Bench, first: bool, steps: list[Callable[[Course], bool]], repeats: bool
) -> None:
    bench.raw.flushdb()
    bench.wind_up()
    course = Course(SavingShop(bench, first=first), repeats=repeats)
    for step in steps:
        course.take(step)
    while course.take(lambda course: course.end(State.COMPLETED)):
        pass
    while course.take(Course.save):
        pass
    assert bench.audit() == []
