"""Damaged data in Redis: the audit names it, the verbs refuse it, and other jobs continue."""

import json
from typing import Any

import pytest

from jobs.audit.audit import audit
from jobs.audit.repair import repair
from jobs.errors import RecordDamaged, RecordTooNew, StoreUnavailable
from jobs.fields import FORMS, NAMES, is_newer, wrong
from jobs.job import Job
from jobs.job_filter import JobFilter
from jobs.new_job import BatchOptions
from jobs.result import Result
from jobs.states import State
from jobs.store.redis_keys import FAMILY, SINGLE, TYPES
from jobs.store.stuck import Kind, dead_ends
from tests.support.bench import Bench, MakeJob

P = "{b}:"
#: Commands on a job in doubt. Each leaves a record that no version writes.
DAMAGES: dict[str, tuple[Any, ...]] = {
    "no state": ("HDEL", P + "j:fox", "s"),
    "no model": ("HDEL", P + "j:fox", "m"),
    "no creation": ("HDEL", P + "j:fox", "c"),
    "no time of doubt": ("HDEL", P + "j:fox", "x"),
    "unknown state": ("HSET", P + "j:fox", "s", "frozen"),
    "unknown phase": ("HSET", P + "j:fox", "p", "frozen"),
    "unknown version": ("HSET", P + "j:fox", "Z", "new"),
    "no number": ("HSET", P + "j:fox", "c", "yesterday"),
    "not a number": ("HSET", P + "j:fox", "x", "nan"),
    "endless": ("HSET", P + "j:fox", "n", "inf"),
    "huge": ("HSET", P + "j:fox", "f", "9" * 400),
    "no UTF-8": ("HSET", P + "j:fox", "r", b"\xff\xfe"),
    "UTF-8 that is cut off": ("HSET", P + "j:fox", "m", "€".encode()[:2]),
    "no class": ("HSET", P + "j:fox", "Y", "7"),
    "a string": ("SET", P + "j:fox", "x"),
    "a list": ("LPUSH", P + "j:fox", "x"),
    "empty fields": ("HSET", P + "j:fox", "s", "", "m", "", "c", ""),
}


def execute(bench: Bench, *command: Any) -> None:
    if command[0] in {"SET", "LPUSH", "SADD"}:
        bench.raw.delete(command[1])
    bench.raw.execute_command(*command)


def stored(bench: Bench, job_id: str = "fox") -> Any:
    key = P + "j:" + job_id
    match bench.raw.type(key):
        case "hash":
            return bench.raw.hgetall(key)
        case "list":
            return bench.raw.lrange(key, 0, -1)
    return bench.raw.get(key)


def test_every_key_has_a_type() -> None:
    assert set(TYPES) == (set(SINGLE) | set(FAMILY)) - {"ended"}


VALUES = ["", "0", "1", "2", "c", "cn", "?", "12", "-1", "1.5", "1e3", "nan", "9" * 17, "queued", "in_doubt", "x"]


@pytest.mark.parametrize("field", [*FORMS, "s", "p"])
def test_lua_and_python_find_the_same_damage(bench: Bench, field: str) -> None:
    bench.put(State.IN_DOUBT)
    fields = bench.fields("fox")
    for value in VALUES:
        bench.raw.hset(P + "j:fox", mapping={**fields, field: value})
        raised = None
        try:
            bench.store.attempts.requeue("fox", 10**9, "a fence that no worker has")
        except StoreUnavailable as error:
            raised = type(error)
        expected = RecordDamaged if wrong(bench.fields("fox")) else None
        assert raised is (RecordTooNew if is_newer({field: value}) else expected), (field, value)
        bench.raw.delete(P + "j:fox")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_named_and_refused_and_left_unchanged(bench: Bench, damage: str) -> None:
    bench.put(State.IN_DOUBT)
    bench.put(State.IN_DOUBT, "hen")
    execute(bench, *DAMAGES[damage])
    before = stored(bench)
    for verb in (
        lambda: bench.store.jobs.get("fox"),
        lambda: bench.store.attempts.finish("fox", State.COMPLETED, Result(), "callback"),
        lambda: bench.store.attempts.record_callback("fox", needs_lookup=True),
        lambda: bench.store.jobs.cancel("fox"),
        lambda: bench.store.jobs.retry("fox"),
    ):
        with pytest.raises(RecordDamaged, match="job fox"):
            verb()
    bench.forward(max(bench.alarm("fox") or 0, bench.alarm("hen") or 0))
    claimed = bench.store.attempts.claim_due(10)
    assert [due.job.id for due in claimed.dues] == ["hen"]
    assert [error.what for error in claimed.damaged] == ["job fox"]
    assert [job and job.id for job in bench.store.jobs.get_many(["fox", "hen"])] == [None, "hen"]
    found = [each for each in bench.audit() if each.rule == "damaged"]
    assert [each.id.removeprefix("job ") for each in found] == ["fox"]
    assert not found[0].repairable
    left = repair(bench.store).left.findings
    assert [each.id.removeprefix("job ") for each in left if each.rule == "damaged"] == ["fox"]
    assert stored(bench) == before
    (stuck,) = [each for each in dead_ends(bench.store) if each.kind is Kind.DAMAGED]
    assert stuck.id == "fox"
    assert bench.alarm("fox") > 0  # it will be read again


@pytest.mark.parametrize("text", ["ä", "€", "näme=x y", "𝄞", "日本語のプロンプト", "a\u0301"])
def test_text_in_any_language_is_not_damage(bench: Bench, text: str) -> None:
    bench.put(State.IN_DOUBT)
    bench.raw.hset(P + "j:fox", "r", text)
    assert bench.store.attempts.record_callback("fox", needs_lookup=True).outcome == "noted"
    assert bench.store.jobs.get("fox").reason == text
    assert bench.audit() == []


def test_a_job_continues_once_its_record_is_correct_again(bench: Bench) -> None:
    bench.put(State.IN_DOUBT)
    state = bench.fields("fox")["s"]
    bench.raw.hset(P + "j:fox", "s", "frozen")
    bench.forward(bench.alarm("fox") or 0)
    assert bench.store.attempts.claim_due(10).dues == ()
    bench.raw.hset(P + "j:fox", "s", state)
    bench.forward(bench.alarm("fox") or 0)
    assert [due.job.id for due in bench.store.attempts.claim_due(10).dues] == ["fox"]
    assert not [each for each in dead_ends(bench.store) if each.kind is Kind.DAMAGED]
    assert bench.audit() == []


def test_a_deleted_damaged_record_leaves_nothing_behind(bench: Bench) -> None:
    bench.put(State.IN_DOUBT)
    bench.raw.hset(P + "j:fox", "s", "frozen")
    bench.forward(bench.alarm("fox") or 0)
    bench.store.attempts.claim_due(10)
    bench.raw.delete(P + "j:fox")
    bench.forward(60)
    bench.store.attempts.claim_due(10)
    bench.store.jobs.purge()
    assert repair(bench.store).left.findings == ()
    assert bench.slots() == (0, 0)
    assert bench.raw.exists(P + "damaged") == 0


def test_a_damaged_job_at_the_head_does_not_stop_its_queue(bench: Bench) -> None:
    for job_id in ("fox", "hen", "owl"):
        bench.job(job_id)
    bench.raw.hset(P + "j:fox", "n", "many")
    assert bench.store.attempts.admit(10).ids == ("hen", "owl")
    bench.raw.hset(P + "j:hen", "m", b"\xff")
    bench.raw.hset(P + "j:hen", "f", "x")
    assert [claim.id for claim in bench.store.attempts.claim(["hen", "owl"])] == ["owl"]
    bench.raw.hset(P + "j:fox", "n", "1")
    bench.forward(3600)
    bench.store.attempts.claim_due(10)
    assert "fox" in bench.store.attempts.admit(10).ids


def test_a_batch_that_is_no_hash_stops_no_other_job(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("fox")], "x", BatchOptions())
    bench.store.jobs.enqueue([make("hen")], "y", BatchOptions())
    bench.job("owl")
    before = bench.raw.dump(P + "b:x")
    execute(bench, "SET", P + "b:x", "no hash")
    assert set(bench.store.attempts.admit(10).ids) == {"hen", "owl"}
    assert [batch.id for batch in bench.store.batches.page().batches] == ["y"]
    with pytest.raises(RecordDamaged, match="batch x"):
        bench.store.batches.get("x")
    assert "batch x" in {each.id for each in bench.audit()}
    bench.raw.delete(P + "b:x")
    bench.raw.restore(P + "b:x", 0, before)
    bench.forward(120)
    assert bench.store.attempts.admit(10).ids == ("fox",)
    assert repair(bench.store).left.findings == ()


@pytest.mark.parametrize("field", ["weight", "cap", "spent"])
@pytest.mark.parametrize("value", ["much", "nan", "inf", "-1", ""])
def test_a_batch_with_an_unreadable_number_sends_nothing(bench: Bench, make: MakeJob, field: str, value: str) -> None:
    bench.store.jobs.enqueue([make("fox")], "x", BatchOptions())
    bench.raw.hset(P + "b:x", field, value)
    assert bench.store.attempts.admit(10).ids == ()
    bench.raw.hdel(P + "b:x", field)
    bench.forward(120)
    assert bench.store.attempts.admit(10).ids == ("fox",)


def test_an_action_on_a_batch_skips_the_damaged_job(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("fox"), make("hen"), make("owl")], "x", BatchOptions())
    bench.raw.hset(P + "j:hen", "s", "frozen")
    assert bench.store.batches.cancel("x").affected == 2
    assert [job.id for job in bench.store.batches.jobs("x")] == ["fox", "owl"]
    assert [job.id for job in bench.store.jobs.page(JobFilter(batch="x")).jobs] == ["fox", "owl"]


@pytest.mark.parametrize("value", ["x", "nan", "inf", "", "1.5", "9" * 30, b"\xff"])
@pytest.mark.parametrize("counter", ["lane:default slots", "lane:default window", "b:x queued", "p: ready"])
def test_a_counter_that_is_no_number_is_recounted(bench: Bench, make: MakeJob, counter: str, value: Any) -> None:
    bench.store.jobs.enqueue([make("fox"), make("hen")], "x", BatchOptions())
    bench.claimed("owl")
    key, _, field = counter.partition(" ")
    bench.raw.hset(P + key, field, value)
    assert bench.audit()
    assert repair(bench.store).left.findings == ()
    assert bench.store.batches.get("x").counts[State.QUEUED] == 2
    assert bench.slots() == (1, 2)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"output": 7}', '{"cost": "much"}', b"\xff", "9" * 5000])
def test_an_unreadable_result_is_damage(bench: Bench, text: Any) -> None:
    bench.put(State.COMPLETED)
    bench.raw.set(P + "r:fox", text)
    with pytest.raises(RecordDamaged, match="job fox"):
        bench.store.jobs.get("fox")
    assert bench.store.jobs.results(["fox"]) == [None]
    assert [each.id for each in bench.audit() if each.rule == "damaged"] == ["fox"]


@pytest.mark.parametrize(
    "key",
    ["j:fox", "t:fox", "r:done", "s:in_doubt", "alarms", "doubts", "m:x", "b:x", "p:", "lanes", "changes", "q:|1|k"],
)
def test_a_key_of_another_type_is_left_and_other_records_stay_unchanged(bench: Bench, make: MakeJob, key: str) -> None:
    bench.put(State.IN_DOUBT)
    bench.put(State.COMPLETED, "done")
    bench.store.jobs.enqueue([make("hen")], "x", BatchOptions())
    bench.job("owl")
    lane = bench.lane()
    execute(bench, "LPUSH" if key[:2] in {"t:", "r:"} else "SET", P + key, "not from this service")
    records = {each: stored(bench, each) for each in ("fox", "done", "hen", "owl")}
    found = bench.audit()
    assert any(each.rule == "damaged" and P + key in each.detail for each in found)
    left = repair(bench.store).left.findings
    assert any(each.rule == "damaged" and P + key in each.detail for each in left)
    assert {each: stored(bench, each) for each in records} == records
    assert bench.lane() == lane
    assert bench.raw.type(P + key) in {"list", "string"}


def test_unknown_fields_are_named_and_have_no_effect(bench: Bench) -> None:
    bench.put(State.IN_DOUBT)
    bench.job("hen")
    bench.raw.hset(P + "j:fox", mapping={"id": "hen", "quux": "1", "now": "0"})
    assert bench.store.jobs.get("fox").state is State.IN_DOUBT
    bench.store.jobs.cancel("fox")
    assert bench.store.jobs.get("hen").state is State.QUEUED
    (found,) = [each for each in bench.audit() if each.rule == "damaged"]
    assert "quux" in found.detail


def test_the_scripts_write_only_known_fields(bench: Bench) -> None:
    for state in State:
        bench.put(state, state.value, owed="nc")
        assert set(bench.fields(state.value)) <= NAMES.keys()
        assert wrong(bench.fields(state.value)) is None
        Job.from_fields(state.value, json.loads(json.dumps(bench.fields(state.value))))
    assert audit(bench.store) == []
