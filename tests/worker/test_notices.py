"""Notices reach people through the real Apprise, over real sockets; they are joined, bounded and repeated."""

import json
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from jobs.errors import SettingsInvalid
from jobs.new_job import NewJob
from jobs.notices import LEASE, SPACING, Notice, NoticeClass
from tests.support.listener import Listener
from tests.support.waiting import WaitFor
from tests.support.world import MakeWorld, request_of
from worker.notices.hiding import hide
from worker.notices.message import Message, compose
from worker.notices.notices import NOTICES, Notices
from worker.notices.send import START, NoticeFailed, send
from worker.notices.settings import Target
from worker.settings import Settings, Switch

pytest.importorskip("apprise")
pytestmark = pytest.mark.stack
SECRET = "a-token-of-the-target"


@pytest.fixture
def w(world: MakeWorld) -> Iterator[Any]:
    made: Any = world()
    with ThreadPoolExecutor(4) as threads:
        made.notice_threads, made.stopping = threads, threading.Event()
        yield made


def target(listener: Listener, path: str = SECRET) -> Target:
    return Target(f"json://127.0.0.1:{listener.port}/{path}")


def notices_of(w: Any, *targets: Target, **more: Any) -> Notices:
    return Notices(w.store, dict.fromkeys(NoticeClass, targets), w.notice_threads, w.stopping, **more)


def end_batch(w: Any, batch: str) -> None:
    w.store.jobs.enqueue([NewJob(id=f"{batch}-1", text=request_of().text(), model="kirin_image_omni")], batch)
    w.store.jobs.cancel(f"{batch}-1")


def sent(listener: Listener) -> list[dict[str, Any]]:
    return [json.loads(each.body) for each in listener.received]


def settled(notices: Notices) -> bool:
    return not notices._under_way


def test_a_batch_that_is_done_is_told_once(w: Any, listener: Listener, wait_for: WaitFor) -> None:
    end_batch(w, "spring")
    notices = notices_of(w, target(listener), public_url="https://boomerang.example/")
    for _ in range(3):
        notices()
        assert wait_for(lambda: settled(notices), START)
    ((_, path, _, _),) = listener.received
    (body,) = sent(listener)
    assert path == f"/{SECRET}"
    assert "spring" in body["title"]
    assert "1 cancelled" in body["message"]
    assert "https://boomerang.example/v1/batches/spring" in body["message"]


def test_a_round_has_a_worker_send_what_is_due(world: MakeWorld, listener: Listener, wait_for: WaitFor) -> None:
    w = world(notices=dict.fromkeys(NoticeClass, (target(listener),)), events=Switch.OFF)
    end_batch(w, "spring")
    w.app.tasks["boomerang.reconcile"].apply(throw=True)
    assert w.messages_in("boomerang.deliver") == 1
    w.app.tasks["boomerang.deliver"].apply(args=[NOTICES], throw=True)
    assert wait_for(lambda: listener.received, START)


def test_many_are_joined_into_one_message(w: Any, listener: Listener, wait_for: WaitFor) -> None:
    for number in range(30):
        end_batch(w, f"b{number}")
    notices = notices_of(w, target(listener))
    notices()
    assert wait_for(lambda: settled(notices), START)
    (body,) = sent(listener)
    assert "30" in body["title"]
    end_batch(w, "later")
    notices()
    assert wait_for(lambda: settled(notices), START)
    assert len(listener.received) == 1
    w.ahead(SPACING)
    notices()
    assert wait_for(lambda: len(listener.received) == 2, START)
    assert "later" in sent(listener)[1]["title"]


def test_a_target_that_fails_gets_it_again_and_the_others_do_not(
    w: Any, listener: Listener, wait_for: WaitFor, caplog: pytest.LogCaptureFixture
) -> None:
    listener.refused_paths = {f"/{SECRET}"}
    end_batch(w, "spring")
    notices = notices_of(w, target(listener), target(listener, "healthy"))
    notices()
    assert wait_for(lambda: settled(notices), START)
    listener.refused_paths = set()
    w.ahead(LEASE)
    notices()
    assert wait_for(lambda: settled(notices), START)
    assert sorted(each.path for each in listener.received) == [f"/{SECRET}", f"/{SECRET}", "/healthy"]
    assert SECRET not in caplog.text


def test_one_whose_worker_was_killed_before_it_was_recorded_is_sent_again(
    w: Any, listener: Listener, wait_for: WaitFor
) -> None:
    end_batch(w, "spring")

    def killed(target: Target, message: Message) -> None:
        send(target, message)
        raise KeyboardInterrupt

    first = notices_of(w, target(listener), send=killed)
    first()
    assert wait_for(lambda: settled(first), START)
    second = notices_of(w, target(listener))
    second()
    assert wait_for(lambda: settled(second), START)
    assert len(listener.received) == 1
    w.ahead(LEASE)
    second()
    assert wait_for(lambda: len(listener.received) == 2, START)


def test_a_provider_that_is_away_is_told_after_a_minute(w: Any, listener: Listener, wait_for: WaitFor) -> None:
    w.store.lanes.hold("402: no credit", base=3600.0, cap=3600.0)
    notices = notices_of(w, target(listener))
    notices()
    assert wait_for(lambda: settled(notices), START)
    assert listener.received == []
    w.ahead(601.0)
    notices()
    assert wait_for(lambda: len(listener.received) == 1, START)
    assert "402: no credit" in sent(listener)[0]["message"]


def test_a_stopping_worker_sends_none(w: Any, listener: Listener) -> None:
    end_batch(w, "spring")
    w.stopping.set()
    notices_of(w, target(listener))()
    assert listener.received == []


def test_a_target_that_hangs_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"json://127.0.0.1:{server.getsockname()[1]}/{SECRET}?rto=600"
        with pytest.raises(NoticeFailed):
            send(Target(url), Message("title", "body"), deadline=3.0)


def test_the_reason_of_a_failure_has_no_part_of_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NoticeFailed) as failed:
        send(Target(f"json://user:{SECRET}@127.0.0.1:{port}/{SECRET}"), Message("title", "body"))
    assert SECRET not in str(failed.value)
    assert hide(f"POST https://h/{SECRET} refused", f"slack://{SECRET}/x") == "POST https://h/*** refused"


def test_a_kind_that_apprise_does_not_know_is_a_failure() -> None:
    with pytest.raises(NoticeFailed) as failed:
        send(Target(f"nothing-such://{SECRET}"), Message("title", "body"))
    assert SECRET not in str(failed.value)


def test_a_long_list_is_cut() -> None:
    found = [
        Notice(about=NoticeClass.BATCH_DONE, subject=f"b{number}", since=datetime.now(UTC), what=f"what {number}.")
        for number in range(200)
    ]
    message = compose(found, None)
    assert "what 0." in message.body
    assert "what 199." not in message.body
    assert "180 more" in message.body


def read(value: Any) -> Settings:
    return Settings.from_env({"BOOMERANG_NOTICES": value if isinstance(value, str) else json.dumps(value)})


def test_classes_have_their_own_targets_and_those_of_all() -> None:
    given = read({"batch_done": f"json://h/{SECRET}", "*": ["json://h/all", "json://h/all"]})
    assert [each.url for each in given.notices[NoticeClass.BATCH_DONE]] == [f"json://h/{SECRET}", "json://h/all"]
    assert [each.url for each in given.notices[NoticeClass.CAP_REACHED]] == ["json://h/all"]
    assert SECRET not in repr(given)
    assert SECRET not in repr(given.notices)


@pytest.mark.parametrize(
    "value",
    [
        f"json://h/{SECRET}",
        f'{{"batch_done": "{SECRET}',
        [f"json://h/{SECRET}"],
        {"batch_dnoe": [f"json://h/{SECRET}"]},
        {"batch_done": {"url": f"json://h/{SECRET}"}},
        {"batch_done": [SECRET]},
    ],
)
def test_what_is_not_valid_is_refused_without_the_address(value: Any) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        read(value)
    assert "BOOMERANG_NOTICES" in str(refused.value)
    assert SECRET not in str(refused.value)


def test_without_the_extra_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(SettingsInvalid, match="notices"):
        read({"batch_done": ["json://127.0.0.1/a"]})
