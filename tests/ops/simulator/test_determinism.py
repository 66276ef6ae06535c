import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from ops.simulator.faults import Faults
from tests.support.listener import Listener
from tests.support.waiting import WaitFor

Start = Callable[..., Any]
FAULTS = {
    "cut_before": 0.1,
    "error_before": 0.1,
    "no_id": 0.1,
    "redirect": 0.1,
    "html": 0.1,
    "throttle": 0.1,
    "lost_answers": 0.1,
    "error_after": 0.1,
    "truncated": 0.1,
    "fail": 0.2,
    "fail_permanent": 0.1,
    "dialect": 0.5,
    "duplicates": "mixed",
    "drop_callbacks": 0.3,
    "callback_shape": "mixed",
}
NAMES = [f"job-{number}" for number in range(60)]


def run(simulator: Any, listener: Listener, wait_for: WaitFor, *, names: list[str], threads: int) -> dict[str, Any]:
    """Submit each name three times in a row. Return the answers by name, the fired faults and the callbacks."""
    seen: dict[str, list[str]] = {name: [] for name in names}

    def ask(name: str) -> None:
        for _ in range(3):
            try:
                answer = requests.post(
                    f"{simulator.url}/model/v1/generation",
                    json={
                        "model": "kirin_image_omni",
                        "prompt": "x",
                        "external_task_id": name,
                        "callback_url": listener.callback_url(name),
                    },
                    headers={"Authorization": "Bearer key"},
                    allow_redirects=False,
                    timeout=5,
                )
                body = answer.text if "created_at" not in answer.text else ",".join(answer.json())
                seen[name].append(f"{answer.status_code} {body}")
            except requests.exceptions.ConnectionError:
                seen[name].append("cut")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(ask, names))
    wait_for(lambda: simulator.get("/_sim/stats")["callbacks"]["sent"] == len(listener.received))
    stats = simulator.get("/_sim/stats")
    wanted = stats["tasks"] - stats["fired"]["drop_callbacks"]
    wait_for(lambda: len(listener.received) == wanted)
    return {
        "seen": seen,
        "fired": stats["fired"],
        "totals": simulator.ledger()["totals"],
        "ends": {name: simulator.look(name).text.partition('"output"')[0] for name in names},
        "called": Counter((each.path, frozenset(json.loads(each.body))) for each in listener.received),
    }


@pytest.mark.slow
def test_a_seed_reproduces_a_run_in_any_order(start: Start, listener: Listener, wait_for: WaitFor) -> None:
    # Given two runs with the same seed, the second from many threads and in reverse, and one with another seed
    runs = []
    for seed, names, threads in (("7", NAMES, 1), ("7", NAMES[::-1], 8), ("8", NAMES, 1)):
        simulator = start({"seed": seed}, **FAULTS)
        listener.received.clear()
        runs.append(run(simulator, listener, wait_for, names=names, threads=threads))
    first, again, other = runs
    # Then each job had the same faults in the same order, and only the other seed differs
    assert first == again
    assert other["seen"] != first["seen"]
    # And the run had many faults
    assert len(first["fired"]) >= len(FAULTS) - 2


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_a_share_is_the_observed_frequency(share: float) -> None:
    faults = Faults("1", {"fail": share})
    fired = sum(faults.fires("fail", f"job-{number}", 1) for number in range(5000))
    assert abs(fired / 5000 - share) <= (0.03 if 0 < share < 1 else 0)
    assert faults.fired["fail"] == fired


def test_decisions_are_independent_of_one_another() -> None:
    faults = Faults("1", {"fail": 0.5, "drop_callbacks": 0.5})
    same = sum(
        faults.fires("fail", f"j{number}", 1) == faults.fires("drop_callbacks", f"j{number}", 1)
        for number in range(4000)
    )
    assert 0.45 < same / 4000 < 0.55


def test_choices_are_uniform_and_stable() -> None:
    faults = Faults("1", {})
    picks = Counter(faults.pick("fail", f"j{number}", 1, "abc") for number in range(3000))
    assert set(picks) == set("abc")
    assert min(picks.values()) > 850
    assert faults.pick("fail", "j1", 1, "abc") == faults.pick("fail", "j1", 1, "abc")


def test_latency_is_within_its_range() -> None:
    faults = Faults("1", {"latency": "0.5-3"})
    drawn = [faults.latency_of(f"j{number}", 1) for number in range(1000)]
    assert 0.5 <= min(drawn) < 0.6
    assert 2.9 < max(drawn) <= 3
