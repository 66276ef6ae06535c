"""Reviews of outputs: what is kept, counted and found, and that it goes with the job."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.errors import JobNotFound, NotAllowed
from jobs.new_job import NewJob
from jobs.result import Result
from jobs.review import Mark, Verdict
from jobs.states import State
from jobs.store.outcomes.jobs import ReviewOutcome
from tests.support.bench import IMAGES, Bench

#: Without half surrogates, which the API refuses.
NOTES = st.text(st.characters(codec="utf-8"), max_size=9)
Make = Callable[..., NewJob]
A, R = Verdict.ACCEPTED, Verdict.REJECTED


@pytest.fixture
def foxes(bench: Bench, make: Make) -> Bench:
    """A batch `b` of five completed jobs of two images each, f0 to f4, and a failed one."""
    bench.store.jobs.enqueue([make(f"f{number}", n=2) for number in range(5)] + [make("bad")], "b")
    for claim in bench.store.attempts.claim(bench.store.attempts.admit(10).ids):
        failed = claim.id == "bad"
        result = Result(error={"code": "x", "message": "no"}) if failed else Result(output=IMAGES.output * 2)
        state = State.FAILED if failed else State.COMPLETED
        assert bench.store.attempts.finish(claim.id, state, result, "poll").outcome == "finished"
    return bench


def found(bench: Bench, *marks: Mark) -> list[tuple[str, list[int]]]:
    return [(each.job.id, each.outputs(marks)) for part in bench.store.reviews.parts("b", marks) for each in part]


def test_outputs_are_found_by_their_marks_in_input_order(foxes: Bench) -> None:
    review = foxes.store.reviews.review
    review("f3", 1, A, starred=True, note="Großartig 🦊", by="shop-1")
    review("f1", 0, R, by="shop-2")
    review("f1", 1, A, by="shop-2")
    review("f0", 0, starred=True)

    assert found(foxes, Mark.ACCEPTED) == [("f1", [1]), ("f3", [1])]
    assert found(foxes, Mark.REJECTED, Mark.STARRED) == [("f0", [0]), ("f1", [0]), ("f3", [1])]
    assert found(foxes, Mark.UNREVIEWED) == [("f0", [0, 1]), ("f2", [0, 1]), ("f3", [0]), ("f4", [0, 1])]
    assert [job for job, _ in found(foxes)] == ["f0", "f1", "f2", "f3", "f4", "bad"]
    assert foxes.store.batches.get("b").reviews == {Mark.ACCEPTED: 2, Mark.REJECTED: 1, Mark.STARRED: 2}
    (kept,) = foxes.store.reviews.of(["f3"])
    assert (kept[1].verdict, kept[1].starred, kept[1].note, kept[1].by) == (A, True, "Großartig 🦊", "shop-1")
    assert foxes.audit() == []


def test_a_review_is_replaced_and_removed_and_a_repeat_keeps_who_made_it(foxes: Bench) -> None:
    review = foxes.store.reviews.review
    review("f1", 0, starred=True)
    review("f1", 0)
    sound = foxes.dump()
    assert review("f0", 0, A, by="first") is ReviewOutcome.REVIEWED
    foxes.forward(5)
    assert review("f0", 0, A, by="second") is ReviewOutcome.SAME
    assert foxes.store.reviews.of(["f0"])[0][0].by == "first"
    assert review("f0", 0, R, note="six toes", by="second") is ReviewOutcome.REVIEWED
    assert found(foxes, Mark.ACCEPTED) == []
    assert review("f0", 0) is ReviewOutcome.REVIEWED
    assert review("f0", 0) is ReviewOutcome.SAME
    assert foxes.dump() == sound


@pytest.mark.parametrize(("job", "output"), [("f0", 2), ("f0", 9), ("bad", 0)])
def test_only_an_output_can_be_reviewed(foxes: Bench, job: str, output: int) -> None:
    before = foxes.dump()
    with pytest.raises(NotAllowed, match=str(output)):
        foxes.store.reviews.review(job, output, A)
    with pytest.raises(JobNotFound):
        foxes.store.reviews.review("nobody", output, A)
    assert list(foxes.store.reviews.parts("none", [Mark.ACCEPTED])) == []
    assert foxes.dump() == before


def test_reviews_go_with_their_job(foxes: Bench) -> None:
    for number in range(2):
        foxes.store.reviews.review("f2", number, A, starred=True, note="n" * 300)
    foxes.put(State.COMPLETED, "single")
    foxes.store.reviews.review("single", 0, R)
    held = dict(foxes.raw.hgetall(foxes.keys.singleton("stored")))
    assert sum(map(int, held.values())) > 600
    foxes.forward(1_000_000)
    while any(foxes.store.jobs.purge()):
        pass
    assert [key for key in foxes.raw.scan_iter() if ":rw:" in key or ":mk:" in key] == []
    assert foxes.raw.hgetall(foxes.keys.singleton("stored")) == {}
    assert foxes.audit() == []


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 1), st.sampled_from([None, A, R]), st.booleans(), NOTES),
        max_size=12,
    )
)
def test_any_sequence_leaves_what_was_said_last(foxes: Bench, said: list[tuple[Any, ...]]) -> None:
    last: dict[tuple[int, int], tuple[Any, bool, str]] = {}
    for job, output, verdict, starred, note in said:
        foxes.store.reviews.review(f"f{job}", output, verdict, starred=starred, note=note)
        last[job, output] = (verdict, starred, note)
    for each in range(5):
        for output, kept in foxes.store.reviews.of([f"f{each}"])[0].items():
            assert last.pop((each, output)) == (kept.verdict, kept.starred, kept.note)
    assert all(each == (None, False, "") for each in last.values())
    assert foxes.audit() == []
    for each in range(5):
        for output in range(2):
            foxes.store.reviews.review(f"f{each}", output)
