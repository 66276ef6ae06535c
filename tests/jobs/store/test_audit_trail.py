"""The audit trail: bounds for each owner, order, cursors that stay valid, filters, and damaged entries."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.audit_trail import DAMAGED, ENTRIES_KEPT, MOST_DETAILS, Action, AuditEntry, Via, bounded, serialized
from jobs.connections.client import connect
from jobs.errors import RecordDamaged, StoreUnavailable
from jobs.owners import ANYONE
from jobs.settings import Settings
from jobs.store import audit_trail
from jobs.store.audit_trail import AuditTrail
from jobs.store.redis_keys import Keys
from jobs.store.store import Store
from tests.support.examples import examples

KEY = Keys().member
FIELDS = {
    "key": "k",
    "by": "shop",
    "operation": "jobs.cancel",
    "via": "api",
    "status": "200",
    "request": "r",
    "details": "{}",
}


def action(owner: str = "shop", operation: str = "jobs.cancel", **details: Any) -> Action:
    return Action(
        owner=owner, key="k1", by=owner, operation=operation, via=Via.API, status=200, details=bounded(details)
    )


def add(raw: redis.Redis, owner: str, *ids: str, **fields: str) -> None:
    """Add entries with these ids, without what `record` does beside it."""
    with raw.pipeline(transaction=False) as pipe:
        pipe.sadd(Keys().singleton("trails"), owner)
        for each in ids:
            entry: Any = {**FIELDS, "by": owner, **fields}
            pipe.xadd(KEY("trail", owner), entry, each)
        pipe.execute()


def record_in_turn(trail: AuditTrail, raw: redis.Redis, *actions: Action) -> None:
    """Record each in a later millisecond than those before: within one, entries of several owners have no order."""
    for each in actions:
        trail.record(each)
        began = now_of(raw)
        while now_of(raw) == began:
            pass


def now_of(raw: redis.Redis) -> int:
    """Return Redis's time in milliseconds."""
    seconds, micros = raw.time()
    return int(seconds) * 1_000 + int(micros) // 1_000


@pytest.fixture
def trail(store: Store) -> AuditTrail:
    return store.audit_trail


@pytest.fixture
def raw(store: Store) -> redis.Redis:
    return store.context.client


def ids(trail: AuditTrail, owner: str | None = None, **where: Any) -> list[str]:
    """Read all pages."""
    found: list[AuditEntry] = []
    while True:
        page = trail.page(owner, **where)
        found += page.entries
        if page.cursor is None:
            return [each.id for each in found]
        where["cursor"] = page.cursor


def test_an_entry_says_who_did_what(trail: AuditTrail, raw: redis.Redis) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    record_in_turn(trail, raw, action(job_id="fox@shop", affected=2))
    (entry,) = trail.page("shop").entries
    assert entry.at is not None
    assert entry.at > before
    assert entry.action == action(job_id="fox@shop", affected="2")
    command = Action(owner=ANYONE, by="root", operation="keys.add", via=Via.COMMAND)
    trail.record(command)
    assert [each.action for each in trail.page(None).entries] == [command, entry.action]
    assert trail.page("press").entries == ()
    assert [each.action for each in trail.page("shop").entries] == [entry.action]


def test_a_busy_producer_pushes_out_only_its_own_entries(
    trail: AuditTrail, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_trail, "ENTRIES_KEPT", 200)
    for owner in ("press", ANYONE):
        trail.record(action(owner))
    add(raw, "shop", *(f"{NOW}-{number}" for number in range(600)))
    trail.record(action("shop"))
    assert 200 <= raw.xlen(KEY("trail", "shop")) < 400
    assert len(trail.page("press").entries) == len(trail.page(ANYONE).entries) == 1
    assert {each.owner for each in trail.page(None, limit=500).entries} == {"shop", "press", ANYONE}


def test_the_memory_of_a_producer_is_bounded(trail: AuditTrail, raw: redis.Redis) -> None:
    """What docs/reference/limits.md says, with the longest entries that anybody can cause."""
    worst = action(job_id="\U0001f98a" * 128, batch_id="b" * 128, reason="x" * 300, lane="y" * 300)
    for _ in range(60):
        trail.record(worst)
    size = raw.memory_usage(KEY("trail", "shop"), samples=0)
    assert size / raw.xlen(KEY("trail", "shop")) * ENTRIES_KEPT < 10_000_000
    usual = action("press", job_id="order-4711@press", outcome="cancelled")
    for _ in range(60):
        trail.record(usual)
    assert raw.memory_usage(KEY("trail", "press"), samples=0) / 60 * ENTRIES_KEPT < 2_000_000


def test_old_entries_go(trail: AuditTrail, raw: redis.Redis) -> None:
    kept = Settings().audit_trail_retention
    add(raw, "shop", *(f"{number}-1" for number in range(1_000, 1_300)))
    assert ids(trail, "shop") == []  # a page does not wait for the next entry
    trail.record(action())
    assert raw.xlen(KEY("trail", "shop")) < 300
    assert len(ids(trail, "shop")) == 1
    assert kept - 60 < raw.ttl(KEY("trail", "shop")) <= kept


NOW = int(datetime.now(UTC).timestamp() * 1_000)
OWNERS = ("*", "a", "b", "zoo")
ENTRIES = st.lists(
    st.tuples(st.sampled_from(OWNERS), st.integers(NOW - 40, NOW - 1), st.integers(0, 2)), unique=True, max_size=60
)


@settings(max_examples=examples(15))
@given(entries=ENTRIES, later=ENTRIES, limit=st.integers(1, 7))
def test_pages_have_each_entry_once_newest_first(
    redis_server: Any, entries: list[tuple[str, int, int]], later: list[tuple[str, int, int]], limit: int
) -> None:
    """Entries that are added meanwhile neither shift the pages nor appear on them twice."""
    client = connect(redis_server.url)
    client.flushall()
    trail = Store(client, Settings()).audit_trail
    for owner, at, number in sorted(entries, key=lambda each: each[1:]):
        add(client, owner, f"{at}-{number}")
    wanted = [f"{at}-{number}.{owner}" for owner, at, number in sorted(entries, key=lambda e: (*e[1:], e[0]))][::-1]
    found: list[AuditEntry] = []
    page, newer = trail.page(None, limit=limit), NOW
    while True:
        found += page.entries
        assert len(page.entries) <= limit
        if page.cursor is None:
            break
        for owner, *_ in later[:2]:
            newer += 1
            add(client, owner, f"{newer}-0")
        page = trail.page(None, limit=limit, cursor=page.cursor)
    client.close()
    assert [f"{each.id}.{each.owner}" for each in found] == wanted


def test_a_full_last_page_leads_nowhere(trail: AuditTrail) -> None:
    for _ in range(4):
        trail.record(action())
    page = trail.page("shop", limit=2)
    assert page.cursor
    assert trail.page("shop", limit=2, cursor=page.cursor).cursor is None


def test_many_producers_cost_few_round_trips(trail: AuditTrail, raw: redis.Redis) -> None:
    for number in range(100):
        add(raw, f"p{number}", *(f"{NOW}-{each}" for each in range(12)))
    before = raw.info("commandstats").get("cmdstat_xrevrange", {"calls": 0})["calls"]
    assert len(trail.page(None, limit=50).entries) == 50
    assert raw.info("commandstats")["cmdstat_xrevrange"]["calls"] - before <= 200


def test_filters(trail: AuditTrail, raw: redis.Redis) -> None:
    record_in_turn(
        trail,
        raw,
        action(operation="pages.cancel_batch", batch_id="boats@shop"),
        action(operation="jobs.retry", job_id="fox@shop"),
        action("press", operation="batch_actions.cancel", batch_id="boats@press"),
    )

    def operations(owner: str | None = None, **where: Any) -> list[str]:
        return [each.operation for each in trail.page(owner, **where).entries]

    assert operations(operation="Cancel") == ["batch_actions.cancel", "pages.cancel_batch"]
    assert operations("shop", operation="cancel") == ["pages.cancel_batch"]
    assert operations(about="boats") == ["batch_actions.cancel", "pages.cancel_batch"]
    assert operations(about="boats@press") == ["batch_actions.cancel"]
    assert operations("shop", about="boats@press") == []
    assert operations(key="press") == ["batch_actions.cancel"]
    assert len(operations(key="k1")) == 3
    assert operations(key="k") == []
    entry = trail.page(None, limit=1).entries[0]
    assert entry.at is not None
    assert operations(since=entry.at)[0] == "batch_actions.cancel"
    assert operations(until=datetime.fromtimestamp(0, UTC)) == []
    assert operations(since=datetime.now(UTC) + timedelta(days=1)) == []


def test_times_are_exact_to_a_millisecond(trail: AuditTrail, raw: redis.Redis) -> None:
    add(raw, "shop", f"{NOW}-0", f"{NOW}-1", f"{NOW + 1}-0")
    at = datetime.fromtimestamp(NOW / 1_000, UTC)
    assert ids(trail, "shop", until=at) == []
    assert ids(trail, "shop", until=at + timedelta(milliseconds=1)) == [f"{NOW}-1", f"{NOW}-0"]
    assert ids(trail, "shop", since=at + timedelta(microseconds=1)) == [f"{NOW + 1}-0"]
    assert ids(trail, "shop", since=at, until=at + timedelta(milliseconds=1), limit=1) == [f"{NOW}-1", f"{NOW}-0"]


def test_a_filter_that_finds_little_ends(trail: AuditTrail, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_trail, "SCAN", 100)
    add(raw, "shop", *(f"{NOW}-{number}" for number in range(250)))
    page = trail.page("shop", operation="nothing", limit=10)
    assert page.entries == ()
    assert page.cursor
    assert ids(trail, "shop", operation="nothing", limit=10) == []
    assert len(ids(trail, "shop", operation="cancel", limit=10)) == 250


DAMAGE: dict[str, dict[Any, Any]] = {
    "no field": {"x": "y"},
    "one is missing": {name: value for name, value in FIELDS.items() if name != "via"},
    "another way": FIELDS | {"via": "pigeon"},
    "no status": FIELDS | {"status": "many"},
    "no JSON": FIELDS | {"details": "{"},
    "no object": FIELDS | {"details": "[1]"},
    "a number": FIELDS | {"details": '{"a": 1}'},
    "deep": FIELDS | {"details": "[" * 100_000},
    "bytes": FIELDS | {"by": b"\xff\x9b"},
}


@pytest.mark.parametrize("fields", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_entry_is_shown_as_one_and_hides_no_other(
    fields: dict[Any, Any], trail: AuditTrail, raw: redis.Redis
) -> None:
    trail.record(action())
    raw.xadd(KEY("trail", "shop"), fields)
    trail.record(action())
    for owner in ("shop", None):
        operations = [each.operation for each in trail.page(owner).entries]
        assert operations == ["jobs.cancel", DAMAGED, "jobs.cancel"]
    assert len(trail.page("shop", operation="jobs").entries) == 2
    assert len(ids(trail, "shop", limit=1)) == 3


def test_an_entry_from_beyond_all_time_is_damaged(trail: AuditTrail, raw: redis.Redis) -> None:
    add(raw, "shop", f"{2**64 - 1}-{2**64 - 1}")
    with pytest.raises(Exception, match="ID"):
        trail.record(action())
    assert ids(trail, "shop", limit=1) == [f"{2**64 - 1}-{2**64 - 1}"]


def test_a_damaged_key_hides_no_other(trail: AuditTrail, raw: redis.Redis) -> None:
    trail.record(action("press"))
    trail.record(action("shop"))
    raw.delete(KEY("trail", "shop"))
    raw.set(KEY("trail", "shop"), "x")
    assert [each.owner for each in trail.page(None).entries] == ["press"]
    with pytest.raises(RecordDamaged):
        trail.page("shop")


@pytest.mark.parametrize("cursor", ["", "x", "1", "1-1", "1-1.", "1-1.a b", "-1-1.a", "1-1.shop\n", "٣-1.a", "1" * 30])
def test_a_made_up_cursor_is_refused(cursor: str, trail: AuditTrail) -> None:
    with pytest.raises(ValueError, match="cursor"):
        trail.page("shop", cursor=cursor)


def test_a_cursor_may_be_of_an_entry_that_is_gone(trail: AuditTrail, raw: redis.Redis) -> None:
    add(raw, "shop", f"{NOW}-0", f"{NOW}-1", f"{NOW}-2")
    cursor = trail.page("shop", limit=2).cursor
    raw.xdel(KEY("trail", "shop"), f"{NOW}-1")
    assert [each.id for each in trail.page("shop", cursor=cursor).entries] == [f"{NOW}-0"]


def test_redis_away() -> None:
    store = Store(connect("redis://127.0.0.1:1/0"), Settings())
    with pytest.raises(StoreUnavailable):
        store.audit_trail.record(action())
    with pytest.raises(StoreUnavailable):
        store.audit_trail.page(None)


@given(details=st.dictionaries(st.sampled_from("abcdefghijkl"), st.text(st.characters(), max_size=400)))
def test_details_are_bounded_text(details: dict[str, str]) -> None:
    kept = bounded(details)
    assert len(serialized(kept).encode()) <= MOST_DETAILS + 20
    assert all(
        value == details[name] or value.endswith("…") or "?" in value for name, value in kept.items() if name != "cut"
    )


def test_half_a_character_is_stored(trail: AuditTrail) -> None:
    trail.record(action(reason="\ud83d no"))
    (entry,) = trail.page("shop").entries
    assert entry.action is not None
    assert entry.action.details == {"reason": "? no"}
