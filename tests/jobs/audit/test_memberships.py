"""The audit finds wrong entries in the indexes by owner and by batch, and the repair corrects them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from jobs.audit.audit import Audit, audit
from jobs.audit.repair import repair
from jobs.delivery_log import Attempt
from jobs.saved import Saved
from jobs.states import State
from tests.jobs.store.test_batch_saved import SavingShop
from tests.support.bench import Bench, new

P = "{b}:"
EVENT = "!b!finished.1"


@pytest.fixture
def shop(bench: Bench) -> SavingShop:
    """A batch `b` with results that are saved, to be saved and given up, and jobs with notifications in every state."""
    made = SavingShop(bench)
    made.add("failing", "delivered", "given-up", owed="n")
    made.add("to-save", "unsaved", "saved")
    for each in ("failing", "delivered", "given-up"):
        made.end(each, State.FAILED)
    for each in ("to-save", "unsaved", "saved"):
        made.end(each)
    made.give_up("unsaved")
    made.save("saved")
    deliveries = bench.store.deliveries
    for due in deliveries.claim(["delivered", "given-up", "failing"]):
        turn = deliveries.begin_notification(due, f"{due.job.id}.example", 10)
        more: Any = {"delivered": {}, "given-up": {"why": "404", "retry_in": None}}
        more["failing"] = {"why": "503", "retry_in": 60.0}
        attempt = Attempt(id=due.job.id, at=due.now, address="https://shop.example", status=None, took=0.1)
        deliveries.end_notification(due, turn, limit=10, random=0.5, begin=0, attempt=attempt, **more[due.job.id])
    bench.store.jobs.enqueue([new("alone", owed="n", owner="ark")])
    bench.store.jobs.cancel("alone")
    return made


def test_sound_indexes_have_no_finding(shop: SavingShop) -> None:
    assert audit(shop.bench.store) == []


BROKEN = {
    "owed, in no index": (("ZREM", P + "ns:p|ark", "alone"), "notification", "alone"),
    "failed, in no index": (("ZREM", P + "ns:f|shop", "failing"), "notification", "failing"),
    "given up, in no index": (("DEL", P + "ns:g|shop"), "notification", "given-up"),
    "given up, in a second index": (("ZADD", P + "ns:p|shop", 5, "given-up"), "notification", "given-up"),
    "owed, among those of another producer": (("ZADD", P + "ns:p|shop", 5, "alone"), "notification", "alone"),
    "delivered, in a second index": (("ZADD", P + "ns:f|shop", 5, "delivered"), "notification", "delivered"),
    "delivered according to the index only": (("ZADD", P + "ns:d|shop", 5, "failing"), "notification", "failing"),
    "no notification": (("ZADD", P + "ns:p|shop", 5, "saved"), "notification", "saved"),
    "a notification of no job": (("ZADD", P + "ns:g|shop", 5, "ghost"), "notification", "ghost"),
    "a notification of no event": (("ZADD", P + "ns:p|shop", 5, "!ghost!saved.1"), "notification", "!ghost!saved.1"),
    "an event in a second index": (("ZADD", P + "ns:g|shop", 5, EVENT), "notification", EVENT),
    "to save, but not in its batch": (("DEL", P + "bs:b"), "batch_saves", "to-save"),
    "saved, but to save in its batch": (("SADD", P + "bs:b", "saved"), "batch_saves", "saved"),
    "no job, but to save in its batch": (("SADD", P + "bs:b", "ghost"), "batch_saves", "ghost"),
    "to save in another batch": (("SADD", P + "bs:c", "to-save"), "batch_saves", "to-save"),
    "unsaved, but not in its batch": (("ZREM", P + "bu:b", "unsaved"), "batch_unsaved", "unsaved"),
    "saved, but unsaved in its batch": (("ZADD", P + "bu:b", 5, "saved"), "batch_unsaved", "saved"),
    "no job, but unsaved in its batch": (("ZADD", P + "bu:c", 5, "ghost"), "batch_unsaved", "ghost"),
}


@pytest.mark.parametrize(("command", "rule", "where"), BROKEN.values(), ids=BROKEN)
def test_a_wrong_entry_is_found_and_corrected(
    shop: SavingShop, command: tuple[Any, ...], rule: str, where: str
) -> None:
    bench = shop.bench
    sound = {name: set(value) for name, value in bench.dump().items() if name.startswith(("ns:", "bs:", "bu:"))}
    bench.raw.execute_command(*command)
    broken = bench.dump()
    assert {(each.rule, each.id) for each in audit(bench.store)} == {(rule, where)}
    assert bench.dump() == broken
    done = repair(bench.store)
    assert [(each.rule, each.id) for each in done.repaired] == [(rule, where)]
    assert done.left == Audit((), ())
    repaired = bench.dump()
    assert {name: set(value) for name, value in repaired.items() if name.startswith(("ns:", "bs:", "bu:"))} == sound
    assert repair(bench.store).repaired == ()
    assert bench.dump() == repaired


def test_a_batch_that_waited_for_a_wrong_entry_only_gets_its_event(shop: SavingShop) -> None:
    shop.bench.raw.sadd(P + "bs:b", "ghost")
    shop.save("to-save")
    assert shop.ids() == ["finished.1"]
    repair(shop.bench.store)
    assert shop.ids() == ["finished.1", "saved.2"]


def test_a_delivered_notification_that_its_index_has_forgotten_is_no_finding(shop: SavingShop) -> None:
    shop.bench.raw.zrem(P + "ns:d|shop", "delivered")
    assert audit(shop.bench.store) == []


def test_saved_results_leave_the_index(shop: SavingShop) -> None:
    shop.saves.retry(["unsaved"])
    for each in ("unsaved", "to-save"):
        due = shop.begin_save(each)
        assert shop.saves.saved(due, Saved(datetime(2026, 1, 2, tzinfo=UTC), ())).outcome == "saved"
    assert audit(shop.bench.store) == []
    assert not shop.bench.raw.exists(P + "bs:b", P + "bu:b")
