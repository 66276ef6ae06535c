"""Notices: each target gets each once, again only if it happens anew or lasts long, and never too many at once."""

from datetime import timedelta
from typing import Any

import pytest

from jobs.new_job import BatchOptions
from jobs.notices import CALM, ENDS_ANNOUNCED, ENDS_KEPT, LEASE, REMIND, SPACING, Notice, NoticeClass
from jobs.units import from_micros
from tests.support.bench import Bench, new


def notice(bench: Bench, subject: str = "default", began: float = 0.0, **more: Any) -> Notice:
    """A notice whose cause began so many seconds ago."""
    since = from_micros(bench.now) - timedelta(seconds=began)
    return Notice(about=NoticeClass.PROVIDER_AWAY, subject=subject, since=since, **more)


def test_a_notice_is_claimed_once_for_each_target(bench: Bench) -> None:
    notices, there = bench.store.notices, notice(bench)
    assert notices.claim("a", [there]) == [there]
    assert notices.claim("a", [there]) == []
    assert notices.claim("b", [there]) == [there]


def test_one_that_was_not_sent_is_due_again_after_the_lease(bench: Bench) -> None:
    notices, there = bench.store.notices, notice(bench)
    notices.claim("a", [there])
    bench.forward(LEASE - 1)
    assert notices.claim("a", [there]) == []
    bench.forward(1)
    assert notices.claim("a", [there]) == [there]


@pytest.mark.parametrize(
    ("passed", "began_anew", "is_due"),
    [
        (SPACING, False, False),
        (SPACING, True, False),  # it flaps
        (CALM, False, False),  # it lasts
        (CALM, True, True),
        (REMIND - 1, False, False),
        (REMIND, False, True),
    ],
)
def test_a_sent_one_is_sent_again_if_it_happens_anew_or_lasts(
    bench: Bench, passed: float, began_anew: bool, is_due: bool
) -> None:
    notices, there = bench.store.notices, notice(bench, began=5.0)
    notices.record_sent("a", notices.claim("a", [there]))
    bench.forward(passed)
    now = notice(bench, began=1.0) if began_anew else there
    assert (notices.claim("a", [now]) == [now]) == is_due


@pytest.mark.parametrize("fails", [False, True])
def test_messages_to_a_target_keep_their_distance_and_join_what_comes_meanwhile(bench: Bench, fails: bool) -> None:
    notices, first = bench.store.notices, notice(bench, "a")
    notices.claim("t", [first])
    if fails:
        notices.record_failure("t")
    else:
        notices.record_sent("t", [first])
    later = [notice(bench, each) for each in "bcd"]
    bench.forward(SPACING - 1)
    assert notices.claim("t", later) == []
    bench.forward(1)
    assert notices.claim("t", later) == later


def ended(bench: Bench) -> list[str]:
    return [batch for batch, _ in bench.store.notices.batch_ends(from_micros(bench.now))]


@pytest.mark.parametrize("options", [BatchOptions(), BatchOptions(callback_url="https://hooks.shop.example/")])
def test_each_batch_that_ends_is_noted_with_its_last_end(bench: Bench, options: BatchOptions) -> None:
    jobs = bench.store.jobs
    jobs.enqueue([new("a"), new("b")], "x", options)
    jobs.cancel("a")
    assert ended(bench) == []
    jobs.cancel("b")
    ((batch, at),) = bench.store.notices.batch_ends(from_micros(bench.now))
    assert (batch, at) == ("x", from_micros(bench.now))
    bench.forward(60)
    jobs.enqueue([new("c")], "x", options)
    jobs.cancel("c")
    assert bench.store.notices.batch_ends(from_micros(bench.now)) == [("x", from_micros(bench.now))]
    bench.forward(ENDS_ANNOUNCED + 1)
    assert ended(bench) == []


def test_the_ends_that_are_kept_are_bounded(bench: Bench) -> None:
    for number in range(ENDS_KEPT + 3):
        bench.store.jobs.enqueue([new(f"j{number}")], f"b{number}")
        bench.forward(0.001)
        bench.store.jobs.cancel(f"j{number}")
    assert len(ended(bench)) == ENDS_KEPT
    assert ended(bench)[-1] == f"b{ENDS_KEPT + 2}"
