"""The use case of boomerang.save, on a real store, with a function in place of the download."""

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from jobs.job import Job
from jobs.new_job import NewJob
from jobs.result import Result
from jobs.saved import Saved, SavedOutput
from jobs.saving import LEASE, MOST_WRONG_FILES
from jobs.states import State
from tests.support.waiting import WaitFor
from tests.support.world import AtOnce, MakeWorld, World, request_of
from worker.errors import SaveFailed
from worker.save.saver import Saver

IMAGES = Result(output=({"type": "image", "url": "https://cdn.example.com/1.png"},))
OUTPUT = SavedOutput(name="fox-1.png", sha256="ab" * 32, size=7, content_type="image/png")


class Outputs:
    """Saves nothing, but answers as told. `answers`: by job id; the last one counts for all further calls."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Exception | Callable[[], object]]] = {}
        self.calls: list[tuple[str, Mapping[str, str]]] = []
        self._lock = threading.Lock()

    def __call__(self, job: Job, labels: Mapping[str, str], _: Callable[[], None]) -> Saved:
        with self._lock:
            self.calls.append((job.id, labels))
            answers = self.answers.get(job.id, [])
            answer = answers.pop(0) if answers else None
        if isinstance(answer, Exception):
            raise answer
        if answer:
            answer()
        return Saved(datetime(2026, 1, 2, tzinfo=UTC), (OUTPUT,))


class Bench:
    """A world whose results are to be saved."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = world.store
        assert self.store.continuity.establish(self.store.continuity.standing())
        self.outputs = Outputs()
        self.delivered: list[str] = []
        self.stopping = threading.Event()
        self.saver = self.make(AtOnce(), threads=1)

    def make(self, executor: Any, threads: int) -> Saver:
        return Saver(
            self.store,
            lambda: self.outputs,
            executor,
            self.delivered.extend,
            self.stopping,
            threads=threads,
            limit=2 * threads,
            random=lambda: 0.5,
        )

    def complete(self, *ids: str, batch: str = "", **more: Any) -> None:
        text = request_of().text()
        self.store.jobs.enqueue([NewJob(id=each, text=text, model="kirin_image_omni", **more) for each in ids], batch)
        self.store.attempts.admit(500)
        for claim in self.store.attempts.claim(ids):
            self.store.attempts.mark_in_progress(claim.id, claim.fence, "t")
            assert self.store.attempts.finish(claim.id, State.COMPLETED, IMAGES, "poll").outcome == "finished"

    def get(self, job_id: str = "fox") -> Job:
        return self.store.jobs.get(job_id)


@pytest.fixture
def saves(world: MakeWorld, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(world(result_store=f"file://{tmp_path}", result_expiry=600.0))
    yield bench
    bench.stopping.set()


def test_all_that_is_due_is_saved_by_one_message(saves: Bench) -> None:
    saves.complete("fox", "hen", "owl", batch="zoo")
    saves.saver()
    assert {saves.get(each).saved for each in ("fox", "hen", "owl")} == {
        Saved(datetime(2026, 1, 2, tzinfo=UTC), (OUTPUT,))
    }
    assert sorted(job for job, _ in saves.outputs.calls) == ["fox", "hen", "owl"]


def test_a_failure_is_repeated_ever_later_until_the_results_expire(
    saves: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    saves.complete("fox")
    saves.outputs.answers["fox"] = [SaveFailed("it answered 500") for _ in range(99)]
    waits = []
    with caplog.at_level(logging.WARNING):
        saves.saver()
        while (progress := saves.get().save) and progress.owed:
            assert progress.next_at
            waits.append(progress.next_at.timestamp() - saves.world._now() / 1e6)
            saves.world.ahead(waits[-1])
            saves.saver()
    assert saves.get().save == progress
    assert progress is not None
    assert progress.given_up_at is not None
    assert progress.error == "it answered 500"
    assert sum(waits) == pytest.approx(600, abs=40)
    assert 5 < len(saves.outputs.calls) < 15
    assert waits[:4] == sorted(waits[:4])
    assert "given up" in caplog.text


def test_a_final_failure_is_not_repeated(saves: Bench) -> None:
    saves.complete("fox")
    saves.outputs.answers["fox"] = [SaveFailed("it answered 404", final=True)]
    saves.saver()
    progress = saves.get().save
    assert progress is not None
    assert (progress.owed, progress.error) == (False, "it answered 404")


@pytest.fixture
def lasting(world: MakeWorld, tmp_path: Path) -> Iterator[Bench]:
    """A world whose results last for ten days."""
    bench = Bench(world(result_store=f"file://{tmp_path}", result_expiry=864_000.0))
    yield bench
    bench.stopping.set()


PAGE = SaveFailed("cdn.example.com: the file is a page of HTML or XML", wrong_file=True)
HALF = SaveFailed("cdn.example.com: the file is not a whole image/png", wrong_file=True)
OUTAGE = SaveFailed("cdn.example.com: the server answered 500")


def run(saves: Bench) -> Job:
    """Try until the results are saved or given up."""
    saves.saver()
    while (progress := saves.get().save) and progress.owed:
        assert progress.next_at
        saves.world.ahead(progress.next_at.timestamp() - saves.world._now() / 1e6)
        saves.saver()
    return saves.get()


@pytest.mark.parametrize("before", [[], [OUTAGE] * 30, [PAGE] * (MOST_WRONG_FILES - 1) + [OUTAGE], [HALF, PAGE, HALF]])
def test_a_wrong_file_is_given_up_once_it_came_too_often_in_a_row(lasting: Bench, before: list[Exception]) -> None:
    """A provider that answers 200, and a page, for an image that has expired."""
    lasting.complete("fox")
    begun = lasting.world._now()
    lasting.outputs.answers["fox"] = [*before, *[PAGE] * 99]
    job = run(lasting)
    assert job.save
    assert (job.save.owed, job.save.error) == (False, PAGE.why)
    assert job.save.tries == len(lasting.outputs.calls) == len(before) + MOST_WRONG_FILES
    assert lasting.world._now() - begun > 2700 * 1e6
    # An operator who has it saved again gives it as many tries.
    lasting.outputs.answers["fox"] = [PAGE] * (MOST_WRONG_FILES - 1)
    lasting.store.saves.retry(["fox"])
    assert run(lasting).saved


@pytest.mark.parametrize(
    "failures",
    [[PAGE] * (MOST_WRONG_FILES - 1), [PAGE, OUTAGE] * 40, [HALF, PAGE] * 40, [OUTAGE] * 80],
    ids=["few", "with outages", "of two kinds", "outages only"],
)
def test_other_failures_are_repeated_until_the_results_are_saved(lasting: Bench, failures: list[Exception]) -> None:
    lasting.complete("fox")
    lasting.outputs.answers["fox"] = list(failures)
    assert run(lasting).saved
    assert len(lasting.outputs.calls) == len(failures) + 1


def test_an_unexpected_error_counts_as_a_failure(saves: Bench, caplog: pytest.LogCaptureFixture) -> None:
    saves.complete("fox", "hen")
    saves.outputs.answers["fox"] = [ZeroDivisionError("odd")]
    saves.saver()
    progress = saves.get().save
    assert progress is not None
    assert (progress.owed, progress.tries, progress.error) == (True, 1, "ZeroDivisionError")
    assert saves.get("hen").saved
    assert "unexpected" in caplog.text


def test_a_server_that_asks_for_patience_gets_it(saves: Bench) -> None:
    saves.complete("fox")
    saves.outputs.answers["fox"] = [SaveFailed("it answered 429", retry_after=100.0)]
    saves.saver()
    saves.world.ahead(99)
    saves.saver()
    assert len(saves.outputs.calls) == 1
    saves.world.ahead(1)
    saves.saver()
    assert saves.get().saved


def test_a_full_disk_stops_saving_for_a_while(
    saves: Bench, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("worker.save.saver.REST_WHEN_FULL", 0.5)
    full = SaveFailed("it cannot be written here: No space left on device")
    full.__cause__ = OSError(errno.ENOSPC, "x")
    saves.complete("fox", "hen", "owl")
    saves.outputs.answers = {each: [full] for each in ("fox", "hen", "owl")}

    saves.saver()

    assert len(saves.outputs.calls) == 1
    assert saves.saver() == 0
    assert "the disk is full" in caplog.text
    saves.outputs.answers = {}
    saves.world.ahead(5)
    wait_for(saves.saver)
    assert all(saves.get(each).saved for each in ("fox", "hen", "owl"))


@pytest.mark.parametrize("silent", [True, False])
def test_a_lease_is_renewed_while_something_comes(
    silent: bool, saves: Bench, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.save.saver.RENEW_EVERY", 0.02)
    monkeypatch.setattr("worker.save.saver.LONGEST_SILENCE", 0.3)
    saves.complete("fox")
    renewed, stop = list[int](), threading.Event()
    renew = saves.store.saves.renew

    def noted(lease: float, held: Any) -> int:
        renewed.append(len(held))
        return renew(lease, held)

    def save(_: Job, __: Mapping[str, str], alive: Callable[[], None]) -> Saved:
        while not stop.wait(0.01):
            if not silent:
                alive()
        raise SaveFailed("enough")

    monkeypatch.setattr(saves.store.saves, "renew", noted)
    monkeypatch.setattr(saves, "outputs", save)
    with ThreadPoolExecutor(1) as threads:
        saves.make(threads, threads=1)()
        wait_for(lambda: len(renewed) > 40)
        stop.set()
    assert renewed[0] == 1
    assert renewed[35:40] == [0 if silent else 1] * 5


def test_the_labels_of_a_batch_are_given(saves: Bench) -> None:
    saves.complete("fox", batch="zoo")
    saves.saver()
    assert saves.outputs.calls == [("fox", {})]


def test_a_stopping_worker_begins_nothing(saves: Bench) -> None:
    saves.complete("fox")
    saves.stopping.set()
    assert saves.saver() == 0
    assert saves.outputs.calls == []


def test_threads_save_at_once_and_never_more_than_there_are(saves: Bench, wait_for: WaitFor) -> None:
    saves.complete(*(f"job-{number}" for number in range(12)), owner="shop")
    go, under_way, most, lock = threading.Event(), [0], [0], threading.Lock()

    def hang() -> None:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        assert go.wait(30)
        with lock:
            under_way[0] -= 1

    saves.outputs.answers = {f"job-{number}": [hang] for number in range(12)}
    with ThreadPoolExecutor(8) as threads:
        saver = saves.make(threads, threads=4)
        saver()
        wait_for(lambda: under_way[0] == 4)
        assert saver() == 0
        go.set()
        wait_for(lambda: all(saves.get(f"job-{number}").saved for number in range(12)))
    assert most[0] == 4


def test_a_stopping_worker_keeps_the_leases_of_its_saves(
    saves: Bench, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.save.saver.RENEW_EVERY", 0.05)
    saves.complete("fox")
    go = threading.Event()
    saves.outputs.answers["fox"] = [lambda: go.wait(30)]
    renewals: list[float] = []
    renew = saves.store.saves.renew

    def noted(*args: Any) -> int:
        renewals.append(time.monotonic())
        return renew(*args)

    monkeypatch.setattr(saves.store.saves, "renew", noted)
    with ThreadPoolExecutor(1) as threads:
        saves.make(threads, threads=1)()
        wait_for(lambda: bool(saves.outputs.calls))
        saves.stopping.set()
        wait_for(lambda: len(renewals) > 3)
        go.set()
    assert all(after - before > 0.04 for before, after in pairwise(renewals)), "it pauses between renewals"
    assert saves.get().saved


def test_the_lease_of_a_long_save_is_renewed(saves: Bench, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.save.saver.RENEW_EVERY", 0.05)
    saves.complete("fox")
    go = threading.Event()
    saves.outputs.answers["fox"] = [lambda: go.wait(30)]
    with ThreadPoolExecutor(1) as threads:
        saver = saves.make(threads, threads=1)
        saver()
        wait_for(lambda: bool(saves.outputs.calls))
        saves.world.ahead(LEASE - 1)
        key = saves.store.context.keys.member("save_queue", "|default")
        wait_for(lambda: saves.world.redis.zscore(key, "fox") > saves.world._now() + 50e6)
        saves.world.ahead(2)
        assert saves.store.saves.claim(LEASE, 8, 1) == []
        go.set()
    assert saves.get().saved
