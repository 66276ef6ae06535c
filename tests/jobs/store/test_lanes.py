"""Jobs are routed to lanes, and every lane with jobs is listed, also one that is no longer configured."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.audit.audit import audit
from jobs.lanes import LaneSettings, pooled, route
from jobs.new_job import NewJob
from jobs.result import Result
from jobs.serializers.lanes import serialize_lane
from jobs.states import State
from tests.support.bench import Bench

Make = Callable[..., NewJob]
_RESULT = Result(output=({"type": "image", "url": "https://cdn.example.com/1.png"},))
OMNI, REFERENCE = "kirin_image_omni", "kirin_v2_1_reference2image"


def lane(name: str, *models: str, **labels: str) -> LaneSettings:
    return LaneSettings(name=name, models=models, labels=labels)


ROUTES: dict[str, tuple[list[LaneSettings], str, Mapping[str, str], str | None]] = {
    "any": ([lane("a")], OMNI, {}, ""),
    "the first that takes it": ([lane("a", "kirin_*"), lane("b", OMNI), lane("c")], OMNI, {}, "a"),
    "by model": ([lane("a", REFERENCE), lane("b", OMNI)], OMNI, {}, "b"),
    "one character": ([lane("a", "kirin_v?_1_*"), lane("b")], REFERENCE, {}, "a"),
    "case counts": ([lane("a", "Kirin_*"), lane("b")], OMNI, {}, ""),
    "the whole name": ([lane("a", "kirin"), lane("b")], OMNI, {}, ""),
    "one of several models": ([lane("a", "x", OMNI)], OMNI, {}, "a"),
    "by label": ([lane("a", shop="berlin"), lane("b")], OMNI, {"shop": "berlin", "size": "s"}, "a"),
    "another value": ([lane("a", shop="berlin"), lane("b")], OMNI, {"shop": "rome"}, ""),
    "all labels": ([lane("a", shop="berlin", size="s"), lane("b")], OMNI, {"shop": "berlin"}, ""),
    "model and label": ([lane("a", OMNI, shop="berlin"), lane("b")], OMNI, {}, ""),
    "no lane": ([lane("a", REFERENCE), lane("b", shop="berlin")], OMNI, {}, None),
    "a pool is named after its first": ([lane("b", OMNI), lane("a", OMNI)], OMNI, {}, "b"),
    "the order of models does not count": ([lane("a", OMNI, "x"), lane("b", "x", OMNI)], "x", {}, "a"),
    "the same models, other labels": ([lane("a", OMNI, shop="rome"), lane("b", OMNI)], OMNI, {}, "b"),
}


@pytest.mark.parametrize(("lanes", "model", "labels", "pool"), ROUTES.values(), ids=ROUTES)
def test_a_job_is_routed_to_the_first_lane_that_takes_it(
    lanes: list[LaneSettings], model: str, labels: Mapping[str, str], pool: str | None
) -> None:
    assert route(pooled(lanes), model, labels) == pool


models = st.sampled_from([OMNI, REFERENCE, "kirin_*", "*omni", "x?", "x1"])
labels = st.dictionaries(st.sampled_from(["shop", "size"]), st.sampled_from(["s", "m"]), max_size=2)
rules = st.lists(st.tuples(st.lists(models, max_size=2, unique=True), labels), min_size=1, max_size=5)


@given(rules, models, labels)
def test_pools_and_routes_agree(
    rules: list[tuple[list[str], dict[str, str]]], model: str, wanted: dict[str, str]
) -> None:
    lanes = pooled([lane(f"l{number}", *names, **marks) for number, (names, marks) in enumerate(rules)])
    # Two lanes share a pool exactly when their models and labels are equal
    for one in lanes:
        for other in lanes:
            same = (set(one.models), one.labels) == (set(other.models), other.labels)
            assert (one.pool == other.pool) is same
    # A pool's name is '' or that of its first lane, so that names are unique
    for each in lanes:
        takes_all = not each.models and not each.labels
        assert each.pool == ("" if takes_all else next(other.name for other in lanes if other.pool == each.pool))
    # A job is routed to the pool of the first lane that takes it
    taking = [
        each
        for each in lanes
        if (not each.models or any(fnmatchcase(model, name) for name in each.models))
        and each.labels.items() <= wanted.items()
    ]
    assert route(lanes, model, wanted) == (taking[0].pool if taking else None)


# --- the list of lanes ------------------------------------------------------------------------------------------------

LANES = pooled((LaneSettings(name="a", max_in_flight=2), LaneSettings(name="b"), lane("ref", REFERENCE)))


def test_every_lane_is_listed_with_the_jobs_that_wait_in_its_pool(bench: Bench, make: Make) -> None:
    store = bench.with_settings(named_lanes=LANES)
    store.jobs.enqueue([make(f"j{number}") for number in range(5)])
    store.jobs.enqueue([make("r", pool="ref")])
    store.attempts.claim(store.attempts.admit(2, LANES[0]).ids)
    listed = [(each.name, each.pool, each.slots, each.limit, each.ready) for each in store.lanes.get_all()]
    assert listed == [("a", "", 2, 2, 3), ("b", "", 0, 0, 3), ("ref", "ref", 0, 0, 1)]
    assert all(each.settings for each in store.lanes.get_all())


def test_the_other_lane_of_a_pool_takes_the_jobs_of_a_held_one(bench: Bench, make: Make) -> None:
    store = bench.with_settings(named_lanes=LANES)
    a, b, _ = LANES
    store.jobs.enqueue([make(f"j{number}") for number in range(3)])
    taken = store.attempts.admit(2, a).ids
    store.lanes.hold("429", base=60, cap=60, lane="a")
    # Also jobs that were already dispatched
    assert store.attempts.claim(taken) == []
    assert store.attempts.admit(10, b).ids == ("j0", "j1", "j2")
    assert {claim.lane for claim in store.attempts.claim(["j0", "j1", "j2"])} == {"b"}
    assert audit(store) == []


def test_an_attempt_that_was_in_doubt_waits_for_its_own_lane(bench: Bench, make: Make) -> None:
    store = bench.with_settings(named_lanes=LANES)
    a, b, _ = LANES
    store.jobs.enqueue([make("fox")])
    store.attempts.admit(1, a)
    (claim,) = store.attempts.claim(["fox"])
    store.attempts.mark_in_doubt("fox", claim.fence, "read timed out")
    store.attempts.requeue("fox", claim.fence, "absent")
    store.lanes.hold("402", base=60, cap=60, lane="a")
    assert (store.attempts.admit(9, a).ids, store.attempts.admit(9, b).ids) == ((), ())
    assert [(each.name, each.ready) for each in store.lanes.get_all()] == [("a", 1), ("b", 0), ("ref", 0)]
    bench.forward(61)
    # Also after its alarm queued it again
    store.attempts.claim_due(10)
    assert (store.attempts.admit(9, b).ids, store.attempts.admit(9, a).ids) == ((), ("fox",))
    bench.forward(31)
    store.attempts.claim_due(10)
    assert (store.attempts.admit(9, b).ids, store.attempts.admit(9, a).ids) == ((), ("fox",))
    (claim,) = store.attempts.claim(["fox"])
    assert claim.lane == "a"
    assert audit(store) == []


def test_a_lane_that_is_no_longer_configured_is_listed_until_its_jobs_are_gone(bench: Bench, make: Make) -> None:
    before = bench.with_settings(named_lanes=LANES)
    b, ref = LANES[1:]
    before.jobs.enqueue([make("there"), make("doubtful")])
    before.jobs.enqueue([make("r1", pool="ref"), make("r2", pool="ref")])
    there, doubtful = before.attempts.claim(before.attempts.admit(2, b).ids)
    before.attempts.mark_in_progress("there", there.fence, "t")
    before.attempts.mark_in_doubt("doubtful", doubtful.fence, "read timed out")
    before.attempts.requeue("doubtful", doubtful.fence, "absent")
    before.attempts.claim(before.attempts.admit(1, ref).ids)
    # When lanes b and ref are removed
    after = bench.with_settings(named_lanes=pooled(LANES[:1]))
    after.jobs.enqueue([make("new")])
    assert after.attempts.admit(10).ids == ("new",)
    a, *others = after.lanes.get_all()
    assert (a.name, a.slots, a.dispatched, a.ready) == ("a", 0, 1, 0)
    # Then their jobs at the provider, those bound to a lane, and those in a pool without lanes are still listed
    listed = [(each.name, each.pool, each.settings, each.slots, each.ready) for each in others]
    assert listed == [("b", "@b", None, 1, 1), ("ref", "@ref", None, 1, 0), ("ref", "ref", None, 0, 1)]
    # The provider's callback still ends it
    after.attempts.finish("there", State.COMPLETED, _RESULT, "callback")
    after.jobs.cancel("doubtful")
    after.jobs.cancel("r2")
    assert [each.name for each in after.lanes.get_all()] == ["a", "ref"]
    assert audit(after) == []


def test_the_old_pool_of_a_lane_whose_models_changed_is_listed(bench: Bench, make: Make) -> None:
    before = bench.with_settings(named_lanes=LANES)
    before.jobs.enqueue([make("j0")])
    before.jobs.enqueue([make("r1", pool="ref")])
    after = bench.with_settings(named_lanes=pooled((lane("ref", "other"), lane("a", OMNI))))
    listed = [(each.name, each.pool, each.settings is not None, each.ready) for each in after.lanes.get_all()]
    # Pool "ref" has a lane with new models; the pool of all other jobs has none
    assert listed == [("ref", "ref", True, 1), ("a", "a", True, 0), ("default", "", False, 1)]


def test_a_lane_is_serialized_for_the_api(bench: Bench) -> None:
    settings = LaneSettings(name="a", models=("kirin_*",), labels={"shop": "x"}, max_in_flight=30, learn_limit=True)
    (settings,) = pooled((settings,))
    store = bench.with_settings(named_lanes=(settings,))
    store.attempts.admit(0, settings)
    store.lanes.hold("429: 1303", base=1.0, cap=1.0, throttled=True, lane="a")
    serialized = serialize_lane(store.lanes.get("a"))
    (change,) = serialized.pop("history")
    assert datetime.fromisoformat(change.pop("at")).tzinfo is UTC
    assert change == {"what": "limit", "limit": 1.0, "reason": "429: 1303"}
    expected = {
        "name": "a",
        "configured": True,
        "pool": "a",
        "models": ["kirin_*"],
        "labels": {"shop": "x"},
        "max_in_flight": 30,
        "learned_limit": 1.0,
        "limit": 1,
        "breaker": "closed",
        "breaker_since": None,
        "breaker_opened": 0,
    }
    assert expected.items() <= serialized.items()
