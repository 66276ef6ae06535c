"""Faults of every kind in random order, with the provider's storm preset. The ledger is the judge.

`make chaos CHAOS_SEEDS=7,8` runs these seeds, and `CHAOS_JOBS=20000` makes the longest run shorter. A failure prints
the seed and the faults in order.
"""

import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.chaos.faults import FAULTS, Step, cause_fault, schedule
from tests.chaos.harness import Chaos, chaos
from tests.chaos.hostile import SETTINGS as TENANTS
from tests.chaos.hostile import besieged
from tests.chaos.measured import NOTHING, Spread, percentile
from tests.support.verdict import Outcome
from tests.support.waiting import WaitFor, load

pytestmark = pytest.mark.stack

SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEEDS", "1,2,3").split(",")]
#: The jobs of the longest run.
JOBS = int(os.environ.get("CHAOS_JOBS", "100000"))
#: Seconds, where no fault is the reason, until another producer's job begins, and until a callback is answered.
MOST_DELAY, MOST_CALLBACK = 5.0, 1.0
#: With pictures that are cheap to draw: this machine serves jobs faster than it draws.
STORM = "--storm --plain-images --seed {seed}"
#: Redis loses no acknowledged write here (`appendfsync always`), so its restarts need no look-ups.
KEPT = {"BOOMERANG_RECOVERY": "off"}
ROOT = Path(__file__).parents[2]


def test_a_seed_always_gives_the_same_schedule() -> None:
    assert schedule(5, rounds=3) == schedule(5, rounds=3) != schedule(6, rounds=3)
    assert Counter(step.fault for step in schedule(5, rounds=3)) == dict.fromkeys(FAULTS, 3)


@dataclass(frozen=True)
class Run:
    """The outcome of the honest batch, how often each expected event was observed, and what hostile tenants did.

    `delays`: of the jobs of another producer. `callbacks`: seconds until they were answered.
    """

    outcome: Outcome
    seen: Mapping[str, int]
    seconds: float
    delays: Spread = NOTHING
    callbacks: Spread = NOTHING
    refused: Mapping[str, int] = field(default_factory=dict)
    attacks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    stolen: Sequence[str] = ()

    def text(self) -> str:
        """Return what was measured as JSON."""
        return json.dumps(
            {
                "honest jobs": f"{len(self.outcome.jobs)} in {self.seconds:.0f} s",
                "jobs of another producer begin after": self.delays.text(),
                "callbacks are answered after": self.callbacks.text(),
                "not accepted": self.refused,
                "seen": self.seen,
                "attacks": self.attacks,
            },
            indent=2,
        )


def run(
    folder: Path,
    wait_for: WaitFor,
    jobs: int,
    steps: list[Step],
    *,
    seed: int,
    settings: Mapping[str, str],
    timeout: float,
    hostile: bool = True,
) -> Run:
    """Run `jobs` jobs through the faults; beside two hostile tenants, unless `hostile` is false."""
    clock = {"PYTHONPATH": f"{Path(__file__).parent / 'clock'}:{ROOT}", "CHAOS_CLOCK": str(folder / "clock")}
    began = time.monotonic()
    end = began + timeout
    with (
        chaos(folder / "stack", wait_for, STORM.format(seed=seed), {**KEPT, **TENANTS, **settings}, clock) as running,
        besieged(running, jobs, seed) if hostile else nullcontext() as siege,
    ):
        running.enqueue(jobs)
        done: list[Step] = []
        try:
            for step in steps:
                if running.ended() == jobs or time.monotonic() > end:
                    break
                time.sleep(step.after)
                done.append(step)
                with siege.weather.fault() if siege else nullcontext():
                    cause_fault(running, step)
            _good_weather(running)
            running.until_ended(jobs, timeout=max(end - time.monotonic(), 60))
            seconds = time.monotonic() - began
            if siege:
                siege.end()
            outcome = running.promise_is_kept(jobs, timeout=60)
        except BaseException as error:
            error.add_note(f"seed {seed}, after {running.ended()} of {jobs} jobs; done so far:")
            error.add_note("\n".join(map(str, done)))
            raise
        seen = _seen(running, outcome, len(done))
        if siege is None:
            return Run(outcome, seen, seconds)
        return Run(
            outcome,
            seen,
            seconds,
            delays=siege.start_delays(),
            callbacks=siege.callbacks(),
            refused=siege.measured.refused,
            attacks=siege.answers,
            stolen=siege.stolen,
        )


def _good_weather(running: Chaos) -> None:
    for proxy in running.wires.values():
        proxy.clear()


def _seen(running: Chaos, outcome: Outcome, steps: int) -> dict[str, int]:
    fired, log = outcome.fired, running.log("worker")
    received = Counter(re.findall(r"Task boomerang\.\w+\[([^\]]+)\] received", log))
    ambiguous = ("lost_answers", "error_after", "ghost", "html", "truncated", "wrong_id")
    return {
        "steps": steps,
        "a redelivery": sum(count > 1 for count in received.values()),
        "an ambiguous POST": sum(fired.get(fault, 0) for fault in ambiguous),
        "an early callback": fired.get("early_callbacks", 0),
        "a rescue by poll": sum(job.settled_by == "poll" for job in outcome.jobs),
        "a stale lease refused": log.count("came after its lease"),
        "an open breaker": running.store.lanes.get().opened,
        "a restart": outcome.restarts,
    }


@pytest.mark.chaos
@pytest.mark.timeout(240)
def test_a_few_random_faults_break_no_promise(tmp_path: Path, wait_for: WaitFor) -> None:
    slots = {"BOOMERANG_MAX_IN_FLIGHT": "40"}
    steps = schedule(SEEDS[0], most=4)
    found = run(tmp_path, wait_for, 200, steps, seed=SEEDS[0], settings=slots, timeout=150, hostile=False)
    assert found.seen["steps"] == 4
    assert min(found.seen[what] for what in ("an ambiguous POST", "an early callback", "a rescue by poll")) > 0


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", SEEDS)
def test_all_faults_in_random_order_break_no_promise(tmp_path: Path, wait_for: WaitFor, seed: int) -> None:
    slots = {"BOOMERANG_MAX_IN_FLIGHT": "60"}
    found = run(tmp_path, wait_for, 1200, schedule(seed), seed=seed, settings=slots, timeout=800)
    assert found.seen["steps"] == len(FAULTS)
    # A run without these events proves nothing.
    assert {what: count for what, count in found.seen.items() if not count} == {}
    assert found.stolen == []


@pytest.mark.chaos
@pytest.mark.timeout(2 * 3600)
def test_random_faults_break_no_promise_to_a_hundred_thousand_jobs(
    tmp_path: Path, wait_for: WaitFor, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = SEEDS[0]
    steps = schedule(seed, rounds=20, pause=(5, 20))
    # Default polls and more concurrent submissions, to leave the CPU to the jobs.
    settings = {"BOOMERANG_CONCURRENCY": "128", "BOOMERANG_POLL_FIRST": "20", "BOOMERANG_POLL_MAX": "30"}
    found = run(tmp_path, wait_for, JOBS, steps, seed=seed, settings=settings, timeout=6600)
    with capsys.disabled():
        sys.stdout.write(f"\nseed {seed}: {found.text()}\n")
    if found.seen["steps"] >= len(FAULTS):  # a shorter run (CHAOS_JOBS) has not had all of them
        assert {what: count for what, count in found.seen.items() if not count} == {}
    assert sum(job.status == "completed" for job in found.outcome.jobs) > 0.9 * JOBS
    assert found.stolen == []
    assert percentile(found.delays.quiet, 50) < MOST_DELAY * load()
    assert percentile(found.callbacks.quiet, 99) < MOST_CALLBACK * load()
