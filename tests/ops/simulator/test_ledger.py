import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ops.simulator.ledger import cost_of
from tests.support.waiting import WaitFor

R2I, OMNI = "kirin_v2_1_reference2image", "kirin_image_omni"
Start = Callable[..., Any]


@pytest.mark.parametrize(
    ("model", "resolution", "n", "cost"),
    [
        (R2I, "1k", 1, "0.0065"),
        (R2I, "1k", 9, "0.0585"),
        (OMNI, "1k", 1, "0.0130"),
        (OMNI, "2k", 3, "0.0780"),
    ],
)
def test_a_task_costs_the_documented_price(model: str, resolution: str, n: int, cost: str) -> None:
    assert str(cost_of(model, resolution, n)) == cost


def test_spent_is_the_sum_of_the_reported_costs(start: Start) -> None:
    simulator = start(fail=0.3)
    references = {"subject_image_list": [{"subject_image": "https://example.com/a.png"}]}
    for number in range(30):
        simulator.post({**references, "n": number % 9 + 1, "external_task_id": f"r{number}"}, model=R2I)
        simulator.submit(f"o{number}", resolution="2k")
    ledger = simulator.ledger()
    reported = [simulator.look(p["external_task_id"]).json() for p in ledger["purchases"]]
    costs = [Decimal(body["usage"]["cost"]) for body in reported if body["status"] == "completed"]
    assert [p["billed"] for p in ledger["purchases"]] == [body["status"] == "completed" for body in reported]
    assert 0 < len(costs) < 60
    totals = ledger["totals"]
    assert (totals["tasks"], totals["bought"], totals["bought_twice"]) == (60, len(costs), 0)
    assert totals["spent"] == str(sum(costs))
    assert Decimal(totals["spent"]) == sum(Decimal(p["cost"]) for p in ledger["purchases"] if p["billed"])


def test_nothing_is_spent_before_a_task_ends(start: Start, wait_for: WaitFor) -> None:
    simulator = start(latency="0.3")
    simulator.submit("a")
    assert simulator.ledger()["totals"] == {"tasks": 1, "bought": 0, "bought_twice": 0, "spent": "0"}
    wait_for(lambda: simulator.ledger()["totals"]["spent"] == "0.0130")


def test_a_job_bought_twice_is_listed_once(start: Start) -> None:
    simulator = start(duplicates="unnoticed")
    for name in "abcbcc":
        simulator.submit(name)
    ledger = simulator.ledger()
    assert ledger["bought_twice"] == ["b", "c"]
    assert ledger["totals"] == {"tasks": 6, "bought": 6, "bought_twice": 2, "spent": "0.0780"}
    assert len({p["task_id"] for p in ledger["purchases"]}) == 6


def test_a_purchase_records_its_request(start: Start) -> None:
    simulator = start()
    task_id = simulator.submit("a", n=2).json()["id"]
    (purchase,) = simulator.ledger()["purchases"]
    assert purchase.pop("at").endswith("+00:00")
    assert purchase == {
        "external_task_id": "a",
        "task_id": task_id,
        "model": OMNI,
        "n": 2,
        "cost": "0.0260",
        "billed": True,
    }
    assert "purchases" not in simulator.get("/_sim/ledger?purchases=0")


def test_the_file_has_the_same_entries_as_the_memory(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "provider" / "ledger.jsonl"
    simulator = start({"ledger_file": path}, duplicates="unnoticed", fail=0.4)
    for number in range(20):
        simulator.submit(f"j{number % 15}")
    totals = simulator.ledger()["totals"]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    created = [line for line in lines if line["event"] == "created"]
    billed = [line for line in lines if line["event"] == "billed"]
    assert (len(created), len(billed)) == (20, totals["bought"])
    assert str(sum(Decimal(line["cost"]) for line in billed)) == totals["spent"]
    assert {line["task_id"] for line in billed} <= {line["task_id"] for line in created}
    assert 20 - len({line["external_task_id"] for line in created}) == totals["bought_twice"] == 5


def test_a_reset_is_recorded_in_the_file(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    simulator = start({"ledger_file": path})
    simulator.submit("a")
    simulator.http.post(f"{simulator.url}/_sim/reset", timeout=5)
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["created", "billed", "reset"]
