"""Saving results, as the store records it: what is owed, who may save it, and how it ends."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from jobs.job import Delivery
from jobs.result import Result
from jobs.saved import Saved, SavedOutput
from jobs.saving import ANNOUNCED, MARGIN, UNRENEWED
from jobs.settings import Settings
from jobs.states import State
from jobs.store.outcomes.celery import ParkOutcome
from jobs.store.saves import Saves
from jobs.store.store import Store
from tests.support.bench import IMAGES, Bench

LEASE, LIMIT = 60.0, 8
NO_OUTPUT = Result(error={"code": "no_output", "message": "nothing came"})
OUTPUT = SavedOutput(name="x/fox-1.png", sha256="ab" * 32, size=7, content_type="image/png", width=3, height=4)
SAVED = Saved(datetime(2026, 1, 2, tzinfo=UTC), (OUTPUT,))


@pytest.fixture
def with_store(bench: Bench) -> Store:
    """The store of a process that saves results."""
    return bench.with_settings(result_store="file:///srv/results")


def save_of(bench: Bench, job_id: str = "fox") -> Any:
    return bench.store.jobs.get(job_id).save


def claim(store: Store, most: int = 1, limit: int = LIMIT) -> list[str]:
    return [due.job.id for due in store.saves.claim(LEASE, limit, most)]


def finish(store: Store, bench: Bench, job_id: str = "fox", **job: Any) -> None:
    """Complete a job through a store."""
    bench.put(State.IN_PROGRESS, job_id, **job)
    assert store.attempts.finish(job_id, State.COMPLETED, IMAGES, "callback").outcome == "finished"


# --- what is owed -----------------------------------------------------------------------------------------------------


def test_a_completed_job_owes_nothing_where_no_process_has_a_result_store(bench: Bench) -> None:
    bench.put(State.COMPLETED)
    assert bench.store.jobs.get("fox").save is None
    assert claim(bench.store) == []


def test_a_process_without_a_result_store_owes_the_saving_once_another_has_announced_one(
    bench: Bench, with_store: Store
) -> None:
    with_store.saves.announce()
    bench.put(State.COMPLETED)
    assert save_of(bench).owed
    # Another worker without one does not end that,
    bench.store.saves.announce()
    bench.put(State.COMPLETED, "hen")
    assert save_of(bench, "hen").owed
    # until no worker with one has run for long.
    bench.forward(ANNOUNCED + 1)
    bench.store.saves.announce()
    bench.put(State.COMPLETED, "owl")
    assert save_of(bench, "owl") is None
    assert bench.audit() == []


def test_results_that_come_while_all_workers_are_away_are_owed_too(bench: Bench, with_store: Store) -> None:
    with_store.saves.announce()
    bench.forward(10 * ANNOUNCED)
    bench.put(State.COMPLETED)
    assert save_of(bench).owed
    with_store.saves.announce()
    assert claim(with_store) == ["fox"]
    # Nor does the audit forgive what is not owed.
    bench.raw.hdel(bench.keys.member("job", "fox"), "W", "Wa")
    assert "results" in {each.rule for each in bench.audit()}


def late(bench: Bench, store: Store, before: State) -> None:
    """Bring a job to an end without results, then let its results come."""
    bench.put(State.IN_PROGRESS)
    if before is State.CANCELLED:
        store.jobs.cancel("fox")
    elif before is State.EXPIRED:
        store.attempts.expire(bench.due("fox"), 30.0)
    else:
        store.attempts.finish("fox", State.FAILED, NO_OUTPUT, "poll")
    assert save_of(bench) is None
    assert store.attempts.finish("fox", State.COMPLETED, IMAGES, "callback").outcome == "finished"


@pytest.mark.parametrize("before", [State.CANCELLED, State.EXPIRED, State.FAILED], ids=str)
def test_a_late_result_is_saved_too(bench: Bench, with_store: Store, before: State) -> None:
    with_store.saves.announce()
    late(bench, with_store, before)
    (due,) = with_store.saves.claim(LEASE, LIMIT, 1)
    assert with_store.saves.saved(due, SAVED).outcome == "saved"
    assert bench.store.jobs.get("fox").saved == SAVED
    assert bench.audit() == []


@pytest.mark.parametrize("result", [Result(), NO_OUTPUT], ids=["completed without output", "failed"])
def test_a_job_without_results_owes_nothing(bench: Bench, with_store: Store, result: Result) -> None:
    bench.put(State.IN_PROGRESS)
    state = State.FAILED if result.error else State.COMPLETED
    with_store.attempts.finish("fox", state, result, "poll")
    assert save_of(bench) is None


def test_a_record_of_the_version_before_is_raised_when_it_owes_a_save(bench: Bench, with_store: Store) -> None:
    bench.put(State.IN_PROGRESS)
    bench.raw.hset(bench.keys.member("job", "fox"), "Z", 2)
    with_store.attempts.finish("fox", State.COMPLETED, IMAGES, "callback")
    assert bench.fields("fox")["Z"] == "3"


# --- how it ends ------------------------------------------------------------------------------------------------------


def test_saved_outputs_are_in_the_result_and_are_forgotten_with_the_job(bench: Bench, with_store: Store) -> None:
    finish(with_store, bench)
    (due,) = with_store.saves.claim(LEASE, LIMIT, 1)
    assert with_store.saves.saved(due, SAVED).outcome == "saved"
    job = bench.store.jobs.get("fox")
    assert job.save is None
    assert job.saved == SAVED
    assert job.result is not None
    assert job.result.output == IMAGES.output
    assert not {name for name in bench.dump() if "sav" in name or name.startswith("sq:")} - {"save-turns"}
    assert with_store.saves.saved(due, SAVED).outcome == "refused"
    bench.forward(bench.store.context.settings.retention + 1)
    bench.store.jobs.purge()
    assert not any("fox" in name for name in bench.dump())


def test_a_failed_save_is_tried_again_later_and_shows_how_it_stands(bench: Bench, with_store: Store) -> None:
    finish(with_store, bench)
    (due,) = with_store.saves.claim(LEASE, LIMIT, 1)
    assert with_store.saves.failed(due, "it answered 500", 5.0).outcome == "owed"
    assert (save_of(bench).tries, save_of(bench).error) == (1, "it answered 500")
    assert claim(with_store) == []
    bench.forward(5)
    assert claim(with_store) == ["fox"]


def test_what_a_killed_worker_claimed_is_claimed_again_when_its_lease_ends(bench: Bench, with_store: Store) -> None:
    finish(with_store, bench)
    (first,) = with_store.saves.claim(LEASE, LIMIT, 1)
    assert claim(with_store) == []
    bench.forward(LEASE)
    (second,) = with_store.saves.claim(LEASE, LIMIT, 1)
    assert with_store.saves.saved(first, SAVED).outcome == "refused"
    assert with_store.saves.failed(first, "late", 1.0).outcome == "refused"
    assert with_store.saves.saved(second, SAVED).outcome == "saved"


def test_given_up_results_are_listed_until_they_are_saved(bench: Bench, with_store: Store) -> None:
    finish(with_store, bench)
    (due,) = with_store.saves.claim(LEASE, LIMIT, 1)
    assert with_store.saves.give_up(due, "it answered 404").outcome == "unsaved"
    assert not save_of(bench).owed
    assert (save_of(bench).tries, save_of(bench).error) == (1, "it answered 404")
    assert [name for name, _ in bench.store.manual.stuck(0.0, 10).unsaved.named] == ["fox"]
    assert claim(with_store) == []
    assert bench.audit() == []
    assert with_store.saves.retry(["fox", "hen"]) == {"fox": "owed", "hen": "unknown"}
    (due,) = with_store.saves.claim(LEASE, LIMIT, 1)
    assert with_store.saves.saved(due, SAVED).outcome == "saved"
    assert bench.store.manual.stuck(0.0, 10).unsaved.count == 0
    assert with_store.saves.retry(["fox"]) == {"fox": "saved"}
    assert with_store.saves.retry(["fox"], again=True) == {"fox": "owed"}
    assert bench.audit() == []


def test_results_from_before_the_store_was_set_can_be_saved(bench: Bench, with_store: Store) -> None:
    bench.put(State.COMPLETED)
    assert with_store.saves.retry(["fox"]) == {"fox": "owed"}
    assert claim(with_store) == ["fox"]


def test_a_result_that_changes_meanwhile_keeps_its_change(
    bench: Bench, with_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(with_store, bench)
    (due,) = with_store.saves.claim(LEASE, LIMIT, 1)
    sent = Saves._record
    key = bench.keys.member("result", "fox")

    def with_change(saves: Saves, *args: Any, **kwargs: Any) -> Any:
        bench.raw.set(key, Result(output=IMAGES.output, discount="new").to_json())
        monkeypatch.setattr(Saves, "_record", sent)
        return sent(saves, *args, **kwargs)

    monkeypatch.setattr(Saves, "_record", with_change)
    assert with_store.saves.saved(due, SAVED).outcome == "saved"
    result = bench.store.jobs.get("fox").result
    assert result is not None
    assert (result.discount, result.saved) == ("new", SAVED)


def test_a_job_that_owes_a_save_is_not_purged(bench: Bench, with_store: Store) -> None:
    finish(with_store, bench)
    bench.forward(bench.store.context.settings.retention + 1)
    bench.store.jobs.purge()
    (due,) = with_store.saves.claim(LEASE, LIMIT, 1)
    with_store.saves.give_up(due, "expired")
    bench.store.jobs.purge()
    assert not any("fox" in name for name in bench.dump())
    assert bench.store.manual.stuck(0.0, 10).unsaved.count == 0


def test_without_any_result_store_left_the_results_are_given_up_when_they_have_expired(
    bench: Bench, with_store: Store
) -> None:
    with_store.saves.announce()
    finish(with_store, bench)
    assert bench.store.saves.find_due() == (True, [])
    bench.forward(ANNOUNCED + 1)
    bench.store.saves.announce()
    bench.store.saves.find_due()
    assert save_of(bench).owed
    bench.forward(bench.store.context.settings.result_expiry)
    # A process that has a store leaves workers time to try once more.
    with_store.saves.find_due()
    assert save_of(bench).owed
    bench.store.saves.find_due()
    assert save_of(bench).given_up_at is not None
    assert "BOOMERANG_RESULT_STORE" in (save_of(bench).error or "")


@pytest.mark.parametrize("claimed", [True, False], ids=["by workers that are killed", "by nobody"])
def test_what_nobody_records_is_given_up_after_its_expiry_and_then_delivered(bench: Bench, claimed: bool) -> None:
    store = bench.with_settings(result_store="file:///srv/results", complete_when_saved=True)
    store.saves.announce()
    bench.put(State.IN_PROGRESS, owed="n")
    store.attempts.finish("fox", State.COMPLETED, IMAGES, "callback")
    end = store.context.settings.result_expiry + MARGIN
    for _ in range(10):
        bench.forward(end / 10 - 1)
        store.saves.announce()
        if claimed:
            assert claim(store) == ["fox"]
        assert store.saves.find_due()[1] == []
        # Not after every gap does the margin begin anew: other workers announce themselves meanwhile.
        bench.raw.hset(bench.keys.singleton("totals"), "saves_back", 1)
    bench.forward(LEASE)
    if claimed:
        assert claim(store) == ["fox"]
        assert store.saves.find_due()[1] == [], "a worker has just claimed it"
        bench.forward(LEASE - UNRENEWED + 1)
    assert store.saves.find_due()[1] == ["fox"]
    assert save_of(bench).given_up_at is not None
    assert "before a worker" in (save_of(bench).error or "")
    assert [each.job.id for each in store.deliveries.claim(["fox"])] == ["fox"]
    assert store.saves.backlog().unsaved == 1
    assert bench.audit() == []


def test_after_a_pause_of_the_whole_service_workers_may_try_first(bench: Bench, with_store: Store) -> None:
    with_store.saves.announce()
    finish(with_store, bench)
    bench.forward(10 * (with_store.context.settings.result_expiry + MARGIN))
    with_store.saves.announce()
    with_store.saves.find_due()
    assert save_of(bench).owed
    assert claim(with_store) == ["fox"]


def test_a_result_that_cannot_be_read_is_a_failed_try_and_is_given_up_at_last(bench: Bench, with_store: Store) -> None:
    with_store.saves.announce()
    finish(with_store, bench)
    key = bench.keys.member("result", "fox")
    whole = bench.raw.get(key)
    bench.raw.set(key, "{")
    assert claim(with_store) == []
    assert bench.raw.zcard(bench.keys.singleton("saving")) == 0
    bench.raw.set(key, whole)
    assert (save_of(bench).tries, save_of(bench).owed) == (1, True)
    bench.raw.set(key, "{")
    bench.raw.hset(bench.keys.singleton("totals"), "saves_back", 1)
    bench.forward(with_store.context.settings.result_expiry + MARGIN + 1)
    with_store.saves.announce()
    bench.raw.hset(bench.keys.singleton("totals"), "saves_back", 1)
    with_store.saves.find_due()
    bench.raw.set(key, whole)
    assert save_of(bench).given_up_at is not None
    assert "cannot be read" in (save_of(bench).error or "")


# --- shares -----------------------------------------------------------------------------------------------------------


def test_producers_take_turns(bench: Bench, with_store: Store) -> None:
    for owner, count in (("busy", 40), ("calm", 4), ("late", 2)):
        for number in range(count):
            finish(with_store, bench, f"{owner}-{number}", owner=owner)
    claimed = claim(with_store, most=6, limit=60)
    assert Counter(each.split("-")[0] for each in claimed) == {"busy": 2, "calm": 2, "late": 2}


def test_a_producer_alone_leaves_room_for_the_next_one(bench: Bench, with_store: Store) -> None:
    for number in range(20):
        finish(with_store, bench, f"busy-{number}", owner="busy")
    assert len(claim(with_store, most=20, limit=8)) == 4
    finish(with_store, bench, "calm-0", owner="calm")
    assert claim(with_store, most=20, limit=8) == ["calm-0"]


def test_no_more_are_under_way_than_the_limit(bench: Bench, with_store: Store) -> None:
    for number in range(30):
        finish(with_store, bench, f"o{number}-1", owner=f"o{number}")
    claimed = [claim(with_store, most=5, limit=8) for _ in range(4)]
    assert sum(map(len, claimed)) <= 8
    bench.forward(LEASE)
    assert claim(with_store, most=5, limit=8)


# --- deliveries that wait ---------------------------------------------------------------------------------------------


@pytest.fixture
def saves_first(bench: Bench) -> Store:
    return bench.with_settings(result_store="file:///srv/results", complete_when_saved=True)


@pytest.mark.parametrize("end", ["saved", "given up"])
def test_deliveries_wait_until_the_results_are_saved_or_given_up(bench: Bench, saves_first: Store, end: str) -> None:
    bench.put(State.IN_PROGRESS, owed="n")
    finished = saves_first.attempts.finish("fox", State.COMPLETED, IMAGES, "callback")
    assert not finished.owed
    assert bench.store.deliveries.claim(["fox"]) == []
    assert bench.audit() == []
    bench.forward(bench.alarm("fox") or 0)
    assert bench.store.attempts.claim_due(10).dues == ()
    (due,) = saves_first.saves.claim(LEASE, LIMIT, 1)
    assert not saves_first.saves.failed(due, "it answered 500", 1.0).deliver
    bench.forward(1)
    (due,) = saves_first.saves.claim(LEASE, LIMIT, 1)
    done = saves_first.saves.saved(due, SAVED) if end == "saved" else saves_first.saves.give_up(due, "gone")
    assert done.deliver
    (delivery,) = bench.store.deliveries.claim(["fox"])
    assert delivery.job.owed == {Delivery.NOTIFY}
    assert delivery.job.saved == (SAVED if end == "saved" else None)


@pytest.mark.parametrize("end", ["saved", "given up"])
@pytest.mark.parametrize("owed", ["", "n", "c", "cn"])
def test_a_message_that_comes_after_the_end_waits_too(bench: Bench, saves_first: Store, owed: str, end: str) -> None:
    saves_first.saves.announce()
    bench.put(State.IN_PROGRESS, owed=owed)
    earlier = {"first"} if "c" in owed else set()
    for task in earlier:
        saves_first.celery.park("fox", task, '{"chord":1}')
    saves_first.attempts.finish("fox", State.COMPLETED, IMAGES, "callback")
    for _ in range(2):
        assert saves_first.celery.park("fox", "late", '{"chord":2}')[0] is ParkOutcome.OWED
        assert bench.store.deliveries.claim(["fox"]) == []
        assert bench.audit() == []
    (due,) = saves_first.saves.claim(LEASE, LIMIT, 1)
    done = saves_first.saves.saved(due, SAVED) if end == "saved" else saves_first.saves.give_up(due, "gone")
    assert done.deliver
    (delivery,) = bench.store.deliveries.claim(["fox"])
    assert delivery.job.owed == {Delivery.CELERY, *map(Delivery, owed)}
    waiting = saves_first.celery.get_parked("fox")
    assert {message.task_id for message in waiting} == {"late"} | earlier
    for each in waiting:
        outcome, mark, _ = saves_first.celery.park("fox", each.task_id, each.continuation, each.mark)
        assert outcome is ParkOutcome.FINAL
        saves_first.celery.message_finished("fox", mark)
    assert Delivery.CELERY not in saves_first.jobs.get("fox").owed
    assert bench.audit() == []
    # Nothing is to be saved any more.
    assert saves_first.celery.park("fox", "later", '{"chord":3}')[0] is ParkOutcome.FINAL


def test_a_later_message_does_not_wait_without_the_setting(bench: Bench, with_store: Store) -> None:
    with_store.saves.announce()
    finish(with_store, bench)
    assert with_store.celery.park("fox", "late", '{"chord":2}')[0] is ParkOutcome.FINAL


def test_a_cancelled_job_notifies_at_once_although_its_late_result_is_saved(bench: Bench, saves_first: Store) -> None:
    bench.put(State.IN_PROGRESS, owed="n")
    saves_first.jobs.cancel("fox")
    saves_first.attempts.finish("fox", State.COMPLETED, IMAGES, "callback")
    assert [due.job.id for due in bench.store.deliveries.claim(["fox"])] == ["fox"]


# --- the audit --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "rule"),
    [
        (("ZREM", "saves", "fox"), "save"),
        (("ZREM", "sq:|default", "fox"), "save"),
        (("DEL", "save-turns"), "save"),
        (("ZADD", "unsaved", 1, "fox"), "unsaved"),
        (("ZADD", "saves", 1, "hen"), "save"),
        (("HDEL", "j:fox", "W", "Wa"), "results"),
    ],
)
def test_the_audit_finds_and_repairs_what_would_not_be_saved(
    bench: Bench, with_store: Store, command: tuple[Any, ...], rule: str
) -> None:
    with_store.saves.announce()
    finish(with_store, bench)
    assert bench.audit() == []
    name, key, *rest = command
    bench.raw.execute_command(name, bench.keys.prefix + key, *rest)
    assert rule in {finding.rule for finding in bench.audit()}
    for finding in bench.audit():
        if finding.check:
            bench.store.context.scripts.call(finding.check.verb, "1", *finding.check.target)
    assert bench.audit() == []
    assert save_of(bench).owed
    assert claim(with_store) == ["fox"]


def test_the_audit_ignores_results_from_before_the_store_was_set(bench: Bench, with_store: Store) -> None:
    bench.put(State.COMPLETED)
    bench.forward(1)
    with_store.saves.announce()
    assert bench.audit() == []


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [[], {}, ["x"], [1, ["a", "b", "c", "d", None, None]], [1, ["a"]], [1, [1] * 6]])
def test_saved_outputs_that_this_service_cannot_have_written_are_refused(given: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        Saved.from_json(given)


def test_saved_outputs_are_read_as_written() -> None:
    assert Saved.from_json(SAVED.to_json()) == SAVED


def test_the_expiry_of_a_lane_overrides_that_of_all() -> None:
    lanes = '[{"name": "a", "result_expiry": 600}, {"name": "b"}]'
    settings = Settings.from_env({"BOOMERANG_LANES": lanes, "BOOMERANG_RESULT_EXPIRY": "7200"})
    assert (settings.result_expiry_of("a"), settings.result_expiry_of("b")) == (600.0, 7200.0)
