"""A worker compares what Redis holds with what was seen of it, before each of its rounds."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from typing import Any

import pytest

from jobs.connections.client import connect
from jobs.errors import StoreUnavailable, WorkRefused
from jobs.new_job import NewJob
from jobs.settings import Settings
from jobs.states import State
from jobs.store.continuity import Continuity as StoredContinuity
from jobs.store.installation import Sighting
from jobs.store.store import Store
from jobs.store.witness import Witness
from worker.continuity import NOTE_INTERVAL, NOTE_REPEAT, Continuity


class Place:
    """The jobs' Redis and a broker (database 1), and workers that look at them by a clock that the test moves."""

    def __init__(self, url: str) -> None:
        self.settings = Settings(redis_url=url, broker_url=url.replace("/0", "/1"), submit_lease=1)
        self.state, self.broker = connect(url, text=False), connect(self.settings.broker_url)
        self.client = connect(url)
        self.store = Store(self.client, self.settings)
        self.state.flushall()
        self.seconds = 0.0
        self.made: list[Witness] = []

    def worker(self, *, tolerated: float = 0.0, witness: bool = True, recovery: bool = True) -> Continuity:
        """A worker's process that has just started."""
        store = Store(self.client, Settings(submit_lease=1, recovery=recovery))
        if witness:
            self.made.append(Witness(connect(self.settings.broker_url)))
        return Continuity(store, self.made[-1] if witness else None, tolerated=tolerated, clock=lambda: self.seconds)

    def enqueue(self, *names: str) -> None:
        self.store.jobs.enqueue([NewJob(id=name, text="{}", model="m") for name in names])

    def copy(self) -> Mapping[bytes, bytes]:
        """A backup."""
        return {key: self.state.dump(key) for key in self.state.scan_iter()}  # type: ignore[misc]

    def restore(self, backup: Mapping[bytes, bytes], *, restarted: bool = False) -> None:
        self.state.flushdb()
        for key, value in backup.items():
            self.state.restore(key, 0, value)
        if restarted:
            self.state.hset("{b}:epoch", "run", "another process")

    def seen(self) -> dict[str, Sighting]:
        """What the witness says."""
        return {each.installation: each for each in Witness(self.broker).read()}

    def close(self) -> None:
        closed: list[Any] = [*self.made, self.state, self.broker, self.client]
        for each in closed:
            each.close()


@pytest.fixture
def place(redis_url: str) -> Iterator[Place]:
    with closing(Place(redis_url)) as place:
        yield place


def test_a_first_start_begins_an_installation(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(WorkRefused):
        place.enqueue("fox")
    assert place.worker()()
    assert "a new installation begins" in caplog.text
    place.enqueue("fox")
    assert list(place.seen()) == [place.store.continuity.standing().installation]
    # and the next worker finds it
    there = place.store.continuity.standing().installation
    assert place.worker()()
    assert place.store.continuity.standing().installation == there


def test_jobs_of_an_older_version_are_accepted(place: Place) -> None:
    place.worker()()
    place.enqueue("fox")
    place.state.delete("{b}:epoch")
    place.broker.flushdb()
    assert place.worker()()
    assert place.store.jobs.get("fox").state is State.QUEUED


def refused(place: Place, worker: Continuity, caplog: pytest.LogCaptureFixture, words: str) -> None:
    """It refuses, tells once, and nothing is taken in or handed out by anybody; an operator can accept it."""
    caplog.clear()
    assert not worker()
    assert not worker()
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert words in errors[0]
    with pytest.raises(WorkRefused, match="recover"):
        place.enqueue("new")
    with pytest.raises(WorkRefused):
        place.store.attempts.claim(["fox"])
    assert words in place.store.continuity.refusal()
    # whoever starts now is refused, too
    assert not place.worker()()
    expected = place.store.continuity.standing().expected
    place.store.continuity.recover(known=[expected] if expected else ())
    assert worker()
    assert place.worker()()
    place.enqueue("new")
    place.seconds += NOTE_INTERVAL
    assert worker()
    assert place.worker()()


EMPTIED: dict[str, Callable[[Place], object]] = {
    "emptied while it runs": lambda place: place.state.flushdb(),
    "its record is gone": lambda place: place.state.delete("{b}:epoch"),
    "its record is damaged": lambda place: (place.state.delete("{b}:epoch"), place.state.set("{b}:epoch", "x")),
}


@pytest.mark.parametrize("emptied", EMPTIED)
@pytest.mark.parametrize("running", [True, False], ids=["a running worker", "a new worker"])
def test_an_emptied_redis_is_refused(
    emptied: str, running: bool, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    worker = place.worker()
    worker()
    place.enqueue("fox", "owl")
    place.seconds += NOTE_INTERVAL
    worker()
    there = place.store.continuity.standing().installation
    EMPTIED[emptied](place)
    refused(place, worker if running else place.worker(), caplog, "2 jobs accepted")
    assert place.store.continuity.standing().installation == there


@pytest.mark.parametrize("recovery", [True, False])
@pytest.mark.parametrize("restarted", [True, False])
@pytest.mark.parametrize("running", [True, False], ids=["a running worker", "a new worker"])
def test_a_redis_restored_from_a_backup_is_refused(
    running: bool, restarted: bool, recovery: bool, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    worker = place.worker(recovery=recovery)
    worker()
    place.enqueue("fox")
    backup = place.copy()
    place.enqueue("owl", "bat")
    place.seconds += NOTE_INTERVAL
    worker()
    place.restore(backup, restarted=restarted)
    # Producers are faster than any worker: it hides nothing
    place.enqueue("after-1", "after-2", "after-3")
    refused(place, worker if running else place.worker(recovery=recovery), caplog, "2 accepted jobs may be lost")


def test_work_resumes_when_the_right_data_return(place: Place) -> None:
    worker = place.worker()
    worker()
    place.enqueue("fox")
    place.seconds += NOTE_INTERVAL
    worker()
    right = place.copy()
    place.state.flushdb()
    assert not worker()
    place.restore(right, restarted=True)
    assert worker()
    assert place.worker()()
    place.enqueue("owl")


def test_a_tolerated_loss_is_looked_up_and_work_continues(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    worker = place.worker(tolerated=3600)
    worker()
    place.enqueue("fox")
    place.store.attempts.claim_due(1)
    backup = place.copy()
    place.enqueue("owl")
    worker()
    place.restore(backup)
    assert worker()
    assert "1 accepted job may be lost; work goes on" in caplog.text
    assert place.store.continuity.refusal() == ""
    place.store.attempts.admit(1)
    assert place.store.attempts.claim(["fox"]) == []
    assert place.store.jobs.get("fox").state is State.IN_DOUBT
    caplog.clear()
    assert worker()
    assert place.worker()()
    assert caplog.text == ""


def test_data_older_than_tolerated_are_refused(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    worker = place.worker(tolerated=3600)
    worker()
    place.enqueue("fox")
    place.store.attempts.claim_due(1)
    place.state.hincrby("{b}:totals", "round", -3700 * 1_000_000)
    backup = place.copy()
    place.enqueue("owl")
    worker()
    place.restore(backup)
    refused(place, worker, caplog, "1 accepted job may be lost")


@pytest.mark.parametrize("restarted", [True, False])
def test_work_continues_when_only_changes_are_lost(restarted: bool, place: Place) -> None:
    worker = place.worker()
    worker()
    place.enqueue("fox")
    backup = place.copy()
    place.store.attempts.admit(1)
    (claim,) = place.store.attempts.claim(["fox"])
    place.store.attempts.mark_in_progress("fox", claim.fence, "task")
    worker()
    place.restore(backup, restarted=restarted)
    assert worker()
    # The provider has it: it is looked up, not sent
    place.store.attempts.admit(1)
    assert place.store.attempts.claim(["fox"]) == []
    assert place.store.continuity.standing().epoch == 1


def test_a_restart_without_loss_keeps_the_epoch(place: Place) -> None:
    worker = place.worker(recovery=False)
    worker()
    place.enqueue("fox")
    place.store.attempts.admit(1)
    worker()
    place.restore(place.copy(), restarted=True)
    store = Store(place.client, Settings(submit_lease=1, recovery=False))
    # Nothing is sent before a worker has compared
    with pytest.raises(WorkRefused, match="no worker has looked"):
        store.attempts.claim(["fox"])
    assert worker()
    assert [claim.id for claim in store.attempts.claim(["fox"])] == ["fox"]
    assert place.store.continuity.standing().epoch == 0


def test_another_installation_is_refused(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    worker = place.worker()
    worker()
    place.enqueue("fox")
    place.seconds += NOTE_INTERVAL
    worker()
    ours = place.store.continuity.standing().installation
    place.state.hset("{b}:epoch", "installation", "f" * 32)
    refused(place, worker, caplog, ours[:8])
    assert place.store.continuity.standing().installation == "f" * 32


def test_a_jobs_url_that_leads_to_the_broker_is_refused(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.worker()()
    swapped = Place.__new__(Place)
    swapped.__dict__.update(place.__dict__)
    swapped.client, swapped.state = place.broker, connect(place.settings.broker_url, text=False)
    swapped.store = Store(place.broker, place.settings)
    with closing(swapped.state):
        # Even a new worker with another broker, which nobody has told anything
        worker = Continuity(swapped.store, None, tolerated=0)
        caplog.clear()
        assert not worker()
        assert "BOOMERANG_REDIS_URL leads to the broker" in caplog.text
        with pytest.raises(WorkRefused):
            swapped.enqueue("fox")


def test_exchanged_addresses_are_refused(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.worker()()
    place.enqueue("fox")
    store, witness = Store(place.broker, place.settings), Witness(place.client)
    assert not Continuity(store, witness, tolerated=0)()
    assert "BOOMERANG_REDIS_URL leads to the broker" in caplog.text


@pytest.mark.parametrize("damage", ["lost", "another type", "no note"])
def test_a_lost_witness_is_written_again(damage: str, place: Place) -> None:
    worker = place.worker()
    worker()
    place.broker.flushdb()
    if damage == "another type":
        place.broker.set("{b}:witness", "x")
    if damage == "no note":
        place.broker.hset("{b}:witness", place.store.continuity.standing().installation, "x")
    assert place.worker()()
    place.seconds += NOTE_REPEAT
    assert worker()
    assert list(place.seen()) == [place.store.continuity.standing().installation]


def test_without_a_readable_witness_only_a_redis_with_jobs_is_accepted(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    away = connect("redis://127.0.0.1:1/0")
    with closing(away):
        worker = Continuity(place.store, Witness(away), tolerated=0)
        # An empty Redis may have lost everything
        assert not worker()
        assert "the witness (BOOMERANG_BROKER_URL) cannot be read" in caplog.text
        with pytest.raises(WorkRefused):
            place.enqueue("fox")
        # One that holds jobs goes on
        place.worker()()
        assert worker()


def test_the_witness_is_read_as_soon_as_it_is_available(place: Place) -> None:
    worker = place.worker()
    worker()
    place.enqueue("fox")
    backup = place.copy()
    place.enqueue("owl")
    place.seconds += NOTE_INTERVAL
    worker()
    place.restore(backup)
    away = [True]

    class Sometimes(Witness):
        def read(self) -> tuple[Sighting, ...]:
            if away[0]:
                raise StoreUnavailable("away")
            return super().read()

    late = Continuity(place.store, Sometimes(place.broker), tolerated=0, clock=lambda: place.seconds)
    assert late()
    away[0] = False
    assert not late()


def test_without_a_witness_a_running_worker_remembers(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    worker = place.worker(witness=False)
    worker()
    place.enqueue("fox")
    worker()
    place.state.flushdb()
    caplog.clear()
    assert not worker()
    assert "Redis is empty" in caplog.text
    assert place.broker.dbsize() == 0


def test_two_installations_may_share_a_broker(place: Place, redis_url: str) -> None:
    place.worker()()
    place.enqueue("fox")
    with closing(connect(redis_url.replace("/0", "/2"))) as client:
        store = Store(client, place.settings)
        other = Continuity(store, Witness(place.broker), tolerated=0)
        # The second one is not taken for the first one's empty Redis without a word
        assert not other()
        store.continuity.recover()
        assert other()
        # then both go on, each by what was seen of itself
        assert place.worker()()
        assert Continuity(store, Witness(place.broker), tolerated=0)()
        assert len(place.seen()) == 2


def test_the_witness_is_written_rarely(place: Place) -> None:
    worker = place.worker()
    written = []

    class Counted(Witness):
        def write(self, sighting: Sighting) -> None:
            written.append(sighting)
            super().write(sighting)

    worker = Continuity(place.store, Counted(place.broker), tolerated=0, clock=lambda: place.seconds)
    for step in range(100):
        place.seconds = step / 10
        worker()
        if step == 50:
            place.enqueue("fox")
    assert len(written) == 2
    for step in range(100):
        place.enqueue(f"j{step}")
        place.seconds += 0.1
        worker()
    assert len(written) <= 13


class Killed(Exception):
    """As a SIGKILL: nothing after it is done."""


VERBS = ("standing", "establish", "refuse", "tolerate")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("tolerated", [0.0, 3600.0])
def test_the_next_worker_completes_a_check_that_was_killed_at_any_step(
    tolerated: float, verb: str, after: bool, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.worker()()
    place.enqueue("fox")
    place.store.attempts.claim_due(1)
    backup = place.copy()
    place.enqueue("owl")
    place.seconds += NOTE_INTERVAL
    place.worker()()
    place.restore(backup, restarted=True)
    original = getattr(StoredContinuity, verb)

    def killed(self: StoredContinuity, *args: Any, **kwargs: Any) -> Any:
        if after:
            original(self, *args, **kwargs)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(StoredContinuity, verb, killed)
        with suppress(Killed):
            place.worker(tolerated=tolerated)()
    sound = place.worker(tolerated=tolerated)()
    assert sound == (tolerated > 0)
    assert bool(place.store.continuity.refusal()) == (not sound)
    assert place.store.continuity.standing().epoch == (1 if sound else 0)
