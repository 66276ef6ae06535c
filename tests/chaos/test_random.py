"""Faults of every kind in random order, with the provider's storm preset. The ledger is the judge.

`make chaos CHAOS_SEEDS=7,8` runs these seeds. A failure prints the seed and the faults in order.
"""

import json
import os
import re
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.chaos.faults import FAULTS, Step, cause_fault, schedule
from tests.chaos.harness import Chaos, chaos
from tests.support.verdict import Outcome
from tests.support.waiting import WaitFor

pytestmark = pytest.mark.stack

SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEEDS", "1,2,3").split(",")]
STORM = "--storm --seed {seed}"
#: Redis loses no acknowledged write here (`appendfsync always`), so its restarts need no look-ups.
KEPT = {"BOOMERANG_RECOVERY": "off"}
ROOT = Path(__file__).parents[2]


def test_a_seed_always_gives_the_same_schedule() -> None:
    assert schedule(5, rounds=3) == schedule(5, rounds=3) != schedule(6, rounds=3)
    assert Counter(step.fault for step in schedule(5, rounds=3)) == dict.fromkeys(FAULTS, 3)


def run(
    folder: Path,
    wait_for: WaitFor,
    jobs: int,
    steps: list[Step],
    *,
    seed: int,
    settings: Mapping[str, str],
    timeout: float,
) -> tuple[Outcome, Mapping[str, int]]:
    """Run `count` jobs through the faults. Return the outcome, and how often each expected event was observed."""
    clock = {"PYTHONPATH": f"{Path(__file__).parent / 'clock'}:{ROOT}", "CHAOS_CLOCK": str(folder / "clock")}
    end = time.monotonic() + timeout
    with chaos(folder / "stack", wait_for, STORM.format(seed=seed), {**KEPT, **settings}, clock) as running:
        running.enqueue(jobs)
        done: list[Step] = []
        try:
            for step in steps:
                if running.ended() == jobs or time.monotonic() > end:
                    break
                done.append(step)
                cause_fault(running, step)
            _good_weather(running)
            outcome = running.promise_is_kept(jobs, timeout=max(end - time.monotonic(), 60))
        except BaseException as error:
            error.add_note(f"seed {seed}, after {running.ended()} of {jobs} jobs; done so far:")
            error.add_note("\n".join(map(str, done)))
            raise
        seen = _seen(running, outcome, len(done))
        (folder / "seen.json").write_text(json.dumps(seen), "utf-8")
        return outcome, seen


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


@pytest.mark.timeout(240)
def test_a_few_random_faults_break_no_promise(tmp_path: Path, wait_for: WaitFor) -> None:
    slots = {"BOOMERANG_MAX_IN_FLIGHT": "40"}
    steps = schedule(SEEDS[0], most=6)
    _, seen = run(tmp_path, wait_for, 300, steps, seed=SEEDS[0], settings=slots, timeout=150)
    assert seen["steps"] == 6
    assert min(seen[what] for what in ("an ambiguous POST", "an early callback", "a rescue by poll")) > 0


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", SEEDS)
def test_all_faults_in_random_order_break_no_promise(tmp_path: Path, wait_for: WaitFor, seed: int) -> None:
    slots = {"BOOMERANG_MAX_IN_FLIGHT": "60"}
    _, seen = run(tmp_path, wait_for, 1200, schedule(seed), seed=seed, settings=slots, timeout=800)
    assert seen["steps"] == len(FAULTS)
    # A run without these events proves nothing.
    assert {what: count for what, count in seen.items() if not count} == {}


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_random_faults_break_no_promise_to_a_hundred_thousand_jobs(tmp_path: Path, wait_for: WaitFor) -> None:
    seed = SEEDS[0]
    steps = schedule(seed, rounds=20, pause=(5, 20))
    # Default polls and more concurrent submissions, to leave the CPU to the jobs.
    settings = {"BOOMERANG_CONCURRENCY": "128", "BOOMERANG_POLL_FIRST": "20", "BOOMERANG_POLL_MAX": "30"}
    outcome, seen = run(tmp_path, wait_for, 100_000, steps, seed=seed, settings=settings, timeout=3300)
    assert {what: count for what, count in seen.items() if not count} == {}
    assert sum(job.status == "completed" for job in outcome.jobs) > 90_000
