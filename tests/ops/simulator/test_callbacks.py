import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.listener import Listener

Start = Callable[..., Any]
WaitFor = Callable[[Callable[[], Any]], Any]


def bodies(listener: Listener, name: str) -> list[Any]:
    return [json.loads(each.body) for each in list(listener.received) if each.path == f"/callbacks/{name}/token"]


def test_every_change_of_status_calls_back(start: Start, listener: Listener, wait_for: WaitFor) -> None:
    simulator = start(latency="0.1")
    simulator.submit("a", callback_url=listener.callback_url("a"))
    wait_for(lambda: len(listener.received) == 2)
    first, second = bodies(listener, "a")
    assert (first["status"], second["status"]) == ("in_progress", "completed")
    assert second["usage"]["cost"] == "0.0130"
    assert second == simulator.look("a").json()


def test_the_callback_url_is_used_unchanged(start: Start, listener: Listener, wait_for: WaitFor) -> None:
    start().submit("a", callback_url=listener.callback_url("a%7E2%2fb:c") + "?x=%41")
    wait_for(lambda: listener.received)
    assert listener.received[0].path == "/callbacks/a%7E2%2fb:c/token?x=%41"


@pytest.mark.parametrize(
    ("shape", "fail", "expected"),
    [
        ("gateway", 0, {"status": "completed"}),
        ("kling", 0, {"task_status": "succeed"}),
        ("kling", 1, {"task_status": "failed"}),
        ("kling-new", 0, {"status": "succeeded"}),
        ("kling-new", 1, {"status": "failed"}),
        ("minimal", 0, {"event": "task.updated"}),
    ],
)
def test_a_callback_has_each_configured_shape(
    start: Start, listener: Listener, wait_for: WaitFor, *, shape: str, fail: float, expected: dict[str, str]
) -> None:
    simulator = start(callback_shape=shape, fail=fail)
    made = simulator.submit("a", n=2, callback_url=listener.callback_url("a")).json()
    wait_for(lambda: listener.received)
    (body,) = bodies(listener, "a")
    assert expected.items() <= body.items()
    if shape == "gateway":
        assert body["id"] == made["id"]
        return
    assert "usage" not in body
    assert made["id"] not in (body.get("id"), body.get("task_id"))
    if shape == "kling":
        assert body["task_info"] == {"external_task_id": "a"}
        assert bool(body["task_status_msg"]) == bool(fail)
        assert fail or [image["index"] for image in body["task_result"]["images"]] == [0, 1]
    if shape == "kling-new":
        assert body["external_id"] == "a"
        assert fail or len(body["outputs"]) == 2


def test_mixed_shapes_include_all_of_them(start: Start, listener: Listener, wait_for: WaitFor) -> None:
    simulator = start(callback_shape="mixed")
    for number in range(40):
        simulator.submit(f"j{number}", callback_url=listener.callback_url("a"))
    wait_for(lambda: len(listener.received) == 40)
    keys = {frozenset(body) & {"output", "task_status", "external_id", "event"} for body in bodies(listener, "a")}
    assert keys == {frozenset({key}) for key in ("output", "task_status", "external_id", "event")}
    assert simulator.fired("callback_shape.kling") > 0


def test_a_callback_may_be_nested_under_data(start: Start, listener: Listener, wait_for: WaitFor) -> None:
    simulator = start(callback_nested=1)
    simulator.submit("a", callback_url=listener.callback_url("a"))
    wait_for(lambda: listener.received)
    assert bodies(listener, "a") == [{"data": simulator.look("a").json()}]


def test_dropped_callbacks_never_arrive(start: Start, listener: Listener, wait_for: WaitFor) -> None:
    simulator = start(drop_callbacks=0.5)
    for number in range(40):
        simulator.submit(f"j{number}", callback_url=listener.callback_url(f"j{number}"))
    dropped = simulator.fired("drop_callbacks")
    assert 5 < dropped < 35
    wait_for(lambda: simulator.get("/_sim/stats")["callbacks"]["sent"] == 40 - dropped)
    assert len(listener.received) == 40 - dropped


def test_repeated_callbacks_are_equal(start: Start, listener: Listener, wait_for: WaitFor) -> None:
    simulator = start(repeat_callbacks=1, repeat_times=99)
    simulator.submit("a", callback_url=listener.callback_url("a"))
    wait_for(lambda: len(listener.received) == 100)
    assert len({(each.path, each.body) for each in listener.received}) == 1
    assert simulator.fired("repeat_callbacks") == 1


def test_an_early_callback_arrives_before_the_answer_to_its_submission(start: Start, listener: Listener) -> None:
    simulator = start(latency="60", early_callbacks=1)
    simulator.submit("a", callback_url=listener.callback_url("a"))
    # No need to wait: the callback must have arrived already.
    assert [body["status"] for body in bodies(listener, "a")] == ["completed"]
    assert simulator.fired("early_callbacks") == 1


def test_a_late_callback_arrives_after_its_delay(start: Start, listener: Listener, wait_for: WaitFor) -> None:
    simulator = start(late_callbacks=1, late_by=0.4)
    begun = time.monotonic()
    simulator.submit("a", callback_url=listener.callback_url("a"))
    assert simulator.look("a").json()["status"] == "completed"
    wait_for(lambda: listener.received)
    assert time.monotonic() - begun >= 0.4
    assert simulator.fired("late_callbacks") == 1


def test_callbacks_may_be_reordered(start: Start, listener: Listener, wait_for: WaitFor) -> None:
    simulator = start(latency="0.05", reorder_callbacks=1)
    simulator.submit("a", callback_url=listener.callback_url("a"))
    wait_for(lambda: len(listener.received) == 2)
    assert [body["status"] for body in bodies(listener, "a")] == ["completed", "in_progress"]
    assert simulator.fired("reorder_callbacks") == 1


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [("succeed_then_fail", ["completed", "failed"]), ("fail_then_succeed", ["failed", "completed"])],
)
def test_callbacks_may_contradict_each_other(
    start: Start, listener: Listener, wait_for: WaitFor, fault: str, statuses: list[str]
) -> None:
    simulator = start(**{fault: 1})
    simulator.submit("a", callback_url=listener.callback_url("a"))
    wait_for(lambda: len(listener.received) == 2)
    assert [body["status"] for body in bodies(listener, "a")] == statuses
    assert simulator.look("a").json()["status"] == "completed"
    assert simulator.fired(fault) == 1


def test_forged_callbacks_arrive_beside_the_true_one(start: Start, listener: Listener, wait_for: WaitFor) -> None:
    simulator = start(forge_callbacks=1)
    for number in range(60):
        simulator.submit(f"j{number}", callback_url=listener.callback_url(f"j{number}"))
    wait_for(lambda: len(listener.received) == 120)
    true = {(f"/callbacks/j{number}/token", simulator.look(f"j{number}").content) for number in range(60)}
    forged = [(each.path, each.body) for each in listener.received if (each.path, each.body) not in true]
    assert len(forged) == simulator.fired("forge_callbacks") == 60
    at_the_right_address = [body for path, body in forged if path.endswith("/token") and "-other" not in path]
    for body in at_the_right_address:
        # The complete URL contains the token, so only invalid bodies are forged to it.
        assert b"completed" not in body
    elsewhere = [(path, body) for path, body in forged if b"http://forged.invalid" in body]
    assert {path.rpartition("/")[2] for path, _ in elsewhere} == {"nekotx", "token", "%C3%A9%00token"}
    assert len(at_the_right_address) + len(elsewhere) == 60


@pytest.mark.parametrize("refusals", [[503], [500, 429, 503]])
def test_a_failed_callback_is_retried(start: Start, listener: Listener, wait_for: WaitFor, refusals: list[int]) -> None:
    simulator = start({"callback_retries": (0.01, 0.01, 0.01)})
    listener.answers = list(refusals)
    simulator.submit("a", callback_url=listener.callback_url("a"))
    wait_for(lambda: simulator.get("/_sim/stats")["callbacks"]["sent"] == 1)
    assert len(listener.received) == len(refusals) + 1


def test_a_refused_callback_is_not_retried(start: Start, listener: Listener, wait_for: WaitFor) -> None:
    simulator = start({"callback_retries": (0.01,)})
    listener.answers = [403]
    simulator.submit("a", callback_url=listener.callback_url("a"))
    wait_for(lambda: simulator.get("/_sim/stats")["callbacks"]["refused"] == 1)
    assert len(listener.received) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://127.0.0.1:99999/x", "http://[/x"])
def test_retries_to_a_missing_receiver_end(start: Start, wait_for: WaitFor, url: str) -> None:
    simulator = start({"callback_retries": (0.01, 0.01)})
    assert simulator.submit("a", callback_url=url).status_code == 200
    wait_for(lambda: simulator.get("/_sim/stats")["callbacks"]["given_up"] == 1)
    assert simulator.look("a").json()["status"] == "completed"


def test_a_reset_cancels_pending_callbacks(start: Start, listener: Listener, wait_for: WaitFor) -> None:
    simulator = start(late_callbacks=1, late_by=0.2)
    simulator.submit("a", callback_url=listener.callback_url("a"))
    simulator.http.post(f"{simulator.url}/_sim/reset", timeout=5)
    simulator.turn(late_callbacks=1, late_by=0.4)
    simulator.submit("b", callback_url=listener.callback_url("b"))
    wait_for(lambda: bodies(listener, "b"))
    assert bodies(listener, "a") == []
