from typing import Any

import pytest

from ops.simulator.fault_options import AT_REST, FAULT_OPTIONS, STORM, FaultOptionInvalid, read_values
from tests.support.simulator import StartSimulator


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"drop_callback": 1}, "did you mean drop_callbacks.*known: latency, slots"),
        ({"fail": 1.1}, "fail takes a number from 0 to 1"),
        ({"fail": -0.1}, "fail takes"),
        ({"fail": True}, "fail takes"),
        ({"fail": "often"}, "fail takes"),
        ({"fail": None}, "fail takes"),
        ({"fail": float("nan")}, "fail takes"),
        ({"hang": float("inf")}, "hang takes a number of 0 or more"),
        ({"slots": 1.5}, "slots takes a whole number"),
        ({"latency": "3-1"}, "latency takes"),
        ({"latency": "soon"}, "latency takes"),
        ({"latency": "-1"}, "latency takes"),
        ({"duplicates": "maybe"}, "duplicates takes one of conflict, kling, words, mixed, unnoticed"),
    ],
)
def test_a_bad_value_is_refused(raw: dict[str, object], message: str) -> None:
    with pytest.raises(FaultOptionInvalid, match=message):
        read_values(raw)


def test_valid_values_are_parsed() -> None:
    raw = {"fail": "0.5", "slots": 3, "latency": 2, "callback_shape": "kling-new"}
    assert read_values(raw) == {"fail": 0.5, "slots": 3.0, "latency": "2", "callback_shape": "kling-new"}


@pytest.mark.parametrize("preset", [AT_REST, STORM], ids=["rest", "storm"])
def test_the_presets_are_values_of_their_options(preset: dict[str, object]) -> None:
    assert set(read_values(preset)) == {option.name for option in FAULT_OPTIONS}


def test_an_invalid_fault_at_run_time_changes_nothing(start: StartSimulator) -> None:
    simulator = start()
    before = simulator.get("/_sim/faults")
    bodies: tuple[Any, ...] = ({"fail": 0.5, "nonsense": 1}, [], {"storm": 1}, {"outage": "refuse"})
    for body in bodies:
        answer = simulator.http.put(f"{simulator.url}/_sim/faults", json=body, timeout=5)
        assert answer.status_code == 400
        assert answer.json()["error"]
    assert "known: latency" in simulator.http.put(f"{simulator.url}/_sim/faults", json={"x": 1}, timeout=5).text
    assert simulator.http.put(f"{simulator.url}/_sim/faults", data=b"\xff", timeout=5).status_code == 400
    assert simulator.get("/_sim/faults") == before


def test_the_storm_preset_can_be_set_at_run_time(start: StartSimulator) -> None:
    simulator = start()
    simulator.turn(storm=True, fail=0)
    assert simulator.get("/_sim/faults") == {**STORM, "fail": 0}
