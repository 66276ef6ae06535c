import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.waiting import WaitFor

Start = Callable[..., Any]
CUT = requests.exceptions.ConnectionError


def test_cut_before_creates_nothing(start: Start) -> None:
    simulator = start(cut_before=1)
    with pytest.raises(CUT):
        simulator.submit("a")
    assert (simulator.created("a"), simulator.fired("cut_before")) == (0, 1)


def test_error_before_creates_nothing(start: Start) -> None:
    simulator = start(error_before=1)
    statuses = {simulator.submit(f"j{i}").status_code for i in range(30)}
    assert statuses == {500, 502, 503, 504}
    assert simulator.ledger()["totals"]["tasks"] == 0
    assert simulator.fired("error_before") == 30


def test_error_after_creates_a_task(start: Start) -> None:
    simulator = start(error_after=1)
    assert simulator.submit("a").status_code >= 500
    assert (simulator.created("a"), simulator.fired("error_after")) == (1, 1)


def test_a_lost_answer_creates_a_task(start: Start) -> None:
    simulator = start(lost_answers=1)
    with pytest.raises(CUT):
        simulator.submit("a")
    assert (simulator.created("a"), simulator.fired("lost_answers")) == (1, 1)


def test_half_of_the_lost_answers_hang(start: Start) -> None:
    simulator = start(lost_answers=1, hang=30)
    seen = []
    for number in range(12):
        try:
            simulator.post({"prompt": "x", "external_task_id": f"j{number}"}, timeout=0.2)
        except requests.exceptions.ReadTimeout:
            seen.append("hung")
        except CUT:
            seen.append("cut")
    assert set(seen) == {"hung", "cut"}
    assert simulator.fired("lost_answers.hung") == seen.count("hung")
    assert simulator.ledger()["totals"]["tasks"] == 12


def test_throttle_creates_nothing(start: Start) -> None:
    simulator = start(throttle=1)
    assert simulator.submit("a").status_code == 429
    assert (simulator.created("a"), simulator.fired("throttle")) == (0, 1)


def test_a_slow_answer_is_delayed(start: Start) -> None:
    simulator = start(slow=0.3)
    begun = time.monotonic()
    assert simulator.submit("a").status_code == 200
    assert time.monotonic() - begun >= 0.3
    assert simulator.fired("slow") == 1


def test_an_answer_without_an_id_creates_nothing(start: Start) -> None:
    simulator = start(no_id=1)
    answers = [simulator.submit(f"j{i}") for i in range(20)]
    assert {answer.status_code for answer in answers} == {200}
    assert not any("id" in answer.json() for answer in answers)
    assert any("error" in answer.json() for answer in answers)
    assert simulator.ledger()["totals"]["tasks"] == 0


def test_redirects_create_nothing(start: Start) -> None:
    simulator = start(redirect=1)
    assert {simulator.submit(f"j{i}").status_code for i in range(30)} == {301, 302, 307, 308}
    assert simulator.ledger()["totals"]["tasks"] == 0
    assert (simulator.fired("redirect"), simulator.fired("redirect.followed")) == (30, 0)


def test_a_followed_redirect_is_recorded(start: Start) -> None:
    simulator = start(redirect=1)
    followed = 0
    for number in range(20):
        name = f"j{number}"
        answer = simulator.post({"prompt": "x", "external_task_id": name}, allow_redirects=True)
        # A client that follows 307 and 308 repeats the POST and buys; after 301 and 302 it sends a GET.
        followed += answer.status_code == 200
        assert simulator.created(name) == (answer.status_code == 200)
    assert simulator.fired("redirect.followed") == followed > 0


def test_an_html_answer_leaves_the_outcome_open(start: Start) -> None:
    simulator = start(html=1)
    for number in range(20):
        answer = simulator.submit(f"j{number}")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    tasks = simulator.ledger()["totals"]["tasks"]
    assert 0 < tasks < 20
    assert (simulator.fired("html"), simulator.fired("html.created")) == (20, tasks)


def test_truncated_json_creates_a_task(start: Start) -> None:
    simulator = start(truncated=1)
    answer = simulator.submit("a")
    assert answer.status_code == 200
    with pytest.raises(requests.exceptions.JSONDecodeError):
        answer.json()
    assert (simulator.created("a"), simulator.fired("truncated")) == (1, 1)


def test_a_wrong_id_is_unknown_or_another_tasks(start: Start) -> None:
    simulator = start(wrong_id=1)
    ids = [simulator.submit(f"j{i}").json()["id"] for i in range(20)]
    truth = [purchase["task_id"] for purchase in simulator.ledger()["purchases"]]
    assert not any(given == true for given, true in zip(ids, truth, strict=True))
    anothers = sum(given in truth for given in ids)
    assert anothers == simulator.fired("wrong_id.another") > 0
    assert len(ids) - anothers == simulator.fired("wrong_id.unknown") > 0


def test_a_dripping_answer_takes_longer_than_any_byte_of_it(start: Start) -> None:
    simulator = start(drip=1, drip_seconds=0.6)
    begun = time.monotonic()
    # The read time-out of 0.3 s counts from byte to byte, so it never expires.
    assert simulator.post({"prompt": "x", "external_task_id": "a"}, timeout=0.3).json()["id"]
    assert time.monotonic() - begun >= 0.5
    assert (simulator.created("a"), simulator.fired("drip")) == (1, 1)


def test_a_huge_answer_is_declared_and_sent(start: Start) -> None:
    simulator = start(huge=1)
    with simulator.post({"prompt": "x", "external_task_id": "a"}, stream=True) as answer:
        assert int(answer.headers["Content-Length"]) == 200 * 1024 * 1024
        assert answer.raw.read(3_000_000) == b" " * 3_000_000
    assert (simulator.created("a"), simulator.fired("huge")) == (1, 1)


@pytest.mark.slow
def test_a_gzip_bomb_is_small_until_decompressed(start: Start) -> None:
    simulator = start(gzip_bomb=1)
    with simulator.post({"prompt": "x", "external_task_id": "a"}, stream=True) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        packed = answer.raw.read(decode_content=False)
        assert len(packed) < 2_000_000
    with simulator.post({"prompt": "x", "external_task_id": "b"}, stream=True) as answer:
        assert sum(len(piece) for piece in answer.iter_content(1 << 20)) == 200 * 1024 * 1024
    assert (simulator.created("a"), simulator.fired("gzip_bomb")) == (1, 2)


def test_a_ghost_task_is_created_after_its_answer_was_lost(start: Start, wait_for: WaitFor) -> None:
    simulator = start(ghost=0.5)
    with pytest.raises(CUT):
        simulator.submit("a")
    assert simulator.look("a").status_code == 404
    assert wait_for(lambda: simulator.look("a").status_code == 200)
    assert (simulator.created("a"), simulator.fired("ghost"), simulator.fired("ghost.created")) == (1, 1, 1)


def test_a_ghost_task_under_a_used_id_is_a_duplicate(start: Start, wait_for: WaitFor) -> None:
    simulator = start(ghost=0.5)
    for name, policy, tasks in (("a", "conflict", 1), ("b", "unnoticed", 2)):
        simulator.turn(ghost_share=1, duplicates=policy)
        with pytest.raises(CUT):
            simulator.submit(name)
        simulator.turn(ghost_share=0)
        assert simulator.submit(name).status_code == 200
        wait_for(lambda: simulator.fired("ghost.refused" if tasks == 1 else "ghost.created"))  # noqa: B023
        assert simulator.created(name) == tasks
    assert simulator.ledger()["bought_twice"] == ["b"]


@pytest.mark.parametrize(
    ("policy", "status", "tasks"), [("conflict", 409, 1), ("kling", 400, 1), ("unnoticed", 200, 2)]
)
def test_a_duplicate_is_handled_as_configured(start: Start, policy: str, status: int, tasks: int) -> None:
    simulator = start(duplicates=policy)
    simulator.submit("a~2")
    again = simulator.submit("a~2")
    assert again.status_code == status
    assert (simulator.created("a~2"), simulator.fired(f"duplicates.{policy}")) == (tasks, 1)
    if policy == "kling":
        assert again.json()["code"] == 1201
        assert "a~2" in again.json()["message"]
    if policy == "unnoticed":
        assert simulator.look("a~2").json()["id"] == again.json()["id"]


def test_mixed_duplicates_are_handled_in_any_way(start: Start) -> None:
    simulator = start(duplicates="mixed")
    statuses = {(simulator.submit(f"j{i}"), simulator.submit(f"j{i}"))[1].status_code for i in range(60)}
    assert statuses == {200, 400, 409, 422}


def test_a_temporary_failure_ends_after_the_configured_attempts(start: Start) -> None:
    simulator = start(fail=1)
    codes = set()
    for number in range(40):
        simulator.submit(f"j{number}")
        body = simulator.look(f"j{number}").json()
        assert (body["status"], body["usage"], "output" in body) == ("failed", {"cost": ""}, False)
        assert body["error"]["message"]
        codes.add(body["error"]["code"])
    assert codes == {"002016095", "002016096", "002016097", "002016098", "002016099"}
    assert simulator.ledger()["totals"] == {"tasks": 40, "bought": 0, "bought_twice": 0, "spent": "0"}


def test_each_model_names_the_error_text_as_documented(start: Start) -> None:
    simulator = start(fail_permanent=1)
    request = {"subject_image_list": [{"subject_image": "https://example.com/a.png"}], "external_task_id": "r"}
    simulator.post(request, model="kirin_v2_1_reference2image")
    simulator.submit("o")
    assert set(simulator.look("r").json()["error"]) == {"code", "error_message"}
    assert simulator.look("o").json()["error"]["code"] == "1301"
    assert set(simulator.look("o").json()["error"]) == {"code", "message"}


def test_a_failed_task_may_cost_money(start: Start) -> None:
    simulator = start(fail=1, bill_failures=1)
    simulator.submit("a")
    assert simulator.look("a").json()["usage"] == {"cost": "0.0130"}
    assert simulator.ledger()["totals"]["spent"] == "0.0130"


def test_only_look_ups_by_external_id_lag(start: Start, wait_for: WaitFor) -> None:
    simulator = start(lookup_lag=0.3)
    task_id = simulator.submit("a").json()["id"]
    assert simulator.look("a").status_code == 404
    assert simulator.look(task_id).status_code == 200
    assert wait_for(lambda: simulator.look("a").status_code == 200)
    assert simulator.fired("lookup_lag") >= 1


def test_a_status_may_lag_too(start: Start, wait_for: WaitFor) -> None:
    simulator = start(status_lag=0.3)
    task_id = simulator.submit("a").json()["id"]
    assert simulator.look(task_id).status_code == 404
    assert wait_for(lambda: simulator.look(task_id).status_code == 200)


def test_status_requests_can_fail(start: Start) -> None:
    simulator = start(status_down=1)
    simulator.submit("a")
    seen = set()
    for _ in range(40):
        try:
            seen.add(simulator.look("a").status_code)
        except CUT:
            seen.add(0)
    assert seen == {0, 500, 502, 503, 504}
    assert simulator.fired("status_down") == 40


def test_status_requests_that_fail_at_times_succeed_on_retry(start: Start, wait_for: WaitFor) -> None:
    simulator = start(status_down=0.9)
    simulator.submit("a")

    def look() -> bool:
        try:
            return bool(simulator.look("a").status_code == 200)
        except CUT:
            return False

    assert wait_for(look)


def _completed(simulator: Any, wait_for: WaitFor, external_id: str) -> str:
    """Complete a task, and return the address of its first image."""
    task_id = simulator.submit(external_id).json()["id"]

    def url() -> str:
        found = simulator.look(task_id).json()
        return str(found["output"][0]["content"][0]["url"]) if found["status"] == "completed" else ""

    return str(wait_for(url))


def test_nothing_is_drawn_for_callers_who_have_given_up(start: Start, wait_for: WaitFor) -> None:
    simulator = start()
    first, *others = [_completed(simulator, wait_for, f"a{number}") for number in range(12)]
    begun = [socket.create_connection(("127.0.0.1", urlsplit(simulator.url).port), 20) for _ in others]
    for connection, address in zip(begun, others, strict=True):
        connection.sendall(f"GET {urlsplit(address).path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    wait_for(lambda: simulator.calls("image") == len(others))
    for connection in begun:
        connection.close()
    assert requests.get(first, timeout=20).status_code == 200
    assert simulator.calls("draw") < len(others)


def test_images_expire_while_the_status_stays(start: Start, wait_for: WaitFor) -> None:
    simulator = start(latency="0")
    address = _completed(simulator, wait_for, "a")
    task_id = urlsplit(address).path.split("/")[2]
    assert requests.get(address, timeout=20).status_code == 200
    simulator.turn(expire_images=0.001)
    assert requests.get(address, timeout=20).status_code == 404
    assert simulator.look(task_id).json()["status"] == "completed"
    assert simulator.fired("expire_images") == 1
    simulator.turn(expire_images=0)
    assert requests.get(address, timeout=20).status_code == 200


@pytest.mark.parametrize("status", ["401", "402", "403"])
def test_an_account_can_be_refused_at_run_time(start: Start, status: str) -> None:
    simulator = start()
    simulator.turn(account=status)
    for answer in (simulator.submit("a"), simulator.look("a")):
        assert answer.status_code == int(status)
        assert answer.json()["error"]["code"]
    simulator.turn(account="ok")
    assert simulator.submit("a").status_code == 200
    assert simulator.fired(f"account.{status}") == 2


def test_an_outage_ends_by_itself(start: Start, wait_for: WaitFor) -> None:
    simulator = start()
    simulator.turn(outage="503", outage_seconds=0.3)
    assert simulator.submit("a").status_code == 503
    assert simulator.look("a").status_code == 503
    assert wait_for(lambda: simulator.submit("a").status_code == 200)
    simulator.turn(outage="cut", outage_seconds=0)
    with pytest.raises(CUT):
        simulator.submit("b")
    assert simulator.fired("outage") >= 3
    assert simulator.created("b") == 0


def test_an_outage_set_at_the_start_ends_by_itself_too(start: Start, wait_for: WaitFor) -> None:
    simulator = start(outage="503", outage_seconds=0.3)
    assert simulator.submit("a").status_code == 503
    assert wait_for(lambda: simulator.submit("a").status_code == 200)


def test_the_end_of_an_outage_does_not_end_a_later_one(start: Start, wait_for: WaitFor) -> None:
    simulator = start(latency="0.4")
    simulator.submit("clock")
    simulator.turn(outage="503", outage_seconds=0.1)
    simulator.turn(outage="503", outage_seconds=0)
    # Control calls are answered in an outage, so they show when the first end has passed.
    wait_for(lambda: simulator.ledger()["totals"]["bought"] == 1)
    assert simulator.submit("a").status_code == 503


def test_a_dialect_has_the_same_meaning_in_other_fields(start: Start, wait_for: WaitFor) -> None:
    simulator = start(dialect=1, fail=0.3)
    statuses, ids, costs, codes, outputs = set(), set(), set(), set(), set()
    for number in range(60):
        made = simulator.submit(f"j{number}").json()
        ids.add(("data" in made, "task_id" in made, "id" in made))
        body = simulator.look(f"j{number}").json()
        statuses.add(body["status"])
        if body["error"]:
            codes.add(type(body["error"]["code"]))
        else:
            costs.add(type(body["usage"]["cost"]))
            outputs.add(type(body["output"]))
    assert {"complete", "succeed", "success", "fail", "rejected"} <= statuses
    assert ids == {(False, True, False), (True, False, False)}
    assert (costs, codes, outputs) == ({str, float}, {str, int}, {list, dict})
