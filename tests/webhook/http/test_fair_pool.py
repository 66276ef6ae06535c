"""A pool that is shared fairly between holders."""

from collections import Counter
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.http.fair_pool import FairPool, Place


class Ending:
    """What a request does when it must give way: it notes its name."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def taken(self, pool: FairPool, holder: str, count: int = 1, amount: int = 1) -> list[Place]:
        places = []
        for number in range(count):
            place = pool.take(holder, amount, partial(self.ended.append, f"{holder}{number}"))
            assert place
            places.append(place)
        return places


def test_one_holder_may_have_everything() -> None:
    pool = FairPool(16)
    Ending().taken(pool, "a", 16)
    assert pool.take("a") is None


def test_the_youngest_places_of_the_largest_holder_give_way() -> None:
    counted = list[str]()
    pool, ending = FairPool(16, counted.append), Ending()
    places = ending.taken(pool, "a", 16)
    ending.taken(pool, "b", 8)
    assert ending.ended == [f"a{number}" for number in range(15, 7, -1)]
    assert [place.lost for place in places] == [False] * 8 + [True] * 8
    # Both have their share now
    assert pool.take("b") is None
    assert pool.take("a") is None
    assert Counter(counted) == {"gave_way": 8, "refused": 2}
    # A third one gets its share from both
    ending.taken(pool, "c", 5)
    assert pool.take("c") is None


def test_a_lost_place_gives_nothing_back() -> None:
    pool, ending = FairPool(2), Ending()
    first, last = ending.taken(pool, "a", 2)
    ending.taken(pool, "b")
    last.release()
    assert pool.free == 0
    first.release()
    first.release()
    assert pool.free == 1


def test_a_place_that_cannot_end_is_kept() -> None:
    pool = FairPool(2)
    for place in Ending().taken(pool, "a", 2):
        place.keep()
    assert pool.take("b") is None


@pytest.mark.parametrize(
    ("large", "wanted", "ended"),
    [
        pytest.param(50, 50, [], id="two halves"),
        pytest.param(100, 60, ["a0"], id="more than a half that gives way"),
        pytest.param(100, 1, ["a0"], id="little"),
        pytest.param(60, 70, None, id="more than the other has"),
        pytest.param(10, 101, None, id="more than there is"),
    ],
)
def test_amounts_are_shared_like_places(large: int, wanted: int, ended: list[str] | None) -> None:
    pool, ending = FairPool(100), Ending()
    ending.taken(pool, "a", amount=large)
    place = pool.take("b", wanted)
    assert bool(place) == (ended is not None)
    assert ending.ended == (ended or [])


def test_a_place_grows_until_it_is_lost() -> None:
    pool = FairPool(100)
    place = pool.take("a", 0, lambda: None)
    assert place
    assert place.grow(90)
    assert not place.grow(20)
    assert place.grow(-40)
    assert pool.free == 50
    assert pool.take("b", 40)
    assert pool.take("b", 40) is None  # more than the other has
    assert place.grow(10)
    assert pool.take("c", 30)
    assert place.lost
    assert not place.grow(1)


STEPS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 40), st.booleans()), max_size=60)


@given(STEPS)
def test_nothing_is_given_twice_and_nobody_with_less_gives_way(steps: list[tuple[str, int, bool]]) -> None:
    pool, places = FairPool(100), list[Place]()
    for holder, amount, releases in steps:
        before = {each: each.amount for each in places if not each.lost}
        totals = Counter[str]()
        for each, size in before.items():
            totals[each.holder] += size
        place = pool.take(holder, amount, lambda: None)
        lost = [each for each in before if each.lost]
        if place:
            places.append(place)
            assert holder not in {each.holder for each in lost}
            assert all(totals[each.holder] > totals[holder] + amount for each in lost)
        else:
            assert lost == []
            assert amount > 100 - sum(before.values())
        if releases and places:
            places.pop(0).release()
        held = sum(each.amount for each in places if not each.lost)
        assert (pool.free, held <= 100) == (100 - held, True)


@pytest.mark.parametrize(
    ("holder", "ended"),
    [
        pytest.param("slow", "slow1", id="another of its own"),
        pytest.param("new", "slow1", id="a holder with less"),
        pytest.param("fast", None, id="a holder with more"),
    ],
)
def test_slow_places_give_way_first(holder: str, ended: str | None) -> None:
    pool, ending = FairPool(5), Ending()
    ending.taken(pool, "fast", 3)
    for number in range(2):
        pool.take("slow", 1, partial(ending.ended.append, f"slow{number}"), lambda: True)
    assert bool(pool.take(holder, 1)) == bool(ended)
    assert ending.ended == ([ended] if ended else [])


def test_a_slow_place_gives_way_to_a_holder_with_as_much() -> None:
    pool, ending = FairPool(2), Ending()
    pool.take("slow", 1, partial(ending.ended.append, "slow"), lambda: True)
    pool.take("fast", 1, partial(ending.ended.append, "fast"))
    assert pool.take("new")
    assert ending.ended == ["slow"]
    assert pool.take("newer") is None
