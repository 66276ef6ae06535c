"""Lists and counts by every condition find just the jobs that meet it, from whichever index they read."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.failures import FailureClass
from jobs.job import LANE, Job
from jobs.job_filter import ALL_JOBS, JobFilter
from jobs.new_job import BatchOptions
from jobs.owners import CELERY
from jobs.result import Result
from jobs.states import FINAL, State
from jobs.store import job_lists
from tests.support.bench import IMAGES, Bench, MakeJob, bench_on, new
from tests.support.examples import examples

S = State
MODELS = ("kirin_image_omni", "seedream")
OWNERS = ("shop", "press")
CODES = ("1301", "1201", "002016095", "odd", "")


def owner_of(job: Job, batches: Mapping[str, str]) -> str:
    return batches[job.batch] if job.batch else job.owner


def admits(only: JobFilter, job: Job, batches: Mapping[str, str]) -> bool:
    """Return what a filter means, in plain Python over a whole job."""
    code = (job.result.error or {}).get("code", "") if job.result and job.state is S.FAILED else None

    def within(moment: datetime | None, since: datetime | None, before: datetime | None) -> bool:
        return moment is not None and (since is None or moment >= since) and (before is None or moment < before)

    owner = owner_of(job, batches)
    conditions = {
        "states": job.state in only.states,
        "batch": job.batch == only.batch,
        "labels": only.labels.items() <= job.labels.items(),
        "models": job.model in only.models,
        "lanes": job.sent and job.lane in only.lanes,
        "classes": job.failure in only.classes,
        "codes": code is not None and code in only.codes,
        "settled_by": job.settled_by in only.settled_by,
        "since": within(job.created_at, only.since, None),
        "before": within(job.created_at, None, only.before),
        "ended_since": within(job.ended_at, only.ended_since, None),
        "ended_before": within(job.ended_at, None, only.ended_before),
        "min_cost": job.cost is not None and job.cost >= (only.min_cost or 0),
        "max_cost": job.cost is not None and (only.max_cost is None or job.cost <= only.max_cost),
        "owner": owner == only.owner or (owner == "" and only.owner == CELERY),
    }
    return all(conditions[name] for name in only.named)


BATCHES = {"b@shop": "shop", "c@press": "press", "d": ""}


@pytest.fixture(scope="module")
def zoo(redis_server: Any) -> Any:
    """Jobs of two producers and of Celery: in batches and in none, with labels, models, ends and costs of all kinds."""
    with bench_on(redis_server.url) as bench:
        bench.raw.flushall()
        bench.wind_up()
        yield _fill(bench)


def _fill(bench: Bench) -> Bench:
    ids = []
    for number in range(72):
        owner = (*OWNERS, "")[number % 3]
        batch = {"shop": "b@shop", "press": "c@press", "": "d"}[owner] if number % 4 else None
        labels = {"shop": "berlin" if number % 5 else "rome"} | ({"rare": "yes"} if number % 11 == 0 else {})
        job_id = f"j{number}@{owner}" if owner else f"j{number}"
        job = new(job_id, labels=labels, owner=owner)
        job = replace(job, model=MODELS[number % 7 == 0])
        bench.store.jobs.enqueue([job], batch, BatchOptions(owner=owner))
        ids.append(job_id)
        bench.forward(1)
    assert sorted(bench.store.attempts.admit(1000).ids) == sorted(ids)
    ends = [S.COMPLETED, S.FAILED, S.CANCELLED, S.QUEUED, S.FAILED, S.IN_PROGRESS, S.IN_DOUBT, S.SUBMITTING]
    for number, job_id in enumerate(ids):
        state, attempts = ends[number % 8], bench.store.attempts
        bench.forward(1)
        if state is S.QUEUED:
            continue
        (claim,) = attempts.claim([job_id])
        if state is S.IN_DOUBT:
            attempts.mark_in_doubt(job_id, claim.fence, "read timed out")
        elif state is S.CANCELLED:
            bench.store.jobs.cancel(job_id)
        elif state is not S.SUBMITTING:
            attempts.mark_in_progress(job_id, claim.fence, "t1")
        if state in (S.COMPLETED, S.FAILED):
            error = {"code": CODES[number % 5], "message": "no"} if state is S.FAILED else None
            cost = None if number % 6 == 0 else Decimal(number) / 1000
            output = IMAGES.output if state is S.COMPLETED else ()
            result = Result(output=output, error=error, cost=cost)
            attempts.finish(job_id, state, result, "callback" if number % 2 else "poll")
        if state is S.FAILED and number % 9 == 1:
            bench.store.jobs.retry(job_id)  # it has cost something, and waits again
    return bench


def everything(zoo: Any) -> list[Job]:
    ids = [each[len("{b}:j:") :] for each in zoo.raw.scan_iter(match="{b}:j:*")]
    found = [job for job in zoo.store.jobs.get_many(ids) if job]
    return sorted(found, key=lambda job: job.created_at)


def all_ids(zoo: Any, only: JobFilter, limit: int) -> list[str]:
    ids: list[str] = []
    cursor = None
    while True:
        page = zoo.store.jobs.page(only, cursor=cursor, limit=limit)
        assert len(page.jobs) <= limit
        ids += [job.id for job in page.jobs]
        if page.cursor is None:
            return ids
        cursor = page.cursor


def some(values: Any) -> Any:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True)


@st.composite
def filters(draw: Any) -> dict[str, Any]:
    """Draw up to four conditions; times and costs as numbers between 0 and 1, of the range that there is."""
    share = st.sampled_from([0.0, 0.1, 0.33, 0.5, 0.9, 1.0])
    kinds = {
        "states": some(list(State)),
        "batch": st.sampled_from(["b@shop", "c@press", "d", "none"]),
        "labels": st.sampled_from(
            [{"shop": "rome"}, {"shop": "berlin"}, {"rare": "yes"}, {"shop": "rome", "rare": "yes"}]
        ),
        "models": some([*MODELS, "none"]),
        "lanes": some([LANE, "none"]),
        "classes": some(list(FailureClass)),
        "codes": some(CODES),
        "settled_by": some(["callback", "poll", "cancel", "deadline"]),
        **dict.fromkeys(("since", "before", "ended_since", "ended_before"), share),
        **dict.fromkeys(("min_cost", "max_cost"), st.sampled_from([Decimal(0), Decimal("0.02"), Decimal("0.05")])),
        "owner": st.sampled_from([*OWNERS, CELERY, "none"]),
    }
    names = draw(st.lists(st.sampled_from(sorted(kinds)), max_size=4, unique=True))
    return {name: draw(kinds[name]) for name in names}


@pytest.mark.slow
@settings(max_examples=examples(150))
@given(chosen=filters(), limit=st.sampled_from([1, 7, 100]), work=st.sampled_from([3, 1_000]))
def test_a_list_and_a_count_find_what_a_filter_means(zoo: Any, chosen: dict[str, Any], limit: int, work: int) -> None:
    jobs = everything(zoo)
    first, last = jobs[0].created_at, jobs[-1].updated_at
    times = {
        name: first + (last - first) * share
        for name, share in chosen.items()
        if name in ("since", "before", "ended_since", "ended_before")
    }
    only = JobFilter(**chosen | times)
    meant = [job.id for job in jobs if admits(only, job, BATCHES)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_lists, "STEP", work)
        found = all_ids(zoo, only, limit)
    assert found == (meant if only.batch else meant[::-1])
    counted = zoo.store.jobs.count(only)
    assert (counted.jobs, counted.exact) == (len(meant), True)


def test_a_count_beyond_its_bound_says_at_least(zoo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_lists, "COUNTED", 20)
    monkeypatch.setattr(job_lists, "STEP", 10)
    counted = zoo.store.jobs.count(JobFilter(models=["kirin_image_omni"]))
    assert not counted.exact
    assert 10 <= counted.jobs <= 20
    # what a counter counts is exact nevertheless
    everything_ = zoo.store.jobs.count(ALL_JOBS)
    assert (everything_.jobs, everything_.exact) == (72, True)
    assert zoo.store.jobs.count(JobFilter(batch="b@shop", classes=[FailureClass.MODERATION])).exact


def test_a_batch_with_few_jobs_in_a_state_is_listed_from_the_index_of_the_state(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make(f"x{number}") for number in range(400)], "x")
    for number in (7, 390):
        bench.store.jobs.cancel(f"x{number}")
    bench.raw.config_resetstat()
    only = JobFilter(batch="x", states=[S.CANCELLED])
    page = bench.store.jobs.page(only, limit=1)
    assert [job.id for job in page.jobs] == ["x7"]
    assert [job.id for job in bench.store.jobs.page(only, cursor=page.cursor, limit=1).jobs] == ["x390"]
    assert bench.raw.info("commandstats")["cmdstat_hmget"]["calls"] < 10
    # a cursor stays valid while the state gets many jobs, and the batch becomes the narrower index
    bench.store.batches.cancel("x")
    bench.store.jobs.enqueue([make(f"y{number}") for number in range(30)], "y")
    bench.store.batches.cancel("y")
    rest = bench.store.jobs.page(only, cursor=page.cursor, limit=500)
    assert [job.id for job in rest.jobs] == [f"x{number}" for number in range(8, 400)]


def test_purged_jobs_do_not_count(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("a"), make("b")], "x")
    bench.store.jobs.cancel("a")
    bench.forward(100)
    assert bench.with_settings(retention=60).jobs.purge()[0] == 1
    for only in (JobFilter(batch="x"), JobFilter(batch="x", states=[S.CANCELLED]), ALL_JOBS):
        counted = bench.store.jobs.count(only)
        assert (counted.jobs, counted.exact) == (len(bench.store.jobs.page(only).jobs), True)


def test_conditions_that_exclude_each_other_read_nothing(bench: Bench) -> None:
    bench.raw.config_resetstat()
    for only in (
        JobFilter(states=[S.QUEUED], codes=["1201"]),
        JobFilter(states=[S.COMPLETED], classes=[FailureClass.QUOTA]),
        JobFilter(states=list(set(S) - FINAL), settled_by=["poll"]),
    ):
        assert bench.store.jobs.page(only).jobs == ()
        assert bench.store.jobs.count(only).jobs == 0
    assert set(bench.raw.info("commandstats")) <= {"cmdstat_config|resetstat", "cmdstat_config", "cmdstat_info"}
