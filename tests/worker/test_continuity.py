"""Before each round, a worker compares the jobs' Redis with what workers last saw of it."""

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


class Environment:
    """The jobs' Redis, a broker (database 1), and workers whose clock the test sets."""

    def __init__(self, url: str) -> None:
        self.settings = Settings(redis_url=url, broker_url=url.replace("/0", "/1"), submit_lease=1)
        self.state, self.broker = connect(url, text=False), connect(self.settings.broker_url)
        self.client = connect(url)
        self.store = Store(self.client, self.settings)
        self.state.flushall()
        self.seconds = 0.0
        self.made: list[Witness] = []

    def worker(self, *, tolerated: float = 0.0, witness: bool = True, recovery: bool = True) -> Continuity:
        """Return the check of a worker that has just started."""
        store = Store(self.client, Settings(submit_lease=1, recovery=recovery))
        if witness:
            self.made.append(Witness(connect(self.settings.broker_url)))
        return Continuity(store, self.made[-1] if witness else None, tolerated=tolerated, clock=lambda: self.seconds)

    def enqueue(self, *names: str) -> None:
        self.store.jobs.enqueue([NewJob(id=name, text="{}", model="m") for name in names])

    def copy(self) -> Mapping[bytes, bytes]:
        """Return a backup of the jobs' Redis."""
        return {key: self.state.dump(key) for key in self.state.scan_iter()}  # type: ignore[misc]

    def restore(self, backup: Mapping[bytes, bytes], *, restarted: bool = False) -> None:
        self.state.flushdb()
        for key, value in backup.items():
            self.state.restore(key, 0, value)
        if restarted:
            self.state.hset("{b}:epoch", "run", "another process")

    def age(self, seconds: int) -> None:
        """Make the last round and all changes that old."""
        self.state.hincrby("{b}:totals", "round", -seconds * 1_000_000)
        changes: Any = self.state.xrange("{b}:changes")
        self.state.delete("{b}:changes")
        for entry, fields in changes:
            ms, number = map(int, entry.split(b"-"))
            self.state.xadd("{b}:changes", fields, f"{ms - seconds * 1000}-{number}")

    def seen(self) -> dict[str, Sighting]:
        """Return what the witness holds, by installation."""
        return {each.installation: each for each in Witness(self.broker).read()}

    def close(self) -> None:
        closed: list[Any] = [*self.made, self.state, self.broker, self.client]
        for each in closed:
            each.close()


@pytest.fixture
def environment(redis_url: str) -> Iterator[Environment]:
    with closing(Environment(redis_url)) as environment:
        yield environment


def test_a_first_start_begins_an_installation(environment: Environment, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(WorkRefused):
        environment.enqueue("fox")
    caplog.set_level(logging.INFO)
    assert environment.worker()()
    (beginning,) = caplog.records
    assert beginning.levelno == logging.INFO
    environment.enqueue("fox")
    assert list(environment.seen()) == [environment.store.continuity.standing().installation]
    # And the next worker finds the same installation
    there = environment.store.continuity.standing().installation
    assert environment.worker()()
    assert environment.store.continuity.standing().installation == there


def test_an_empty_redis_without_a_witness_is_a_warning(
    environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    # After a loss of all jobs, a worker that starts without a witness sees the same
    assert environment.worker(witness=False)()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_jobs_of_an_older_version_are_accepted(environment: Environment, caplog: pytest.LogCaptureFixture) -> None:
    environment.worker()()
    environment.enqueue("fox")
    environment.state.delete("{b}:epoch")
    environment.broker.flushdb()
    assert environment.worker()()
    assert environment.store.jobs.get("fox").state is State.QUEUED
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def assert_refused_until_recovered(
    environment: Environment, worker: Continuity, caplog: pytest.LogCaptureFixture, message: str
) -> None:
    """Assert that every worker refuses work and logs one error, until an operator accepts the data."""
    caplog.clear()
    assert not worker()
    assert not worker()
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert message in errors[0]
    with pytest.raises(WorkRefused, match="recover"):
        environment.enqueue("new")
    with pytest.raises(WorkRefused):
        environment.store.attempts.claim(["fox"])
    assert message in environment.store.continuity.refusal()
    # A worker that starts now refuses too
    assert not environment.worker()()
    expected = environment.store.continuity.standing().expected
    environment.store.continuity.recover(known=[expected] if expected else ())
    assert worker()
    assert environment.worker()()
    environment.enqueue("new")
    environment.seconds += NOTE_INTERVAL
    assert worker()
    assert environment.worker()()


EMPTIED: dict[str, Callable[[Environment], object]] = {
    "emptied while it runs": lambda environment: environment.state.flushdb(),
    "its record is gone": lambda environment: environment.state.delete("{b}:epoch"),
    "its record is damaged": lambda environment: (
        environment.state.delete("{b}:epoch"),
        environment.state.set("{b}:epoch", "x"),
    ),
}


@pytest.mark.parametrize("emptied", EMPTIED)
@pytest.mark.parametrize("running", [True, False], ids=["a running worker", "a new worker"])
def test_an_emptied_redis_is_refused(
    emptied: str, running: bool, environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    worker = environment.worker()
    worker()
    environment.enqueue("fox", "owl")
    environment.seconds += NOTE_INTERVAL
    worker()
    there = environment.store.continuity.standing().installation
    EMPTIED[emptied](environment)
    assert_refused_until_recovered(environment, worker if running else environment.worker(), caplog, "2 jobs accepted")
    assert environment.store.continuity.standing().installation == there


@pytest.mark.parametrize("recovery", [True, False])
@pytest.mark.parametrize("restarted", [True, False])
@pytest.mark.parametrize("running", [True, False], ids=["a running worker", "a new worker"])
def test_a_redis_restored_from_a_backup_is_refused(
    running: bool, restarted: bool, recovery: bool, environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    worker = environment.worker(recovery=recovery)
    worker()
    environment.enqueue("fox")
    backup = environment.copy()
    environment.enqueue("owl", "bat")
    environment.seconds += NOTE_INTERVAL
    worker()
    environment.restore(backup, restarted=restarted)
    # Producers enqueue before any worker compares, which must not hide the loss
    environment.enqueue("after-1", "after-2", "after-3")
    assert_refused_until_recovered(
        environment, worker if running else environment.worker(recovery=recovery), caplog, "2 accepted jobs may be lost"
    )


def test_work_resumes_when_the_right_data_return(environment: Environment) -> None:
    worker = environment.worker()
    worker()
    environment.enqueue("fox")
    environment.seconds += NOTE_INTERVAL
    worker()
    right = environment.copy()
    environment.state.flushdb()
    assert not worker()
    environment.restore(right, restarted=True)
    assert worker()
    assert environment.worker()()
    environment.enqueue("owl")


def test_a_tolerated_loss_is_looked_up_and_work_continues(
    environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    worker = environment.worker(tolerated=3600)
    worker()
    environment.enqueue("fox")
    environment.store.attempts.claim_due(1)
    backup = environment.copy()
    environment.enqueue("owl")
    worker()
    environment.restore(backup)
    assert worker()
    assert "1 accepted job may be lost" in caplog.text
    assert environment.store.continuity.refusal() == ""
    environment.store.attempts.admit(1)
    assert environment.store.attempts.claim(["fox"]) == []
    assert environment.store.jobs.get("fox").state is State.IN_DOUBT
    caplog.clear()
    assert worker()
    assert environment.worker()()
    assert caplog.text == ""


def test_data_older_than_tolerated_are_refused(environment: Environment, caplog: pytest.LogCaptureFixture) -> None:
    worker = environment.worker(tolerated=3600)
    worker()
    environment.enqueue("fox")
    environment.store.attempts.claim_due(1)
    environment.age(3700)
    backup = environment.copy()
    environment.enqueue("owl")
    worker()
    environment.restore(backup)
    assert_refused_until_recovered(environment, worker, caplog, "1 accepted job may be lost")


@pytest.mark.parametrize("restarted", [True, False])
def test_work_continues_when_only_changes_are_lost(restarted: bool, environment: Environment) -> None:
    worker = environment.worker()
    worker()
    environment.enqueue("fox")
    backup = environment.copy()
    environment.store.attempts.admit(1)
    (claim,) = environment.store.attempts.claim(["fox"])
    environment.store.attempts.mark_in_progress("fox", claim.fence, "task")
    worker()
    environment.restore(backup, restarted=restarted)
    assert worker()
    # The provider may have the task: the job is looked up, not sent
    environment.store.attempts.admit(1)
    assert environment.store.attempts.claim(["fox"]) == []
    assert environment.store.continuity.standing().epoch == 1


def test_a_restart_without_loss_keeps_the_epoch(environment: Environment) -> None:
    worker = environment.worker(recovery=False)
    worker()
    environment.enqueue("fox")
    environment.store.attempts.admit(1)
    worker()
    environment.restore(environment.copy(), restarted=True)
    store = Store(environment.client, Settings(submit_lease=1, recovery=False))
    # Nothing is sent before a worker has made the comparison
    with pytest.raises(WorkRefused, match="restarted"):
        store.attempts.claim(["fox"])
    assert worker()
    assert [claim.id for claim in store.attempts.claim(["fox"])] == ["fox"]
    assert environment.store.continuity.standing().epoch == 0


def test_another_installation_is_refused(environment: Environment, caplog: pytest.LogCaptureFixture) -> None:
    worker = environment.worker()
    worker()
    environment.enqueue("fox")
    environment.seconds += NOTE_INTERVAL
    worker()
    ours = environment.store.continuity.standing().installation
    environment.state.hset("{b}:epoch", "installation", "f" * 32)
    assert_refused_until_recovered(environment, worker, caplog, ours[:8])
    assert environment.store.continuity.standing().installation == "f" * 32


def test_a_jobs_url_that_leads_to_the_broker_is_refused(
    environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    environment.worker()()
    swapped = Environment.__new__(Environment)
    swapped.__dict__.update(environment.__dict__)
    swapped.client, swapped.state = environment.broker, connect(environment.settings.broker_url, text=False)
    swapped.store = Store(environment.broker, environment.settings)
    with closing(swapped.state):
        # Given a new worker without a witness
        worker = Continuity(swapped.store, None, tolerated=0)
        caplog.clear()
        assert not worker()
        assert "BOOMERANG_REDIS_URL leads to the broker" in caplog.text
        with pytest.raises(WorkRefused):
            swapped.enqueue("fox")


def test_exchanged_addresses_are_refused(environment: Environment, caplog: pytest.LogCaptureFixture) -> None:
    environment.worker()()
    environment.enqueue("fox")
    store, witness = Store(environment.broker, environment.settings), Witness(environment.client)
    assert not Continuity(store, witness, tolerated=0)()
    assert "BOOMERANG_REDIS_URL leads to the broker" in caplog.text


@pytest.mark.parametrize("damage", ["lost", "another type", "no note"])
def test_a_lost_witness_is_written_again(damage: str, environment: Environment) -> None:
    worker = environment.worker()
    worker()
    environment.broker.flushdb()
    if damage == "another type":
        environment.broker.set("{b}:witness", "x")
    if damage == "no note":
        environment.broker.hset("{b}:witness", environment.store.continuity.standing().installation, "x")
    assert environment.worker()()
    environment.seconds += NOTE_REPEAT
    assert worker()
    assert list(environment.seen()) == [environment.store.continuity.standing().installation]


def test_without_a_readable_witness_only_a_redis_with_jobs_is_accepted(
    environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    unavailable = connect("redis://127.0.0.1:1/0")
    with closing(unavailable):
        worker = Continuity(environment.store, Witness(unavailable), tolerated=0)
        # An empty Redis may have lost all jobs
        assert not worker()
        assert "the witness (BOOMERANG_BROKER_URL) cannot be read" in caplog.text
        with pytest.raises(WorkRefused):
            environment.enqueue("fox")
        # A Redis that holds jobs is accepted
        environment.worker()()
        assert worker()


def test_the_witness_is_read_as_soon_as_it_is_available(environment: Environment) -> None:
    worker = environment.worker()
    worker()
    environment.enqueue("fox")
    backup = environment.copy()
    environment.enqueue("owl")
    environment.seconds += NOTE_INTERVAL
    worker()
    environment.restore(backup)
    unavailable = [True]

    class Unreliable(Witness):
        def read(self) -> tuple[Sighting, ...]:
            if unavailable[0]:
                raise StoreUnavailable("away")
            return super().read()

    late = Continuity(environment.store, Unreliable(environment.broker), tolerated=0, clock=lambda: environment.seconds)
    assert late()
    unavailable[0] = False
    assert not late()


def test_without_a_witness_a_running_worker_remembers(
    environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    worker = environment.worker(witness=False)
    worker()
    environment.enqueue("fox")
    worker()
    environment.state.flushdb()
    caplog.clear()
    assert not worker()
    assert "Redis is empty" in caplog.text
    assert environment.broker.dbsize() == 0


def test_two_installations_may_share_a_broker(environment: Environment, redis_url: str) -> None:
    environment.worker()()
    environment.enqueue("fox")
    with closing(connect(redis_url.replace("/0", "/2"))) as client:
        store = Store(client, environment.settings)
        other = Continuity(store, Witness(environment.broker), tolerated=0)
        # The second installation could be the first one's emptied Redis, so it is refused
        assert not other()
        store.continuity.recover()
        assert other()
        # After the recovery both continue, each with its record in the witness
        assert environment.worker()()
        assert Continuity(store, Witness(environment.broker), tolerated=0)()
        assert len(environment.seen()) == 2


def test_the_witness_is_written_rarely(environment: Environment) -> None:
    worker = environment.worker()
    written = []

    class CountingWitness(Witness):
        def write(self, sighting: Sighting) -> None:
            written.append(sighting)
            super().write(sighting)

    worker = Continuity(
        environment.store, CountingWitness(environment.broker), tolerated=0, clock=lambda: environment.seconds
    )
    for step in range(100):
        environment.seconds = step / 10
        worker()
        if step == 50:
            environment.enqueue("fox")
    assert len(written) == 2
    for step in range(100):
        environment.enqueue(f"j{step}")
        environment.seconds += 0.1
        worker()
    assert len(written) <= 13


class Killed(Exception):
    """Stands for a SIGKILL."""


METHODS = ("standing", "establish", "refuse", "tolerate")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tolerated", [0.0, 3600.0])
def test_the_next_worker_completes_a_check_that_was_killed_at_any_step(
    tolerated: float, method: str, after: bool, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.worker()()
    environment.enqueue("fox")
    environment.store.attempts.claim_due(1)
    backup = environment.copy()
    environment.enqueue("owl")
    environment.seconds += NOTE_INTERVAL
    environment.worker()()
    environment.restore(backup, restarted=True)
    original = getattr(StoredContinuity, method)

    def killed(self: StoredContinuity, *args: Any, **kwargs: Any) -> Any:
        if after:
            original(self, *args, **kwargs)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(StoredContinuity, method, killed)
        with suppress(Killed):
            environment.worker(tolerated=tolerated)()
    sound = environment.worker(tolerated=tolerated)()
    assert sound == (tolerated > 0)
    assert bool(environment.store.continuity.refusal()) == (not sound)
    assert environment.store.continuity.standing().epoch == (1 if sound else 0)
