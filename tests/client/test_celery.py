"""boomerang_client.celery: the messages that it sends. The service's tests cover how they are handled."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chord

from boomerang_client import Other
from boomerang_client.celery import generate, signature
from boomerang_client.errors import UsageError


@pytest.fixture
def app() -> Iterator[Celery]:
    """An app with an in-memory broker."""
    app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    yield app
    app.close()


def messages(app: Celery, queue: str) -> list[Any]:
    with app.connection_for_read() as connection:
        got = []
        while message := connection.default_channel.basic_get(queue, no_ack=True):
            got.append(message)
        return got


def test_a_message_names_one_job_by_one_id(app: Celery) -> None:
    result = generate(app, model=Other("kirin_image_omni"), prompt="a fox", n=2, labels={"shop": "berlin"}, queue="q-1")
    (message,) = messages(app, "q-1")
    args, kwargs, _ = message.payload
    assert (message.headers["task"], message.headers["id"], args) == ("boomerang.generate", result.id, [])
    assert kwargs == {
        "model": "kirin_image_omni",
        "prompt": "a fox",
        "n": 2,
        "labels": {"shop": "berlin"},
        "external_task_id": result.id,
    }


def test_own_ids_and_celerys_options_are_passed_on(app: Celery) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    link = app.signature("shop.paint", queue="shop")
    result = generate(
        app,
        model=Other("m"),
        external_task_id="fox-1",
        eta=later,
        expires=later,
        link=link,
        priority="high",
        queue="q-2",
    )
    (message,) = messages(app, "q-2")
    assert result.id == message.headers["id"] == "fox-1"
    assert datetime.fromisoformat(message.headers["eta"]) == later
    assert datetime.fromisoformat(message.headers["expires"]) == later
    _, kwargs, embed = message.payload
    assert kwargs["priority"] == "high"
    assert [each["task"] for each in embed["callbacks"]] == ["shop.paint"]


def test_a_signature_is_one_job_however_often_it_is_sent(app: Celery) -> None:
    one = signature(app, model=Other("m"), prompt="a fox", queue="q-3")
    for _ in range(2):
        one.apply_async()
    sent = {(each.headers["id"], each.payload[1]["external_task_id"]) for each in messages(app, "q-3")}
    assert len(sent) == 1
    assert one.immutable


def test_signatures_in_a_chord_have_different_ids(app: Celery) -> None:
    members = [signature(app, model=Other("m"), prompt=text) for text in ("a", "b", "c")]
    header = chord(members, app.signature("shop.all", queue="shop"), app=app).tasks
    assert len({each.options["task_id"] for each in header}) == 3


@pytest.mark.parametrize("bad", [Path("cat.jpg"), {1, 2}, float("nan"), b"\xff"])
def test_values_that_json_cannot_hold_are_refused(bad: Any, app: Celery) -> None:
    with pytest.raises(UsageError, match="as JSON"):
        signature(app, model=Other("m"), image_list=[bad])


WITHOUT_CELERY = """
import sys
sys.modules["celery"] = None
import boomerang_client
try:
    import boomerang_client.celery
except ImportError as error:
    print(error)
"""


@pytest.mark.stack
def test_without_celery_the_error_names_the_package_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_CELERY], capture_output=True, text=True, timeout=60, check=False
    )
    assert "pip install 'celery>=5.4,<6'" in done.stdout, done.stderr
