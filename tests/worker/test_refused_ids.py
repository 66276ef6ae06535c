"""A refusal that may be about the external id: looked up first, adopted if found, and no stranger's task is taken."""

from collections.abc import Iterator
from typing import Any

import pytest

from jobs.policy import MOST_SUBMIT_TRIES, WORTH_RETRYING
from jobs.result import Result
from jobs.settings import Ambiguous
from jobs.states import State
from tests.support.scripted_provider import OUTPUT, ScriptedProvider
from tests.support.world import MakeWorld, World, request_of
from worker.provider.outcomes import THROTTLED

TIMEOUT = (504, b"")
USED = (400, {"code": 1201, "message": "external_task_id has been used"})
REFUSED = (400, {"code": 1301, "message": "unsafe"})
DUPLICATES = [
    pytest.param(409, b"", id="409"),
    pytest.param(*USED, id="has been used"),
    pytest.param(400, {"code": 1201, "message": "externalTaskId already exists"}, id="camel case"),
    pytest.param(400, {"code": 1201, "message": "外部任务ID已存在"}, id="Chinese"),
    pytest.param(
        422, {"detail": [{"loc": ["body", "external_task_id"], "msg": "already exists"}]}, id="FastAPI's detail"
    ),
    pytest.param(422, {"detail": "duplicate request"}, id="no name"),
    pytest.param(200, {"code": 1201, "message": "duplicate external-task-id"}, id="200 with a code"),
    pytest.param(400, {"message": "external_task_id is invalid"}, id="only names it"),
]


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    provider = ScriptedProvider()
    yield provider
    provider.close()


def task(**more: Any) -> dict[str, Any]:
    return {"id": "t1", "status": "completed", "output": OUTPUT, "usage": {"cost": "0.0065"}, **more}


def begin(world: MakeWorld, provider: ScriptedProvider, *answers: tuple[int, Any], **settings: Any) -> World:
    provider.answers = list(answers)
    w = world(provider.url, lookup_grace=10.0, deadline=3600.0, **settings)
    provider.now = w.now()
    return w


@pytest.mark.parametrize(("status", "body"), DUPLICATES)
def test_a_task_that_exists_is_adopted(status: int, body: Any, world: MakeWorld, provider: ScriptedProvider) -> None:
    w = begin(world, provider, (status, body))
    provider.tasks["job-1"] = task()
    w.start()
    assert w.settle().state is State.COMPLETED
    assert provider.submitted == ["job-1"]
    assert str(w.lane_counters()[2]) == "0.0065"


@pytest.mark.parametrize("refusal", [REFUSED, (422, b""), (404, {}), (200, {"error": {"code": "1301"}}), (413, b"")])
def test_a_refused_repeat_is_looked_up(refusal: Any, world: MakeWorld, provider: ScriptedProvider) -> None:
    # Given a first submission without an answer, which look-ups do not show in time
    w = begin(world, provider, TIMEOUT, refusal)
    w.start()
    w.round(11)
    w.round(11)
    assert (provider.submitted, w.job().state) == (["job-1", "job-1"], State.IN_DOUBT)
    # When it appears after the repeat was refused
    provider.tasks["job-1"] = task()
    # Then it is this job's
    assert w.settle().state is State.COMPLETED
    assert len(provider.submitted) == 2


def test_a_refused_repeat_fails_once_it_is_absent_beyond_doubt(world: MakeWorld, provider: ScriptedProvider) -> None:
    w = begin(world, provider, TIMEOUT, REFUSED)
    w.start()
    w.round(11)
    w.round(11)
    assert len(provider.submitted) == 2
    w.round(1)
    assert w.job().state is State.IN_DOUBT  # the grace is not over
    job = w.settle(seconds=6)
    assert (job.state, job.result.error) == (State.FAILED, {"code": "1301", "message": "unsafe"})
    assert w.lane_counters()[:2] == (0, 0)
    assert len(provider.submitted) == 2


@pytest.mark.parametrize("code", sorted(WORTH_RETRYING - THROTTLED))
@pytest.mark.parametrize(
    "words",
    ["create task failed: external_task_id already exists", "creation failed"],
    ids=["the provider has it", "a repeat is refused"],
)
def test_a_refused_attempt_that_may_exist_gets_no_next_attempt(
    code: str, words: str, world: MakeWorld, provider: ScriptedProvider
) -> None:
    w = begin(world, provider, TIMEOUT, (400, {"code": code, "message": words}))
    w.start()
    job = w.settle(seconds=300)
    assert (job.state, job.attempt, job.result.error) == (State.FAILED, 1, {"code": code, "message": words})
    assert provider.submitted == ["job-1", "job-1"]


def test_a_first_submission_with_a_code_worth_it_gets_a_next_attempt(
    world: MakeWorld, provider: ScriptedProvider
) -> None:
    w = begin(world, provider, (400, {"code": "002016099", "message": "creation failed"}), (200, {"id": "t1"}))
    provider.tasks["job-1~2"] = task()
    w.start()
    assert w.settle().state is State.COMPLETED
    assert provider.submitted == ["job-1", "job-1~2"]


def test_a_refusal_of_a_first_submission_costs_no_look_up(world: MakeWorld, provider: ScriptedProvider) -> None:
    w = begin(world, provider, REFUSED)
    w.start()
    assert w.job().state is State.FAILED
    assert provider.looked_up == []


def test_a_refusal_that_only_names_the_id_fails_after_the_grace(world: MakeWorld, provider: ScriptedProvider) -> None:
    w = begin(world, provider, (422, {"detail": [{"loc": ["body", "external_task_id"], "msg": "too long"}]}))
    w.start()
    w.round(9)
    assert w.job().state is State.IN_DOUBT
    assert w.settle(seconds=6).result.error == {"code": "422", "message": "the provider answered 422"}


def test_a_refusal_stands_with_the_providers_words_if_the_task_never_appears(
    world: MakeWorld, provider: ScriptedProvider
) -> None:
    w = begin(world, provider, USED)
    w.start()
    for _ in range(20):
        w.round(60)
    assert w.job().state is State.IN_DOUBT  # the provider says that it has the task
    job = w.settle(seconds=600)
    assert (job.state, job.result.error) == (
        State.FAILED, {"code": "1201", "message": "external_task_id has been used"},
    )  # fmt: skip
    assert provider.submitted == ["job-1"]


def test_while_look_ups_fail_the_job_is_in_doubt(world: MakeWorld, provider: ScriptedProvider) -> None:
    w = begin(world, provider, (400, {"message": "external_task_id is invalid"}))
    provider.lookup_status = 503
    w.start()
    for _ in range(20):
        w.round(60)
    assert w.job().state is State.IN_DOUBT
    provider.lookup_status = None
    provider.tasks["job-1"] = task()
    assert w.settle(seconds=300).state is State.COMPLETED
    assert provider.submitted == ["job-1"]


@pytest.mark.parametrize("waits", [True, False], ids=["in doubt", "submitting"])
def test_a_callback_refutes_the_refusal(waits: bool, world: MakeWorld, provider: ScriptedProvider) -> None:
    w = begin(world, provider, (400, {"message": "external_task_id is invalid"}) if waits else REFUSED)
    w.enqueue("job-1")
    (claim,) = w.store.attempts.claim(w.store.attempts.admit(1).ids)
    if not waits:
        w.store.attempts.record_callback("job-1", needs_lookup=True)
    w.submitter._record_other(claim, w.provider.submit(request_of(), "job-1"))
    if waits:
        w.store.attempts.record_callback("job-1", needs_lookup=True)
    for _ in range(3):
        w.round(60)
    assert w.job().state is State.IN_DOUBT
    provider.tasks["job-1"] = task()
    assert w.settle().state is State.COMPLETED


@pytest.mark.parametrize("refused", [True, False], ids=["refused", "absent"])
@pytest.mark.parametrize("late", [True, False])
def test_a_task_that_only_a_callback_named_ends_after_the_deadline(
    refused: bool, late: bool, world: MakeWorld, provider: ScriptedProvider
) -> None:
    # Given a callback during the submission, and an answer that leaves no task to be found
    w = begin(world, provider, REFUSED if refused else TIMEOUT)
    w.enqueue("job-1")
    w.store.attempts.admit(10)
    (claim,) = w.store.attempts.claim(["job-1"])
    w.store.attempts.record_callback("job-1", needs_lookup=True)
    w.submitter._record_other(claim, w.provider.submit(request_of(), "job-1"))
    for _ in range(20):
        w.round(60)
    assert w.job().state is State.IN_DOUBT
    # When the deadline is over
    assert w.settle(seconds=600).state is State.EXPIRED
    # Then a late result still counts, and without one its slots become free
    if late:
        provider.tasks["job-1"] = task()
    for _ in range(20):
        w.round(600)
    assert w.job().state is (State.COMPLETED if late else State.EXPIRED)
    assert w.lane_counters()[:2] == (0, 0)
    assert provider.submitted == ["job-1"]


# --- without a look-up ----------------------------------------------------------------------------------------------


def without_look_ups(world: MakeWorld, provider: ScriptedProvider) -> World:
    """Return a world whose second submission was refused; the first one may have arrived."""
    w = begin(world, provider, TIMEOUT, REFUSED, lookup_path=None, ambiguous=Ambiguous.RESEND)
    w.start()
    for _ in range(4):
        w.round(15)
    assert (w.job().state, provider.submitted) == (State.IN_DOUBT, ["job-1", "job-1"])
    return w


def test_without_a_look_up_a_refused_repeat_waits_for_its_callback(
    world: MakeWorld, provider: ScriptedProvider
) -> None:
    w = without_look_ups(world, provider)
    for _ in range(5):
        w.round(300)
    result = Result(output=({"type": "image", "url": "https://cdn.example.com/1.png"},))
    assert w.store.attempts.finish("job-1", State.COMPLETED, result, "callback").outcome == "finished"
    assert w.job().state is State.COMPLETED
    assert len(provider.submitted) == 2


def test_without_a_look_up_a_refused_repeat_fails_after_the_deadline(
    world: MakeWorld, provider: ScriptedProvider
) -> None:
    w = without_look_ups(world, provider)
    job = w.settle(seconds=400)
    assert (job.state, job.result.error) == (State.FAILED, {"code": "1301", "message": "unsafe"})
    assert w.lane_counters()[:2] == (0, 0)
    assert len(provider.submitted) == 2


@pytest.mark.slow
@pytest.mark.parametrize("answer", [b"<h1>please wait", b"", b"[1]", b'{"id": '], ids=repr)
def test_without_a_look_up_unreadable_submissions_end(
    answer: bytes, world: MakeWorld, provider: ScriptedProvider
) -> None:
    w = begin(world, provider, (200, answer), lookup_path=None, ambiguous=Ambiguous.RESEND)
    w.start()
    waits = []
    for _ in range(100):
        w.round(15)
        if w.job().state is State.QUEUED:
            waits.append(w.alarm_in() or 0.0)
    assert len(provider.submitted) == MOST_SUBMIT_TRIES
    assert max(waits) > 15
    job = w.settle(seconds=400)
    assert (job.state, job.result.error["code"]) == (State.FAILED, "unreadable_answer")
    assert (w.lane_counters()[:2], len(provider.submitted)) == ((0, 0), MOST_SUBMIT_TRIES)


@pytest.mark.parametrize("answer", [(409, b""), USED], ids=["409", "has been used"])
@pytest.mark.parametrize("found", [True, False])
def test_without_a_look_up_a_task_that_exists_is_asked_for_after_the_deadline(
    answer: Any, found: bool, world: MakeWorld, provider: ScriptedProvider
) -> None:
    w = begin(world, provider, answer, lookup_path=None, ambiguous=Ambiguous.RESEND)
    w.start()
    for _ in range(3):
        w.round(600)
    assert (w.job().state, provider.submitted) == (State.IN_DOUBT, ["job-1"])
    if found:
        provider.tasks["job-1"] = task()
    assert w.settle(seconds=400).state is (State.COMPLETED if found else State.EXPIRED)
    for _ in range(3):
        w.round(3600)
    assert (w.lane_counters()[:2], provider.submitted) == ((0, 0), ["job-1"])


# --- tasks of others ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [0.0, -7200.0, 7200.0, None], ids=["same clock", "behind", "ahead", "no clock"])
def test_an_older_task_of_somebody_else_is_not_taken(
    ahead: float | None, world: MakeWorld, provider: ScriptedProvider
) -> None:
    w = begin(world, provider, USED)
    provider.clock_ahead = ahead
    provider.tasks["job-1"] = task(created_at=int(w.now() + (ahead or 0)) - 900)
    w.start()
    job = w.settle()
    assert (job.state, job.result.error["code"], job.result.cost) == (State.FAILED, "external_id_taken", None)
    assert "another external_task_id" in job.result.error["message"]
    assert "has been used" in job.result.error["message"]
    assert w.lane_counters() == (0, 0, 0)
    assert provider.submitted == ["job-1"]


@pytest.mark.parametrize(
    "created",
    [
        pytest.param({"created_at": 0}, id="0"),
        pytest.param({"created_at": -3}, id="after the job"),
        pytest.param({}, id="not said"),
        pytest.param({"created_at": "2020-01-01T00:00:00"}, id="no zone"),
        pytest.param({"created_at": "yesterday"}, id="unreadable"),
        pytest.param({"created_at": {}}, id="an object"),
        pytest.param({"created_at": "0001-01-01T00:00:00Z"}, id="year 1"),
        pytest.param({"created_at": "0001-01-01T00:00:00+14:00"}, id="before year 1"),
        pytest.param({"created_at": "9999-12-31T23:59:59-14:00"}, id="year 10000"),
        pytest.param({"created_at": True}, id="true"),
        pytest.param({"created_at": 12}, id="12"),
        pytest.param({"created_at": -1e10}, id="negative"),
        pytest.param({"create_time": 1e12 - 5e11}, id="1985 in milliseconds"),
    ],
)
def test_a_task_that_may_be_ours_is_adopted(created: Any, world: MakeWorld, provider: ScriptedProvider) -> None:
    # As where a proxy sends a submission twice
    w = begin(world, provider, USED)
    if created.get("created_at") == -3:
        created = {"created_at": int((w.now() - 3) * 1000)}
    provider.tasks["job-1"] = task(**created)
    w.start()
    assert w.settle().state is State.COMPLETED


@pytest.mark.parametrize("form", ["ms", "text", "create_time"])
def test_ages_are_read_in_every_form(form: str, world: MakeWorld, provider: ScriptedProvider) -> None:
    w = begin(world, provider, USED)
    old = int(w.now()) - 86_400
    times: dict[str, dict[str, Any]] = {
        "ms": {"created_at": old * 1000},
        "text": {"created_at": str(old)},
        "create_time": {"create_time": old},
    }
    provider.tasks["job-1"] = task(**times[form])
    w.start()
    assert w.settle().result.error["code"] == "external_id_taken"


def test_an_older_task_is_taken_if_an_earlier_submission_may_have_arrived(
    world: MakeWorld, provider: ScriptedProvider
) -> None:
    # Then the id was sent by this record, whatever times the provider gives its tasks
    w = begin(world, provider, TIMEOUT, USED)
    w.start()
    w.round(11)
    w.round(11)
    assert len(provider.submitted) == 2
    provider.tasks["job-1"] = task(created_at=int(w.now()) - 86_400)
    assert w.settle().state is State.COMPLETED


OLD, OLDER_THAN_THE_MARGIN = 86_400, 3_700


@pytest.mark.parametrize("age", [OLD, OLDER_THAN_THE_MARGIN])
@pytest.mark.parametrize("status", ["completed", "in_progress", "failed"])
def test_an_accepted_submission_that_names_an_older_task_is_checked(
    status: str, age: int, world: MakeWorld, provider: ScriptedProvider
) -> None:
    # Given a provider that is idempotent: it answers with the task that has the id already
    w = begin(world, provider, (200, {"id": "t0"}), (200, {"id": "t1", "status": status}))
    provider.tasks["job-0"] = task(created_at=int(w.now()))
    w.start("job-0")
    assert w.settle("job-0").state is State.COMPLETED
    counters = w.lane_counters()
    provider.tasks["job-1"] = task(status=status, created_at=int(w.now()) - age)
    w.start()
    job = w.settle()
    assert (job.state, job.attempt, job.result.error["code"]) == (State.FAILED, 1, "external_id_taken")
    assert (w.lane_counters(), provider.submitted) == (counters, ["job-0", "job-1"])


def test_each_older_task_is_noticed_where_others_are_dated_right(world: MakeWorld, provider: ScriptedProvider) -> None:
    w = begin(world, provider, (200, {"id": "t1"}))
    provider.tasks = {f"job-{n}": task(created_at=int(w.now()) - (OLD if n else 0)) for n in range(4)}
    w.start("job-0")
    w.settle("job-0")
    w.start("job-1", "job-2", "job-3")
    states = [w.settle(f"job-{n}").state for n in range(4)]
    assert states == [State.COMPLETED, State.FAILED, State.FAILED, State.FAILED]


def test_dates_that_are_all_wrong_are_not_believed(world: MakeWorld, provider: ScriptedProvider) -> None:
    w = begin(world, provider, (200, {"id": "t1"}))
    provider.tasks = {f"job-{n}": task(created_at=int(w.now()) - OLD) for n in range(4)}
    w.start("job-0", "job-1", "job-2", "job-3")
    states = [w.settle(f"job-{n}").state for n in range(4)]
    assert states == [State.COMPLETED] * 4


@pytest.mark.parametrize("age", [0, 60, 3_500])
def test_a_task_within_the_margin_is_ours(age: int, world: MakeWorld, provider: ScriptedProvider) -> None:
    w = begin(world, provider, (200, {"id": "t1"}))
    provider.tasks["job-1"] = task(created_at=int(w.now()) - age)
    w.start()
    assert w.settle().state is State.COMPLETED


def test_an_older_task_in_progress_is_ours_if_a_submission_may_have_arrived(
    world: MakeWorld, provider: ScriptedProvider
) -> None:
    w = begin(world, provider, TIMEOUT)
    provider.tasks["job-1"] = task(status="in_progress", created_at=int(w.now()) - OLD)
    w.start()
    w.round(11)
    w.round(40)
    assert w.job().state is State.IN_PROGRESS
    provider.tasks["job-1"] = task(created_at=int(w.now()) - OLD)
    assert w.settle().state is State.COMPLETED


# --- records that Redis lost ----------------------------------------------------------------------------------------


def test_a_lost_job_that_is_enqueued_again_is_adopted(world: MakeWorld, provider: ScriptedProvider) -> None:
    # Given a Redis that lost what was accepted after `kept`, and an operator who accepted that
    w = begin(world, provider, USED)
    w.start("kept")
    w.ahead(1000)
    bought = w.now()
    w.ahead(1000)
    w.store.continuity.recover()
    w.ahead(10_000)
    # When the producer enqueues a lost job again, long after the time in which each job is looked up first
    provider.now = w.now()
    provider.tasks["job-1"] = task(created_at=int(bought))
    w.start()
    # Then it gets what was paid for
    assert w.settle().state is State.COMPLETED


def test_a_task_from_before_the_loss_is_not_ours(world: MakeWorld, provider: ScriptedProvider) -> None:
    w = begin(world, provider, USED)
    foreign = w.now() - 5000
    w.start("kept")
    w.ahead(1000)
    w.store.continuity.recover()
    w.ahead(10_000)
    provider.now = w.now()
    provider.tasks["job-1"] = task(created_at=int(foreign))
    w.start()
    assert w.settle().result.error["code"] == "external_id_taken"


def test_a_job_from_before_a_loss_is_looked_up_and_adopted(world: MakeWorld, provider: ScriptedProvider) -> None:
    w = begin(world, provider, USED)
    provider.tasks["job-1"] = task(created_at=int(w.now()) - 86_400)
    w.enqueue("job-1")
    w.store.continuity.recover()
    w.submit("job-1")
    assert w.settle(seconds=100).state is State.COMPLETED
    assert provider.submitted == []


def test_jobs_keep_their_tasks_although_the_clock_of_redis_goes_back(
    world: MakeWorld, provider: ScriptedProvider
) -> None:
    w = begin(world, provider, (200, {"id": "t1"}))
    provider.tasks["before"] = task(created_at=int(w.now()))
    w.start("before")
    w.settle("before")
    w.start("under-way")
    provider.tasks["under-way"] = task(created_at=int(w.now()))
    w.ahead(-7200)
    w.start("after")
    provider.tasks["after"] = task(created_at=int(provider.now))
    provider.now += 60
    assert [w.settle(each, seconds=600).state for each in ("under-way", "after")] == [State.COMPLETED] * 2


def test_losses_are_kept_over_many_restarts(world: MakeWorld, provider: ScriptedProvider) -> None:
    w = begin(world, provider, USED)
    before = w.now()
    for number in range(100):
        w.ahead(100)
        w.enqueue(f"job-{number}")
        w.ahead(10)
        w.store.continuity.recover()
        w.store.continuity.recover()
    now, losses = w.store.continuity.losses()
    assert len(losses) <= 32
    for number in range(100):
        lost_at = before + number * 110 + 105
        assert any(since.timestamp() <= lost_at <= until.timestamp() for since, until in losses)
    assert now.timestamp() == pytest.approx(w.now())
