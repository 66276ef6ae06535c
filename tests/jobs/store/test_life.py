"""Random sequences of events: the promises hold after each step, and in the end every job has ended.

The provider here is a dict of the tasks that it created. It does not notice a repeated external id: it would generate,
and charge, again.

HYPOTHESIS_PROFILE=thorough searches longer, and other sequences in each run.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobs import lane_health
from jobs.attempt_ids import external_id
from jobs.audit.audit import audit
from jobs.claims import Claim, Due
from jobs.errors import BatchNotFound, JobNotFound, NotAllowed
from jobs.failures import NO_OUTPUT
from jobs.job import Delivery, Priority
from jobs.key_limits import KeyLimits
from jobs.lane_health import Reachability
from jobs.lanes import LaneSettings, pooled
from jobs.new_job import BatchOptions, NewJob, Outcome
from jobs.owners import ANYONE
from jobs.policy import absent_beyond_doubt, next_delivery, next_lookup, next_poll, refusal_stands
from jobs.receivers import BeginOutcome
from jobs.result import Result
from jobs.saved import Saved, SavedOutput
from jobs.settings import Settings
from jobs.states import FINAL, TRANSITIONS, State
from jobs.store.celery_messages import Message
from jobs.store.manual import Verdict
from jobs.store.spending import DAY
from jobs.store.store import Store
from jobs.units import NANO
from schemas import TaskReport, TaskStatus
from tests.support.bench import Bench
from worker.answers import (
    Answer,
    Unanswered,
    ends_without_result,
    exists_unreadably,
    is_last_poll,
    reachability,
)
from worker.provider import Found, Unavailable

SAVED = Saved(
    datetime(2026, 1, 2, tzinfo=UTC),
    (SavedOutput(name="x/a-1.png", sha256="ab" * 32, size=7, content_type="image/png"),),
)
#: Slots of each of the two accounts. The second one learns its limit.
SLOTS = 2
LANES = pooled(
    [LaneSettings(name="a", max_in_flight=SLOTS), LaneSettings(name="b", max_in_flight=SLOTS, learn_limit=True)]
)
TIMES: dict[str, Any] = {"deadline": 12, "submit_lease": 30, "lookup_grace": 10, "retention": 1e9}
#: The daily budget of the batches' key, and the cap of one batch: enough for a few of the more expensive jobs.
BUDGET, CAP = Decimal(20), Decimal(8)
LIMITS = {"shop": KeyLimits(max_cost_per_day=BUDGET)}
SETTINGS = Settings(named_lanes=LANES, key_limits=LIMITS, max_attempts=2, image_store="a test's", **TIMES)
#: The most seconds until a look-up finds a new task: less than the grace.
LAG = 8.0
IDS = ("a", "b", "c", "d.e:f-g_h")
MOST_ROUNDS = 500
#: A reference that half of the jobs name.
IMAGE = "image:sha256:" + hashlib.sha256(b"a fox").hexdigest()
THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
#: An audit is slow and its findings persist, so it runs once in this many steps and at the end.
AUDIT_EVERY = 1 if THOROUGH else 5
#: Nano-dollars of usual, surely wrong and unreadable costs.
COSTS = (6_500_000, 10**15, None, None)
POSTS = (
    *("created", "lost", "lost before", "exists", "refused", "held", "not created", "unreachable"),
    *("crash", "crash before", "perhaps refused", "refused although created"),
)


@dataclass
class Task:
    """The provider's task for one external id."""

    visible: float
    end: State | None = None
    result: Result | None = None
    recorded: bool = False

    @property
    def lacks_result(self) -> bool:
        """Whether its job failed because it was completed without a result."""
        return self.result is not None and (self.result.error or {}).get("code") == NO_OUTPUT


@dataclass
class Post:
    """The last POST of an external id, to judge whether another one is allowed."""

    at: float
    lane: str
    surely_absent: bool = False
    vain_lookups: int = 0


#: What a poll or look-up may return that says nothing about the task, or that it has no result.
NO_ANSWERS: dict[str, Answer] = {
    "unreadable": Unavailable("HTML", seen="<h1>"),
    "unanswered": Unanswered("500"),
    "silence": Unavailable("read timed out", silent=True),
    "no result": Found(TaskReport(TaskStatus.COMPLETED, "completed")),
}


class Life(RuleBasedStateMachine):
    bench: Bench
    steps = 0
    regenerates = True

    @initialize(saves=st.sampled_from(["", "1", "first"]))
    def begin(self, saves: str) -> None:
        self.bench.start_afresh()
        given = {
            **vars(SETTINGS),
            "result_store": "a test's" if saves else None,
            "complete_when_saved": saves == "first",
        }
        with patch.object(lane_health, "FAILURES_TO_OPEN", 2):
            self.store: Store = self.bench.with_settings(**given)
        self.store.saves.announce()
        self.saves: list[Due] = []
        self.bench.images(SETTINGS).put(self.bench.placeholder_image(b"a fox"))
        self.accepted: dict[str, NewJob] = {}
        self.messages: list[tuple[str, ...]] = []
        self.claims: list[tuple[Claim, float]] = []
        self.answers: list[tuple[Claim, str]] = []
        self.lookups: list[tuple[Due, Task | None]] = []
        self.deliveries: list[Due] = []
        self.tasks: dict[str, Task] = {}
        self.posts: dict[str, Post] = {}
        self.texts: dict[str, set[str]] = {}
        self.sent: dict[str, str] = {}
        self.message_finished: Counter[tuple[str, str]] = Counter()
        self.spent = Decimal(0)
        self.kept: dict[str, Result] = {}
        self.read = "-"
        self.enqueue(list(IDS[:3]), other=False, batch="x", twice=False)

    @property
    def now(self) -> float:
        return self.bench.now / 1e6

    def call(self, verb: Callable[[], Any], *, twice: bool) -> Any:
        """Run a verb. With `twice`, run it again, as after a lost reply: the repeat must change nothing."""
        answer = verb()
        if twice:
            before = self.bench.dump()
            verb()
            after = self.bench.dump()
            for each in (before, after):
                for metric in ("contradicted", "unreadable"):
                    each.get("totals", {}).pop(metric, None)
            assert after == before
        return answer

    # --- producers ----------------------------------------------------------------------------------------------------

    @rule(
        ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=3),
        other=st.booleans(),
        batch=st.sampled_from([None, None, "x", "y"]),
        twice=st.booleans(),
        priority=st.sampled_from([None, None, Priority.HIGH, Priority.LOW]),
        expires_in=st.sampled_from([None, None, None, 20.0]),
        delay=st.sampled_from([0.0, 0.0, 4.0]),
    )
    def enqueue(
        self,
        ids: list[str],
        *,
        other: bool,
        batch: str | None,
        twice: bool,
        priority: Priority | None = None,
        expires_in: float | None = None,
        delay: float = 0.0,
    ) -> None:
        jobs = []
        for job_id in ids:
            number = IDS.index(job_id)
            prompt = f"{job_id}, another" if other and job_id in self.accepted else job_id
            named = {"image": IMAGE, "prompt": IMAGE} if number % 2 else {}
            text = json.dumps({"params": {"prompt": prompt, **named}})
            owed = frozenset([set(), {Delivery.NOTIFY}, {Delivery.CELERY}, set(Delivery)][number])
            owner = "shop" if batch else ""
            times: Any = {"priority": priority, "expires_in": expires_in, "delay": delay, "owner": owner}
            labels = {"shop": "berlin", "line": str(number)} if number % 2 else {}
            jobs.append(NewJob(id=job_id, text=text, model="m", n=number % 3 + 1, owed=owed, labels=labels, **times))
        expected = []
        for job in jobs:
            known = self.accepted.setdefault(job.id, job)
            texts = self.texts.setdefault(job.id, {job.text})
            is_known = job.text in texts and known.owner == job.owner
            expected.append(Outcome.CREATED if known is job else Outcome.KNOWN if is_known else Outcome.CONFLICT)
        options = BatchOptions(owner="shop", weight=3)
        if batch == "x":
            options = BatchOptions(owner="shop", labels={"season": "spring"}, max_cost=CAP)
        enqueued = self.call(lambda: self.store.jobs.enqueue(jobs, batch, options), twice=twice)
        assert list(enqueued.outcomes) == expected

    # One rule for all requests of producers, so that they do not outnumber the steps of the work.
    @rule(
        job_id=st.sampled_from(IDS),
        request=st.sampled_from(
            ["cancel", "retry", "revise", "revise back", "regenerate", "park", "revoke", "pause", "resume"]
        ),
        twice=st.booleans(),
    )
    def a_producer_requests_something(self, job_id: str, request: str, twice: bool) -> None:
        {
            "cancel": self.cancel,
            "retry": self.retry,
            "revise": self.revise,
            "revise back": partial(self.revise, word=""),
            "regenerate": self.regenerate,
            "park": self.park,
            "revoke": self.revoke,
            "pause": self.pause,
            "resume": self.resume,
        }[request](job_id, twice)

    def cancel(self, job_id: str, twice: bool) -> None:
        with self.maybe_not_allowed(job_id):
            self.call(lambda: self.store.jobs.cancel(job_id), twice=twice)

    def revise(self, job_id: str, twice: bool, word: str = ", calm") -> None:
        """Correct the request of a job; the corrected one has more images. Or bring back the first request."""
        known = self.accepted.get(job_id) or NewJob(id=job_id, text="{}", model="m")
        body = json.loads(known.text)
        body.setdefault("params", {})["prompt"] = job_id + word
        new = replace(known, text=json.dumps(body), n=known.n + bool(word))
        with suppress(NotAllowed), self.maybe_unknown(job_id):
            if self.call(lambda: self.store.revisions.revise(new), twice=twice).outcome == "queued":
                self.texts[job_id].add(new.text)
                self.kept.pop(job_id, None)

    def regenerate(self, job_id: str, twice: bool) -> None:
        """Generate the images of a job once more, as another job."""
        known = self.accepted.get(job_id)
        if known is None or not self.regenerates:
            return
        new = replace(known, id=f"{job_id}.r2", owed=known.owed & {Delivery.NOTIFY})
        with suppress(NotAllowed):
            if self.call(lambda: self.store.regenerations.regenerate(job_id, new), twice=twice).outcome == "created":
                self.accepted[new.id] = new
                self.texts[new.id] = {new.text}

    def retry(self, job_id: str, twice: bool) -> None:
        with self.maybe_not_allowed(job_id):
            self.call(lambda: self.store.jobs.retry(job_id), twice=twice)
            self.kept.pop(job_id, None)

    @rule(
        batch=st.sampled_from(["x", "y"]),
        request=st.sampled_from(["pause", "resume", "resume with more", "cancel", "retry", "retry the failed"]),
        twice=st.booleans(),
    )
    def a_producer_controls_a_batch(self, batch: str, request: str, twice: bool) -> None:
        if request in ("pause", "resume", "resume with more"):
            more = 3 * CAP if request == "resume with more" else None
            with suppress(BatchNotFound):
                resume = partial(self.store.batches.resume, batch, max_cost=more)
                self.call(partial(self.store.batches.pause, batch) if request == "pause" else resume, twice=twice)
            return
        states = {"retry": FINAL - {State.COMPLETED}, "retry the failed": frozenset({State.FAILED})}.get(request)
        self.begin_sweep(batch, states)

    def begin_sweep(self, batch: str, states: frozenset[State] | None) -> None:
        """Begin a cancel, or a retry of jobs in these states. Its process dies before the first step."""
        which = json.dumps({"states": dict.fromkeys(states or (), True)}) if states else ""
        self.store.context.scripts.call("begin_sweep", batch, "retry" if states else "cancel", which, "0", ANYONE, "")

    @precondition(lambda self: self.bench.raw.exists(self.bench.keys.singleton("sweeps")))
    @rule(steps=st.integers(1, 4))
    def sweep(self, steps: int) -> None:
        for _ in range(steps):
            self.store.context.scripts.call("sweep", "", 1, 900_000_000)

    def park(self, job_id: str, twice: bool) -> None:
        # Sometimes a repeat, sometimes another message of the same task, also after the end of the job
        continuation = f'{{"priority":{len(self.deliveries) % 3}}}'
        self.call(lambda: self.store.celery.park(job_id, job_id, continuation), twice=twice)

    def revoke(self, job_id: str, twice: bool) -> None:
        self.call(lambda: self.store.celery.revoke([job_id]), twice=twice)

    def pause(self, job_id: str, twice: bool) -> None:
        with suppress(NotAllowed, JobNotFound):
            self.call(lambda: self.store.jobs.pause(job_id), twice=twice)
            assert self.store.jobs.get(job_id).paused

    def resume(self, job_id: str, twice: bool) -> None:
        with suppress(NotAllowed, JobNotFound):
            self.call(lambda: self.store.jobs.resume(job_id), twice=twice)

    @contextmanager
    def maybe_unknown(self, job_id: str) -> Iterator[None]:
        try:
            yield
        except JobNotFound:
            assert job_id not in self.accepted

    @contextmanager
    def maybe_not_allowed(self, job_id: str) -> Iterator[None]:
        try:
            with self.maybe_unknown(job_id):
                yield
        except NotAllowed:
            assert self.store.jobs.get(job_id).state.final

    # --- workers ------------------------------------------------------------------------------------------------------

    @rule(
        limit=st.integers(1, 3),
        lane=st.sampled_from(LANES),
        outcome=st.sampled_from(POSTS),
        lag=st.floats(0, LAG),
        until=st.sampled_from(["admitted", "claimed", "sent", "recorded", "recorded", "recorded"]),
        twice=st.booleans(),
    )
    def workers_process_jobs(
        self, *, limit: int, lane: LaneSettings, outcome: str, lag: float, until: str, twice: bool
    ) -> None:
        """Process jobs up to some point. `a_step` may continue from there, or the rest is lost."""
        ids = self.store.attempts.admit(limit, lane).ids
        if until == "admitted":
            self.messages += [ids] if ids else []
            return
        earlier, self.claims = self.claims, []
        self.claim(ids)
        if until != "claimed":
            answers, self.answers = self.answers, []
            while self.claims:
                self.send(*self.claims.pop(), outcome, lag)
            while until == "recorded" and self.answers:
                self.record(*self.answers.pop(), twice=twice)
            self.answers += answers
        self.claims += earlier

    @precondition(lambda self: self.messages or self.claims or self.answers or self.lookups or self.deliveries)
    @rule(data=st.data(), outcome=st.sampled_from(POSTS), lag=st.floats(0, LAG), twice=st.booleans())
    def a_step(self, data: st.DataObject, outcome: str, lag: float, twice: bool) -> None:
        """Continue one thing that is under way, or lose it."""
        under_way: list[list[Any]] = [self.messages, self.claims, self.answers, self.lookups, self.deliveries]
        kind = data.draw(st.sampled_from([each for each in under_way if each]))
        what: Any = kind[0] if data.draw(st.booleans()) else kind[-1]
        fate = data.draw(st.sampled_from(["continues", "continues", "continues", "repeated", "lost"]))
        if fate != "repeated" or kind is not self.messages:
            kind.remove(what)
        if fate == "lost":
            return
        if kind is self.messages:
            self.claim(what)
        elif kind is self.claims:
            self.send(what[0], what[1], outcome, lag)
        elif kind is self.answers:
            self.record(*what, twice=twice)
        elif kind is self.lookups:
            self.act_on(*what, twice=twice)
        else:
            self.make_deliveries(what, fails=data.draw(st.booleans()), twice=twice)

    def claim(self, message: tuple[str, ...]) -> None:
        claims = self.store.attempts.claim(message)
        for claim in claims:
            batch = self.bench.fields(claim.id).get("b", "")
            paused, sweep = self.bench.raw.hmget(self.bench.keys.member("batch", batch), "paused", "do")
            assert paused is None, "claimed although its batch is paused"
            assert not self.store.jobs.get(claim.id).paused, "claimed although it is paused"
            assert sweep != "cancel", "claimed although its batch is being cancelled"
            assert not self.store.lanes.get(claim.lane).open_since, "claimed although the breaker is open"
        self.claims += [(claim, self.now) for claim in claims]

    def send(self, claim: Claim, claimed: float, outcome: str, lag: float) -> None:
        """Send as worker.submit does: not after the lease. The answer is recorded later, or never."""
        if outcome == "crash before":
            return
        if self.now - claimed >= SETTINGS.submit_lease:
            self.answers.append((claim, "too late"))
            return
        external = claim.external_task_id
        assert self.sent.setdefault(external, claim.text) == claim.text, "one external id for two requests"
        earlier = self.posts.get(external)
        if earlier and not earlier.surely_absent:
            assert earlier.vain_lookups >= 2, "sent again without two look-ups"
            assert self.now - earlier.at >= SETTINGS.lookup_grace, "sent again within the grace"
            assert earlier.lane == claim.lane, "sent through another account, where look-ups cannot find it"
        self.posts[external] = Post(self.now, claim.lane)
        if outcome in ("created", "lost", "exists", "crash", "refused although created"):
            assert external not in self.tasks, "bought twice"
            self.tasks[external] = Task(self.now + lag)
        if outcome != "crash":
            self.answers.append((claim, outcome))

    def record(self, claim: Claim, outcome: str, *, twice: bool = False) -> None:
        store, held = self.store, (claim.id, claim.fence)
        if claim.maybe_sent and outcome == "refused":
            outcome = "perhaps refused"

        def refuse() -> Any:
            refusal = {"code": "1201", "message": "no"}
            return store.attempts.mark_in_doubt(*held, "1201", refusal=refusal)

        verbs: dict[str, Callable[[], Any]] = {
            "created": lambda: store.attempts.mark_in_progress(*held, f"t-{claim.external_task_id}"),
            "lost": lambda: store.attempts.mark_in_doubt(*held, "read timed out", reachability=Reachability.SILENCE),
            "lost before": lambda: store.attempts.mark_in_doubt(*held, "reset", reachability=Reachability.SILENCE),
            "unreachable": lambda: store.attempts.requeue(*held, "refused", reachability=Reachability.SILENCE),
            "exists": lambda: store.attempts.mark_in_doubt(*held, "409", exists=True),
            "perhaps refused": refuse,
            "refused although created": refuse,
            "refused": lambda: self.finish(claim.external_task_id, State.FAILED, error("1201"), "submit", claim.fence),
            "held": lambda: store.attempts.requeue(*held, "429"),
            "not created": lambda: store.attempts.requeue(*held, "no id", wait=2.0, count=True),
            "too late": lambda: store.attempts.requeue(*held, ""),
        }
        if outcome == "held":
            self.call(lambda: store.lanes.hold("429", base=1.0, cap=60.0, throttled=True, lane=claim.lane), twice=twice)
        done = self.call(verbs[outcome], twice=twice)
        if outcome in ("held", "not created", "unreachable") and done in ("queued", "over"):
            self.posts[claim.external_task_id].surely_absent = True

    # --- the provider -------------------------------------------------------------------------------------------------

    @precondition(lambda self: any(not task.end for task in self.tasks.values()))
    @rule(
        data=st.data(),
        code=st.sampled_from(["", "", "002016095", "1301"]),
        cost=st.integers(0, 10**10) | st.sampled_from(COSTS),
        calls_back=st.booleans(),
        twice=st.booleans(),
    )
    def the_provider_finishes(
        self, data: st.DataObject, code: str, cost: int | None, calls_back: bool, twice: bool
    ) -> None:
        external = data.draw(st.sampled_from([each for each, task in self.tasks.items() if not task.end]))
        task = self.tasks[external]
        self.end(task, code, cost)
        if calls_back:
            self.call(partial(self.finish, external, task.end, task.result, "callback"), twice=twice)

    def end(self, task: Task, code: str = "", cost: int | None = 5_000_000) -> None:
        """End a task. Without a `cost`, the provider names none that can be read, and for a failure none."""
        task.end = State.FAILED if code else State.COMPLETED
        paid = Result(unreadable_cost="$1") if cost is None else Result(cost=cost / NANO)
        failure = {"code": code, "message": "no"} if code else None
        task.result = replace(paid, error=failure, output=() if code else ({"type": "image", "url": "u"},))

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), lies=st.booleans(), twice=st.booleans())
    def the_provider_calls_back(self, data: st.DataObject, lies: bool, twice: bool) -> None:
        external = data.draw(st.sampled_from(sorted(self.tasks)))
        task = self.tasks[external]
        if not task.end:
            look = data.draw(st.booleans())
            self.call(lambda: self.store.attempts.record_callback(external, needs_lookup=look), twice=twice)
            return
        state, result = task.end, task.result
        if lies and task.recorded and not task.lacks_result:
            state = State.FAILED if state is State.COMPLETED else State.COMPLETED
        self.call(lambda: self.finish(external, state, result, "callback"), twice=twice)

    @precondition(lambda self: any(task.lacks_result for task in self.tasks.values()))
    @rule(data=st.data(), cost=st.sampled_from([None, 0, 6_500_000, 10**10]), twice=st.booleans())
    def a_result_comes_late(self, data: st.DataObject, cost: int | None, twice: bool) -> None:
        external = data.draw(st.sampled_from(sorted(each for each, task in self.tasks.items() if task.lacks_result)))
        before = self.store.jobs.get(external.partition("~")[0])
        paid = None if cost is None else cost / NANO
        result = Result(output=({"type": "image", "url": "u"},), cost=paid)
        finish = partial(self.store.attempts.finish, external, State.COMPLETED, result, "callback")
        outcome = self.call(finish, twice=twice).outcome
        assert (outcome == "stale") == (before.external_task_id != external)
        if outcome == "finished":
            self.spent += 0 if paid is None else paid - ((before.result and before.result.cost) or 0)
            self.tasks[external].end, self.tasks[external].result = State.COMPLETED, result
        else:
            assert outcome == "stale"

    @rule(job_id=st.sampled_from([*IDS, "absent"]), attempt=st.sampled_from([1, 8, 999]), look=st.booleans())
    def a_forged_callback(self, job_id: str, attempt: int, look: bool) -> None:
        """Forge a callback for a job that was never sent. (For one that was sent, the address has a token.)"""
        if external_id(job_id, attempt) in self.posts or (attempt == 1 and "q" in self.bench.fields(job_id)):
            return
        before = self.bench.dump()
        forged = external_id(job_id, attempt)
        outcome = (
            self.store.attempts.record_callback(forged, needs_lookup=True)
            if look
            else self.store.attempts.finish(forged, State.COMPLETED, Result(cost=Decimal(1)), "callback")
        ).outcome
        assert outcome in ("unknown", "stale", "already")
        assert self.bench.dump() == before

    def finish(self, external: str, state: Any, result: Any, by: str, fence: int | None = None) -> Any:
        settled: Any = self.store.attempts.finish(external, state, result, by, fence=fence)
        if settled.outcome == "other count":
            return self.store.attempts.record_callback(external, needs_lookup=True)
        if settled.outcome in ("finished", "again"):
            if task := self.tasks.get(external):
                assert not task.recorded, "a result was recorded twice"
                task.recorded = True
            self.spent += result.cost or 0
        return settled

    # --- reconcile ----------------------------------------------------------------------------------------------------

    @rule(limit=st.integers(1, 3), waits=st.booleans(), at_once=st.booleans(), fails=st.booleans(), twice=st.booleans())
    def reconcile(self, limit: int, waits: bool, at_once: bool, fails: bool, twice: bool) -> None:
        """Run one round. With `waits`, wait for the next alarm. Without `at_once`, `a_step` continues what it began."""
        first = self.bench.raw.zrange(self.bench.keys.singleton("alarms"), 0, 0, withscores=True)
        if waits and first:
            self.bench.forward(max(0.0, (first[0][1] - self.bench.now) / 1e6))
        for due in self.store.attempts.claim_due(limit).dues:
            if due.job.owed:
                self.deliveries += self.store.deliveries.claim([due.job.id])
                if at_once and self.deliveries:
                    self.make_deliveries(self.deliveries.pop(), fails=fails, twice=twice)
            else:
                task = self.look_up(due)
                if at_once:
                    self.act_on(due, task, twice=twice)
                else:
                    self.lookups.append((due, task))

    @rule(
        what=st.sampled_from(sorted(NO_ANSWERS)),
        limit=st.integers(1, 3),
        cost=st.sampled_from([None, 0, 6_500_000]),
        twice=st.booleans(),
    )
    def look_ups_say_nothing(self, what: str, limit: int, cost: int | None, twice: bool) -> None:
        """Run a round whose polls and look-ups are not answered, or not readably."""
        for due in self.store.attempts.claim_due(limit).dues:
            if due.job.owed:
                self.deliveries += self.store.deliveries.claim([due.job.id])
            else:
                # A repeat counts silence once more, so that the circuit breaker may open one call earlier.
                self.call(partial(self.act_on_nothing, due, what, cost), twice=twice and what != "silence")

    def act_on_nothing(self, due: Due, what: str, cost: int | None) -> None:
        """Decide as worker.reconcile does. Only a task that has not ended may be completed without a result."""
        job, attempts, external = due.job, self.store.attempts, due.job.external_task_id
        doubtful, task = job.at_provider is State.IN_DOUBT, self.tasks.get(external)
        has_no_result = what == "no result" and task is not None and not task.end
        answer = NO_ANSWERS[what if has_no_result or what != "no result" else "unreadable"]
        if has_no_result and doubtful:
            attempts.mark_in_progress(job.id, job.fence, "t")
        elif task and ends_without_result(answer, due):
            failure = {"code": NO_OUTPUT, "message": "no"}
            result = Result(error=failure, cost=None if cost is None else cost / NANO)
            self.finish(external, State.FAILED, result, "poll", job.fence)
            task.end, task.result = State.FAILED, result
        elif doubtful and exists_unreadably(due, answer, SETTINGS):
            attempts.mark_in_progress(job.id, job.fence, external, deadline=0.0)
        elif not doubtful and is_last_poll(due, answer):
            attempts.expire(due, SETTINGS.poll_max)
        else:
            wait = next_lookup(0, SETTINGS, 0.5) if doubtful else next_poll(job.lookups, SETTINGS, 0.5)
            attempts.reschedule_lookup(due, wait, count=not doubtful, reason="no", reachability=reachability(answer))

    @rule(fate=st.sampled_from(["answered", "silence", "killed"]), twice=st.booleans())
    def probe(self, fate: str, twice: bool) -> None:
        """Probe the lanes whose breakers are open."""
        for probe in self.store.lanes.claim_probes():
            if fate != "killed":
                answered = fate == "answered"
                self.call(partial(self.store.lanes.record_probe, probe, answered=answered, wait=3.0), twice=twice)

    @precondition(lambda self: any(not task.end for task in self.tasks.values()))
    @rule(twice=st.booleans())
    def a_task_takes_too_long(self, twice: bool) -> None:
        """Wait until after the deadline, and then make the last poll."""
        self.bench.forward(SETTINGS.deadline + 1)
        for due in self.store.attempts.claim_due(100).dues:
            if not due.job.owed:
                self.act_on(due, self.look_up(due), twice=twice)

    def look_up(self, due: Due) -> Task | None:
        external = due.job.external_task_id
        task = self.tasks.get(external)
        if task and task.visible <= self.now:
            return Task(task.visible, task.end, task.result)
        if external in self.posts:
            self.posts[external].vain_lookups += 1
        return None

    def act_on(self, due: Due, task: Task | None, *, twice: bool = False) -> None:
        """Decide as worker.reconcile does."""
        job, store = due.job, self.store
        doubtful = job.at_provider is State.IN_DOUBT
        if task and task.end and task.result:
            end, result = task.end, task.result
            self.call(lambda: self.finish(job.external_task_id, end, result, "poll", job.fence), twice=twice)
        elif task and doubtful:
            self.call(lambda: store.attempts.mark_in_progress(job.id, job.fence, "t"), twice=twice)
        elif (
            doubtful and job.refusal and refusal_stands(job.lookups + 1, due.doubtful_for, SETTINGS, exists=job.exists)
        ):
            refused = Result(error=job.refusal)
            self.call(
                lambda: store.attempts.finish(
                    *(job.external_task_id, State.FAILED, refused, "submit"),
                    fence=job.fence,
                    refused=True,
                    may_exist=True,
                ),
                twice=twice,
            )
        elif doubtful and job.exists and refusal_stands(job.lookups + 1, due.doubtful_for, SETTINGS, exists=True):
            external = job.external_task_id
            self.call(lambda: store.attempts.mark_in_progress(job.id, job.fence, external, deadline=0.0), twice=twice)
        elif (
            doubtful
            and not job.exists
            and not job.refusal
            and absent_beyond_doubt(job.lookups + 1, due.doubtful_for, SETTINGS)
        ):
            self.call(
                lambda: store.attempts.requeue(job.id, job.fence, "absent", reachability=Reachability.ANSWER),
                twice=twice,
            )
        elif doubtful:
            self.call(
                lambda: store.attempts.reschedule_lookup(
                    due, next_lookup(job.lookups + 1, SETTINGS, 0.5, due.doubtful_for)
                ),
                twice=twice,
            )
        elif due.overdue:
            self.call(lambda: store.attempts.expire(due, SETTINGS.poll_max), twice=twice)
        else:
            self.call(lambda: store.attempts.reschedule_lookup(due, next_poll(job.lookups, SETTINGS, 0.5)), twice=twice)

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def a_hint_to_deliver(self, data: st.DataObject) -> None:
        self.deliveries += self.store.deliveries.claim([data.draw(st.sampled_from(sorted(self.accepted)))])

    def make_deliveries(self, due: Due, *, fails: bool = False, twice: bool = False) -> None:
        for kind in sorted(due.owed):
            if kind is Delivery.CELERY and (parked := self.store.celery.get_parked(due.job.id)):
                self.finish_messages(due, parked, lost=fails, twice=twice)
                continue
            if kind is Delivery.NOTIFY:
                self.notify(due, fails=fails, twice=twice)
                continue
            self.message_finished[due.job.id, f"{kind} {due.job.state}"] += 1
            self.call(partial(self.store.deliveries.record, due, kind), twice=twice)

    def notify(self, due: Due, *, fails: bool, twice: bool) -> None:
        """Notify the producer as worker.notifications does. There is one place, and the producer has one receiver."""
        deliveries = self.store.deliveries
        turn = self.call(partial(deliveries.begin_notification, due, "hooks.shop.example", 1), twice=twice)
        wait = next_delivery(due.job.delivery_tries, 0.5)
        if turn.outcome is BeginOutcome.OPEN:
            later = max(wait or 0.0, turn.pause)
            self.call(partial(deliveries.record, due, Delivery.NOTIFY, retry_in=later, why="no"), twice=twice)
        elif turn.outcome is BeginOutcome.GRANTED:
            # Here a delivery is given up after three attempts.
            given: dict[str, Any] = {"retry_in": wait if due.job.delivery_tries < 2 else None, "why": "no"}
            if not fails:
                self.message_finished[due.job.id, f"{Delivery.NOTIFY} {due.job.state}"] += 1
                given = {}
            end = partial(deliveries.end_notification, due, turn, limit=1, random=0.5, **given)
            self.deliveries += deliveries.claim(self.call(end, twice=twice))

    def finish_messages(self, due: Due, parked: list[Message], *, lost: bool, twice: bool) -> None:
        """Finish messages as worker.deliver and worker.generate.task do, unless the broker loses the message."""
        self.call(lambda: self.store.deliveries.record(due, Delivery.CELERY, retry_in=30.0), twice=twice)
        for message in () if lost else parked:
            if (
                self.call(partial(self.store.celery.message_finished, due.job.id, message.mark), twice=twice)
                != "unfinished"
            ):
                self.message_finished[due.job.id, f"{Delivery.CELERY} {self.store.jobs.get(due.job.id).state}"] += 1

    @rule(job_id=st.sampled_from(IDS), gives_up=st.booleans(), twice=st.booleans())
    def a_person_settles(self, job_id: str, gives_up: bool, twice: bool) -> None:
        """Settle a job in doubt, with the provider's true record of it."""
        (job,) = self.store.jobs.get_many([job_id])
        if job is None:
            return
        sent = job.external_task_id in self.tasks
        verdict = Verdict.FAILED if gives_up else Verdict.SENT if sent else Verdict.NOT_SENT
        settled = self.call(lambda: self.store.manual.settle(job, verdict, task_id="t" if sent else ""), twice=twice)
        has_it = job.at_provider is State.IN_PROGRESS and verdict is Verdict.NOT_SENT
        assert (settled.outcome == "other") == (job.unknown_since is None or has_it)
        post = self.posts.get(job.external_task_id)
        if post and verdict is Verdict.NOT_SENT and settled.outcome != "other":
            post.surely_absent = True

    @rule(job_id=st.sampled_from(IDS), cost=st.sampled_from([Decimal(0), Decimal("0.3")]), twice=st.booleans())
    def a_person_settles_a_cost(self, job_id: str, cost: Decimal, twice: bool) -> None:
        job = self.store.jobs.get(job_id) if job_id in self.accepted else None
        settled = self.call(lambda: self.store.manual.settle_cost(job_id, cost), twice=twice)
        assert (settled.outcome == "settled") == (job is not None and job.unknown_cost is not None)
        if settled.outcome == "settled":
            self.spent += cost
            self.kept.pop(job_id, None)

    @rule(job_id=st.sampled_from(IDS), twice=st.booleans())
    def a_person_retries_deliveries(self, job_id: str, twice: bool) -> None:
        self.call(lambda: self.store.deliveries.retry([job_id]), twice=twice)

    @rule(most=st.integers(1, 3), renews=st.booleans())
    def a_worker_begins_to_save(self, most: int, renews: bool) -> None:
        self.store.saves.find_due()
        self.saves += self.store.saves.claim(30.0, 4, most)
        if renews:
            self.call(
                lambda: self.store.saves.renew(30.0, [(due.job.id, due.job.fence) for due in self.saves]), twice=True
            )

    @precondition(lambda self: self.saves)
    @rule(data=st.data(), end=st.sampled_from(["saved", "failed", "given up", "killed"]), twice=st.booleans())
    def a_save_ends(self, data: st.DataObject, end: str, twice: bool) -> None:
        due = self.saves.pop(data.draw(st.integers(0, len(self.saves) - 1)))
        saves = self.store.saves
        match end:
            case "saved":
                self.call(lambda: saves.saved(due, SAVED), twice=twice)
            case "failed":
                self.call(lambda: saves.failed(due, "it answered 500", 2.0), twice=twice)
            case "given up":
                self.call(lambda: saves.give_up(due, "it answered 404"), twice=twice)

    @rule(job_id=st.sampled_from([*IDS, "absent"]), again=st.booleans(), twice=st.booleans())
    def a_person_has_results_saved(self, job_id: str, again: bool, twice: bool) -> None:
        if self.store.context.configured.saves:
            self.call(lambda: self.store.saves.retry([job_id], again=again), twice=twice)

    @rule(seconds=st.sampled_from([0.5, 3, 8, 11, 29, 31, 61, 5000]))
    def time_passes(self, seconds: float) -> None:
        self.bench.forward(seconds)

    # --- invariants ---------------------------------------------------------------------------------------------------

    @invariant()
    def check_promises(self) -> None:
        if not hasattr(self, "store"):
            return
        self.audit_sometimes()
        jobs = {job_id: self.store.jobs.get(job_id) for job_id in self.accepted}
        for name in "ab":
            slots, dispatched = self.bench.slots(name)
            using = [job for job in jobs.values() if job.lane == name and job.at_provider not in (None, State.QUEUED)]
            limit = max([SLOTS, *(job.n for job in using)]) if len(using) <= 1 else SLOTS
            if slots:
                assert slots + dispatched <= limit
        assert self.store.statistics.totals().cost == self.spent
        assert sum(job.cost or 0 for job in jobs.values()) == self.spent
        unknown = {job.id for job in jobs.values() if job.unknown_cost is not None}
        assert {job_id for job_id, _ in self.store.manual.stuck(0.0, 100).unknown_costs.named} == unknown
        for _, change in self.bench.raw.xrange(self.bench.keys.singleton("changes"), min=self.read):
            assert not change["from"] or State(change["state"]) in (TRANSITIONS[State(change["from"])])
        last = self.bench.raw.xrevrange(self.bench.keys.singleton("changes"), count=1)
        self.read = f"({last[0][0]}" if last else "-"
        for job_id, job in jobs.items():
            if job.settled_by == "expires_in":
                assert job_id not in self.tasks, "expired unpaid, but bought"
            if job.state is State.COMPLETED and job.result:
                result = replace(job.result, saved=None)
                assert self.kept.setdefault(job_id, result) == result
            if (
                job.state is State.COMPLETED
                and job.result
                and job.result.output
                and self.store.context.configured.saves
            ):
                assert (job.saved is not None) + (job.save is not None) >= 1, "neither saved, nor owed, nor given up"

    def audit_sometimes(self) -> None:
        self.steps += 1
        if self.steps % AUDIT_EVERY == 0:
            assert audit(self.store) == []

    def teardown(self) -> None:
        """Run without faults: every job must end, and everything owed must be delivered."""
        if not hasattr(self, "store"):
            return
        for batch in ("x", "y"):
            with suppress(BatchNotFound):
                self.store.batches.resume(batch, max_cost=Decimal(100_000_000))
        for job_id in self.accepted:
            self.resume(job_id, twice=False)
        self.store.deliveries.retry(list(self.accepted))
        self.store.batches.sweep()
        assert not self.bench.raw.exists(self.bench.keys.singleton("sweeps"))
        rounds = 0
        while first := self.bench.raw.zrange(self.bench.keys.singleton("alarms"), 0, 0, withscores=True):
            wait = 0.5 if any(self.store.statistics.totals().ready.values()) else (first[0][1] - self.bench.now) / 1e6
            if self.bench.raw.exists(self.bench.keys.singleton("capped")):
                wait = DAY - self.now % DAY + 1  # a new day, a new budget
            self.bench.forward(max(0.0, wait))
            self.round_without_faults()
            for job_id in self.accepted:
                self.a_person_settles_a_cost(job_id, Decimal(0), twice=False)
            self.check_promises()
            rounds += 1
            assert rounds < MOST_ROUNDS, f"not at rest: {self.bench.dump()}"
        self.bench.forward(5000)
        self.save_all()
        assert self.store.saves.backlog().owed == 0
        assert audit(self.store) == []
        for job_id, accepted in self.accepted.items():
            job = self.store.jobs.get(job_id)
            assert job.state in FINAL
            assert job.at_provider is None
            assert self.store.celery.get_parked(job_id) == []
            for kind in accepted.owed:
                ends = {state for state in FINAL if self.message_finished[job_id, f"{kind} {state}"]}
                assert ends, f"{kind} of {job_id} was never delivered"
                if kind is Delivery.NOTIFY:
                    assert job.state in ends

    def round_without_faults(self) -> None:
        for probe in self.store.lanes.claim_probes():
            self.store.lanes.record_probe(probe, answered=True)
        for due in self.store.attempts.claim_due(100).dues:
            if due.job.owed:
                for claimed in self.store.deliveries.claim([due.job.id]):
                    self.make_deliveries(claimed)
            else:
                self.act_on(due, self.look_up(due))
        self.save_all()
        for lane in LANES:
            self.claim(self.store.attempts.admit(100, lane).ids)
        while self.claims:
            self.send(*self.claims.pop(), "created", 0.0)
        while self.answers:
            self.record(*self.answers.pop())
        for task in self.tasks.values():
            if not task.end:
                self.end(task)

    def save_all(self) -> None:
        while dues := self.store.saves.claim(30.0, 100, 100):
            for due in dues:
                assert self.store.saves.saved(due, SAVED).outcome == "saved"


def error(code: str) -> Result:
    return Result(error={"code": code, "message": "no"}, cost=Decimal(0))


def search(machine: type[RuleBasedStateMachine], examples: int) -> None:
    """Search for a sequence of rules that breaks a promise, in this many examples, or in more when thorough."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=1_500 if THOROUGH else examples,
            stateful_step_count=60 if THOROUGH else 40,
            deadline=None,
            # Shrinking an example takes minutes here, and the first one found already shows the fault.
            phases=[Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if THOROUGH else [])],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
@pytest.mark.timeout(1800 if THOROUGH else 600)
def test_the_promises_hold_in_random_sequences(bench: Bench) -> None:
    class Here(Life):
        pass

    Here.bench = bench
    search(Here, 30)
