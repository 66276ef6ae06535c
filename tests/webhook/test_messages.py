import socket
from collections.abc import Iterator

import kombu
import pytest
import redis

from jobs.task_names import DELIVER, RECONCILE, SUBMIT
from tests.support.waiting import within
from webhook.messages import PAUSE, Messages
from webhook.settings import Settings


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a broker that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


@pytest.mark.parametrize(("task", "args"), [(SUBMIT, ()), (RECONCILE, ()), (DELIVER, ("fox",))])
def test_a_hint_is_a_celery_message_in_its_tasks_queue(task: str, args: tuple[str, ...], settings: Settings) -> None:
    assert Messages(settings).send(task, *args)

    with kombu.Connection(settings.broker_url) as broker, broker.SimpleQueue(task) as queue:
        message = queue.get(timeout=5)
        message.ack()
    assert message.headers["task"] == task
    assert message.headers["ignore_result"] is True
    assert message.headers["kwargsrepr"] == "{}"
    assert message.delivery_info == {"exchange": "", "routing_key": task}
    positional, named, _ = message.decode()
    assert (positional, named) == (list(args), {})


def test_a_hint_needs_no_binding(settings: Settings, raw: redis.Redis) -> None:
    messages = Messages(settings)
    messages.send(SUBMIT)
    raw.flushall()
    assert messages.send(SUBMIT)
    assert raw.llen(SUBMIT) == 1


def test_a_pooled_connection_that_the_broker_closed_is_replaced(settings: Settings, raw: redis.Redis) -> None:
    messages = Messages(settings)
    messages.send(SUBMIT)
    raw.client_kill_filter(_type="normal", skipme=True)
    assert messages.send(SUBMIT)
    assert raw.llen(SUBMIT) == 2


def test_a_broker_that_refuses_connections_fails_fast(settings: Settings) -> None:
    messages = Messages(Settings(broker_url="redis://127.0.0.1:1/0"))
    with within(5):
        assert not messages.send(SUBMIT)
        assert not messages.ping()


def test_a_broker_that_does_not_answer_delays_one_hint_only(silent: str) -> None:
    now = [0.0]
    messages = Messages(Settings(broker_url=silent), clock=lambda: now[0])
    with within(8):
        assert not any(messages.send(DELIVER, f"job{number}") for number in range(500))


def test_hints_are_sent_again_after_the_pause(
    settings: Settings, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    messages = Messages(settings, clock=lambda: now[0])
    with monkeypatch.context() as patch:
        patch.setattr(messages._app, "send_task", lambda *_, **__: 1 / 0)
        assert not messages.send(SUBMIT)
    assert not messages.send(SUBMIT)
    now[0] = PAUSE
    assert messages.send(SUBMIT)
    assert raw.llen(SUBMIT) == 1


def test_ping_succeeds_with_a_broker(settings: Settings) -> None:
    assert Messages(settings).ping()


def test_the_log_does_not_contain_the_password(caplog: pytest.LogCaptureFixture) -> None:
    Messages(Settings(broker_url="redis://:canary@127.0.0.1:1/0")).send(SUBMIT)
    assert "hint not sent" in caplog.text
    assert "canary" not in caplog.text
