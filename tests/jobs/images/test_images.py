"""Images are stored once, counted by the jobs that name them, and removed afterwards, also under concurrency."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from jobs.audit.repair import repair
from jobs.errors import ImageNotFound, ImagesUnavailable, NotAllowed
from jobs.images.images import LONGEST_WRITE
from jobs.new_job import NewJob, Outcome
from jobs.result import Result
from jobs.settings import Settings
from jobs.states import State
from tests.support.bench import Bench, MakeJob

DAY = Settings().image_retention


def job_naming(*digests: str, job_id: str = "fox", **more: Any) -> NewJob:
    """Return a job whose request names these images."""
    params = {"prompt": "a fox", "image_list": [{"image": f"image:sha256:{digest}"} for digest in digests], **more}
    text = json.dumps({"model": "m", "params": params})
    return NewJob(id=job_id, text=text, model="m")


@pytest.fixture
def fox(bench: Bench) -> Any:
    """A stored image."""
    image_file = bench.placeholder_image(b"a fox")
    assert bench.images().put(image_file)
    return image_file


def use_counts(bench: Bench) -> dict[str, int]:
    return {digest: int(count) for digest, count in bench.raw.hgetall(bench.keys.singleton("uses")).items()}


def purged_after(bench: Bench, seconds: float = DAY) -> int:
    """Let `seconds` and one more pass. Return how many objects one purge removes."""
    bench.forward(seconds + 1)
    return bench.images().purge()


def test_an_image_is_written_once(bench: Bench, fox: Any) -> None:
    images = bench.images()
    assert [images.put(bench.placeholder_image(b"a fox")) for _ in range(3)] == [False] * 3
    assert bench.stored.writes == 1
    (image,) = images.find([fox.hash])
    assert image
    assert (image.size, image.width, image.height, image.format) == (5, 300, 300, "png")
    assert images.read(image) == b"a fox"


def test_an_image_stays_until_a_day_after_its_last_job_ended(bench: Bench, fox: Any) -> None:
    bench.store.jobs.enqueue([job_naming(fox.hash)])
    assert purged_after(bench, 30 * DAY) == 0
    claim = bench.claimed()
    assert bench.store.attempts.mark_in_progress("fox", claim.fence, "t1")
    assert purged_after(bench) == 0
    assert bench.store.attempts.finish("fox", State.COMPLETED, Result(), "poll").outcome == "finished"
    assert use_counts(bench) == {}
    assert purged_after(bench, DAY - 60) == 0
    assert purged_after(bench, 60) == 1
    assert (bench.stored, bench.images().find([fox.hash])) == ({}, [None])
    assert bench.audit() == []


def test_an_unused_image_is_removed_a_day_after_it_was_last_asked_for(bench: Bench, fox: Any) -> None:
    bench.forward(DAY - 1)
    assert bench.images().absent([fox.hash, "0" * 64]) == {"0" * 64}
    assert purged_after(bench, DAY - 10) == 0
    assert purged_after(bench, 10) == 1


@pytest.mark.parametrize("state", list(State))
def test_an_image_is_in_use_while_its_job_is_unfinished(bench: Bench, fox: Any, state: State) -> None:
    bench.store.jobs.enqueue([job_naming(fox.hash, fox.hash)])
    bench.put_on(state)
    assert use_counts(bench) == ({} if state.final else {fox.hash: 2})
    assert bench.audit() == []


def test_an_image_is_removed_after_its_last_job_ended(bench: Bench, fox: Any) -> None:
    bench.store.jobs.enqueue([job_naming(fox.hash, job_id=f"j{n}") for n in range(5)], "b")
    assert use_counts(bench) == {fox.hash: 5}
    for n in range(4):
        bench.store.jobs.cancel(f"j{n}")
    assert use_counts(bench) == {fox.hash: 1}
    assert purged_after(bench) == 0
    bench.store.batches.cancel("b")
    assert purged_after(bench) == 1


@pytest.mark.parametrize(
    "more",
    [{"prompt": "image:sha256:" + "0" * 64}, {"image_list": [{"image": "https://x/image:sha256:" + "0" * 64}]}],
)
def test_a_reference_in_other_text_does_not_count(bench: Bench, more: dict[str, Any]) -> None:
    assert bench.store.jobs.enqueue([job_naming(**more)]).outcomes == (Outcome.CREATED,)
    assert use_counts(bench) == {}


def test_a_reference_in_a_label_does_not_count(bench: Bench, make: MakeJob, fox: Any) -> None:
    reference = f"image:sha256:{fox.hash}"
    text = json.dumps({"labels": {"of": reference}, "model": "m", "params": {"prompt": reference}})
    bench.store.jobs.enqueue([make(text=text)])
    assert use_counts(bench) == {}
    assert bench.audit() == []


# --- absent images ----------------------------------------------------------------------------------------------------


def test_a_job_that_names_an_absent_image_is_not_accepted(bench: Bench, fox: Any) -> None:
    before = bench.dump()
    assert bench.store.jobs.enqueue([job_naming(fox.hash, "0" * 64)]).outcomes == (Outcome.IMAGELESS,)
    assert bench.dump() == before


def test_a_known_job_is_known_after_its_image_was_removed(bench: Bench, fox: Any) -> None:
    bench.store.jobs.enqueue([job_naming(fox.hash)])
    bench.store.jobs.cancel("fox")
    assert purged_after(bench) == 1
    assert bench.store.jobs.enqueue([job_naming(fox.hash)]).outcomes == (Outcome.KNOWN,)


def test_a_retry_needs_the_image_and_succeeds_after_another_upload(bench: Bench, fox: Any) -> None:
    bench.store.jobs.enqueue([job_naming(fox.hash)], "b")
    bench.put_on(State.FAILED)
    assert purged_after(bench) == 1
    with pytest.raises(NotAllowed, match="POST /v1/images, then retry"):
        bench.store.jobs.retry("fox")
    assert bench.store.batches.retry("b").affected == 0
    bench.images().put(bench.placeholder_image(b"a fox"))
    assert bench.store.batches.retry("b").affected == 1
    assert use_counts(bench) == {fox.hash: 1}
    assert bench.audit() == []


def test_an_image_that_the_store_lost_can_be_uploaded_again(bench: Bench, fox: Any) -> None:
    bench.store.jobs.enqueue([job_naming(fox.hash)])
    images = bench.images()
    for spoil in (bench.stored.clear, lambda: bench.stored.update(dict.fromkeys(bench.stored, b"another"))):
        (image,) = images.find([fox.hash])
        spoil()
        with pytest.raises(ImageNotFound, match=f"image:sha256:{fox.hash}"):
            images.read(image)  # type: ignore[arg-type]
        assert images.find([fox.hash]) == [None]
        assert [finding.rule for finding in bench.audit()] == ["image"]
        assert images.put(bench.placeholder_image(b"a fox"))
        # Only the lost object is removed: the image's job has not ended.
        assert purged_after(bench, 0) == 1
        assert list(bench.stored.values()) == [b"a fox"]
        assert bench.audit() == []
    assert purged_after(bench, 2 * DAY) == 0


def test_an_image_counts_for_the_key_that_uploaded_it_first(bench: Bench) -> None:
    fox = bench.placeholder_image(b"a fox")
    assert bench.images().put(fox, "shop")
    assert bench.images().put(fox, "press")  # new to this producer
    assert bench.store.statistics.held().stored == {"shop": len(fox.data)}
    assert bench.audit() == []
    bench.raw.hincrby(bench.keys.singleton("stored_images"), "shop", 7)
    assert [(each.rule, each.id) for each in bench.audit()] == [("image bytes", "key shop")]
    repair(bench.store)
    assert bench.store.statistics.held().stored == {"shop": len(fox.data)}
    purged_after(bench, 2 * DAY)
    assert bench.store.statistics.held().stored == {}
    assert bench.raw.hlen(bench.keys.singleton("image_owners")) == 0
    assert bench.audit() == []


# --- crashes and concurrency ------------------------------------------------------------------------------------------


def test_a_half_written_image_is_removed_after_an_hour(bench: Bench) -> None:
    bench.stored.meanwhile = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        bench.images().put(bench.placeholder_image(b"a fox"))
    bench.stored.update({"half": b"a f"})
    assert purged_after(bench, LONGEST_WRITE - 60) == 0
    assert purged_after(bench, 60) == 1
    assert bench.raw.zcard(bench.keys.singleton("going")) == 0
    assert bench.audit() == []


def test_a_write_that_takes_too_long_stores_no_image(bench: Bench) -> None:
    # By then its object is due, and another process may be removing it.
    bench.stored.meanwhile = lambda: bench.forward(LONGEST_WRITE + 1)
    image_file = bench.placeholder_image(b"a fox")
    with pytest.raises(ImagesUnavailable, match="3600 s"):
        bench.images().put(image_file)
    assert bench.images().find([image_file.hash]) == [None]
    assert purged_after(bench, 0) == 1
    assert bench.stored == {}


def test_two_simultaneous_writes_leave_one_copy(bench: Bench) -> None:
    image_file = bench.placeholder_image(b"a fox")
    bench.stored.meanwhile = lambda: bench.images().put(image_file)
    assert not bench.images().put(image_file)
    assert (bench.stored.writes, len(bench.stored)) == (2, 1)
    (image,) = bench.images().find([image_file.hash])
    assert bench.images().read(image) == b"a fox"  # type: ignore[arg-type]
    assert bench.raw.zcard(bench.keys.singleton("going")) == 0


def test_a_job_enqueued_while_its_image_is_removed_is_refused_or_has_another_copy(bench: Bench, fox: Any) -> None:
    outcomes: list[str] = []

    def meanwhile() -> None:
        outcomes.extend(bench.store.jobs.enqueue([job_naming(fox.hash)]).outcomes)
        bench.images().put(fox)
        outcomes.extend(bench.store.jobs.enqueue([job_naming(fox.hash)]).outcomes)

    bench.stored.meanwhile = meanwhile
    assert purged_after(bench) == 1
    assert outcomes == [Outcome.IMAGELESS, Outcome.CREATED]
    (image,) = bench.images().find([fox.hash])
    assert bench.images().read(image) == b"a fox"  # type: ignore[arg-type]
    assert purged_after(bench, 3 * DAY) == 0
    assert bench.audit() == []


def test_the_next_purge_removes_what_a_killed_one_left(bench: Bench, fox: Any) -> None:
    bench.stored.meanwhile = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        purged_after(bench)
    assert bench.stored != {}
    assert purged_after(bench, 0) == 1
    assert (bench.stored, purged_after(bench, 0)) == ({}, 0)


# --- atomic uploads ---------------------------------------------------------------------------------------------------


def test_images_of_a_staged_upload_stay_until_its_jobs_are_created(bench: Bench, fox: Any) -> None:
    store, jobs = bench.store, [job_naming(fox.hash, job_id=f"j{n}") for n in range(600)]
    assert set(store.uploads.stage("t", jobs)) == {Outcome.CREATED}
    assert store.uploads.stage("t", [job_naming("0" * 64)]) == (Outcome.IMAGELESS,)
    assert bench.store.context.scripts.call("commit", "t", "b", "{}", 600, "") == "begun"
    # The commit is decided, but its process died before it created the jobs.
    assert bench.audit() == []
    assert purged_after(bench) == 0
    while store.batches.sweep():
        pass
    assert use_counts(bench) == {fox.hash: 600}
    assert bench.audit() == []
    assert not bench.raw.exists(bench.keys.member("pinned", "t"))


def test_an_upload_whose_image_was_removed_meanwhile_is_not_committed(bench: Bench, fox: Any) -> None:
    bench.store.uploads.stage("t", [job_naming(fox.hash)])
    assert purged_after(bench) == 1
    with pytest.raises(NotAllowed, match="an image of it is not kept"):
        bench.store.uploads.commit("t", "b", 1)
    bench.store.uploads.discard("t")
    assert not bench.raw.exists(*(bench.keys.member(name, "t") for name in ("staged", "lines", "pinned")))


# --- the audit --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("break_it", "rule"),
    [
        (lambda bench, digest: bench.raw.hincrby(bench.keys.singleton("uses"), digest, 1), "uses"),
        (lambda bench, digest: bench.raw.hdel(bench.keys.singleton("uses"), digest), "uses"),
        (lambda bench, digest: bench.raw.zadd(bench.keys.singleton("images"), {digest: 1}), "image"),
        (lambda bench, digest: bench.raw.zrem(bench.keys.singleton("images"), digest), "image"),
    ],
)
def test_the_audit_finds_a_wrong_count_or_alarm_of_an_image(
    bench: Bench, fox: Any, break_it: Callable[[Any, str], object], rule: str
) -> None:
    bench.store.jobs.enqueue([job_naming(fox.hash)])
    assert bench.audit() == []
    break_it(bench, fox.hash)
    assert [(finding.rule, finding.id) for finding in bench.audit()] == [(rule, fox.hash)]


def test_the_audit_finds_an_image_that_is_half_removed(bench: Bench, fox: Any) -> None:
    bench.raw.hdel(bench.keys.singleton("kept"), fox.hash)
    assert {(finding.rule, finding.id) for finding in bench.audit()} == {("image bytes", "all"), ("image", fox.hash)}
