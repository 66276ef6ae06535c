from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from ops.simulator import server
from tests.support.simulator import StartSimulator
from tests.support.waiting import WaitFor


def test_a_task_runs_from_submission_to_its_images(start: StartSimulator, wait_for: WaitFor) -> None:
    simulator = start(latency="0.3")
    # When it is submitted
    made = simulator.submit("job-1", n=2).json()
    assert made["status"] == "in_progress"
    assert isinstance(made["created_at"], int)
    # Then both ids find it in progress
    seen = simulator.look(made["id"]).json()
    assert seen["status"] == "in_progress"
    assert 0 <= seen["progress"] < 1
    assert simulator.look("job-1").json()["id"] == made["id"]
    # And it completes in the end
    done = wait_for(lambda: (b := simulator.look("job-1").json())["status"] == "completed" and b)
    assert set(done) == {"id", "status", "model", "output", "usage", "metadata"}
    content = done["output"][0]["content"]
    assert [item["type"] for item in content] == ["image", "image"]
    assert len({item["jobId"] for item in content}) == 2
    assert done["usage"] == {"cost": "0.0260", "discount": 1}
    downloaded = requests.get(content[1]["url"], timeout=5)
    assert downloaded.headers["Content-Type"] == "image/png"
    assert downloaded.content.startswith(b"\x89PNG")


def test_without_latency_a_task_completes_at_once(start: StartSimulator) -> None:
    simulator = start()
    assert simulator.submit("a").json()["status"] == "in_progress"
    assert simulator.look("a").json()["status"] == "completed"


def test_the_flat_form_is_accepted_by_the_api(start: StartSimulator) -> None:
    simulator = start()
    flat = {"model": "kirin_image_omni", "prompt": "a cat"}
    assert simulator.http.post(f"{simulator.url}/model/v1/generation", json=flat, timeout=5).json()["id"]


def test_an_error_has_the_form_of_the_gateways_errors(start: StartSimulator) -> None:
    simulator = start()
    answer = simulator.submit("a", n=10)
    assert answer.status_code == 400
    assert answer.json() == {"error": {"code": "002016003", "message": "n: must be an integer between 1 and 9"}}
    assert simulator.ledger()["totals"]["tasks"] == 0


def test_a_body_that_is_too_large_is_refused(start: StartSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_BODY", 10_000)
    answer = start().submit("a", prompt="x" * 20_000)
    assert answer.status_code == 413
    assert answer.json()["error"]["message"] == "body: must not exceed 10000 bytes"


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer ", "Basic key", "key"])
def test_a_call_without_a_valid_key_is_refused(start: StartSimulator, header: str | None) -> None:
    simulator = start({"keys": frozenset({"key", "other"})})
    assert simulator.submit("a").status_code == 200
    simulator.http.headers["Authorization"] = header  # type: ignore[assignment]
    for answer in (simulator.submit("b"), simulator.look("a")):
        assert answer.status_code == 401
        assert set(answer.json()["error"]) == {"code", "message"}


def test_without_configured_keys_any_key_is_accepted_but_a_missing_one_is_not(start: StartSimulator) -> None:
    simulator = start()
    assert simulator.submit("a").status_code == 200
    simulator.http.headers["Authorization"] = None  # type: ignore[assignment]
    assert simulator.submit("b").status_code == 401


def test_external_ids_are_unique_and_visible_per_key(start: StartSimulator) -> None:
    simulator = start()
    mine = simulator.submit("same").json()["id"]
    assert simulator.submit("same").status_code == 409
    simulator.http.headers["Authorization"] = "Bearer another"
    assert simulator.look("same").status_code == 404
    assert simulator.look(mine).status_code == 404
    theirs = simulator.submit("same").json()["id"]
    assert theirs != mine
    assert simulator.look("same").json()["id"] == theirs


def test_an_external_id_may_need_url_escapes(start: StartSimulator) -> None:
    simulator = start()
    simulator.submit("a/b ~2:ü")
    assert simulator.look("a%2Fb%20~2:%C3%BC").json()["status"] == "completed"


def test_an_unknown_task_is_not_found(start: StartSimulator) -> None:
    answer = start().look("missing")
    assert answer.status_code == 404
    assert "missing" in answer.json()["error"]["message"]


def test_a_task_may_have_no_external_id(start: StartSimulator) -> None:
    simulator = start()
    first, second = (simulator.post({"prompt": "a cat"}).json()["id"] for _ in range(2))
    assert first != second
    assert simulator.look(second).json()["status"] == "completed"


def test_answers_include_the_external_id_on_demand(start: StartSimulator) -> None:
    simulator = start({"echo_external_id": True})
    simulator.submit("a")
    assert simulator.look("a").json()["external_task_id"] == "a"


def test_slots_are_counted_in_images_and_released(start: StartSimulator, wait_for: WaitFor) -> None:
    simulator = start(latency="0.2", slots=4)
    assert simulator.submit("a", n=3).status_code == 200
    refused = simulator.submit("b", n=2)
    assert refused.status_code == 429
    assert refused.json()["code"] == 1303
    assert refused.headers["Retry-After"] == "1"
    assert simulator.submit("c", n=1).status_code == 200
    assert wait_for(lambda: simulator.submit("b", n=4).status_code == 200)
    assert simulator.fired("slots") >= 1
    assert simulator.get("/_sim/stats")["accounts"]["key"]["peak"] == 4
    assert simulator.created("b") == 1


def test_each_key_has_its_own_slots_and_rate(start: StartSimulator) -> None:
    simulator = start(latency="60", slots=2, rate=3)
    for key in ("one", "other"):
        simulator.http.headers["Authorization"] = f"Bearer {key}"
        answers = [simulator.submit(f"{key}-{number}") for number in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert [answer.json().get("code") for answer in answers[2:3]] == [1303]
    account = {"tasks": 2, "in_flight": 2, "peak": 2}
    assert simulator.get("/_sim/stats")["accounts"] == {"one": account, "other": account}
    assert (simulator.fired("slots"), simulator.fired("rate")) == (2, 2)


def test_a_rate_limit_is_enforced(start: StartSimulator) -> None:
    simulator = start(rate=3)
    answers = [simulator.submit(f"j{i}") for i in range(8)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) >= 4
    assert all(answer.json()["error"]["code"] == "1302" for answer in refused)
    assert simulator.ledger()["totals"]["tasks"] == 8 - len(refused)


@pytest.mark.parametrize(
    ("kind", "seen"),
    [("seconds", "1"), ("date", "GMT"), ("garbage", "soon"), ("far", "315360000"), ("none", None)],
)
def test_retry_after_has_every_configured_form(start: StartSimulator, kind: str, seen: str | None) -> None:
    value = start(throttle=1, retry_after=kind).submit("a").headers.get("Retry-After")
    assert value is None if seen is None else seen in value


def test_results_are_deleted_but_their_external_ids_stay_in_use(start: StartSimulator, wait_for: WaitFor) -> None:
    simulator = start({"keep": 0.2})
    simulator.submit("a")
    url = simulator.look("a").json()["output"][0]["content"][0]["url"]
    wait_for(lambda: simulator.look("a").status_code == 404)
    assert requests.get(url, timeout=5).status_code == 404
    assert simulator.submit("a").status_code == 409
    assert simulator.ledger()["totals"]["spent"] == "0.0130"


@pytest.mark.parametrize("path", ["{id}/1.png", "{id}/99999999999999999999.png", "missing/0.png"])
def test_an_unknown_image_is_not_found(start: StartSimulator, path: str) -> None:
    simulator = start()
    task_id = simulator.submit("a").json()["id"]
    assert requests.get(f"{simulator.url}/images/{path.format(id=task_id)}", timeout=5).status_code == 404


def test_one_of_many_concurrent_submissions_under_one_id_is_accepted(start: StartSimulator) -> None:
    simulator = start(slow=0.05)
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(lambda _: simulator.submit("same").status_code, range(8)))
    assert statuses == [200] + [409] * 7


def test_a_reset_forgets_everything(start: StartSimulator) -> None:
    simulator = start(latency="60", slots=1)
    simulator.submit("a")
    simulator.turn(fail=1, slots=9)
    simulator.http.post(f"{simulator.url}/_sim/reset", timeout=5)
    assert simulator.look("a").status_code == 404
    assert simulator.get("/_sim/stats")["in_flight"] == 0
    assert simulator.ledger() == {
        "totals": {"tasks": 0, "bought": 0, "bought_twice": 0, "spent": "0"},
        "bought_twice": [],
        "purchases": [],
    }
    faults = simulator.get("/_sim/faults")
    assert (faults["fail"], faults["slots"], faults["latency"]) == (0, 1, "60")
