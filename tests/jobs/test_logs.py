import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import logs
from jobs.logs import Guarded, LogFormat, Mask, about, secrets_of
from webhook.settings import Settings as WebhookSettings
from worker.settings import Settings as WorkerSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _restore_format() -> Iterator[None]:
    """Restore the format after each test: it belongs to the process."""
    mask, as_json = Guarded.mask, Guarded.as_json
    yield
    Guarded.mask, Guarded.as_json = mask, as_json


def record(message: str = "failed", *args: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("worker.submit", logging.ERROR, "f", 1, message, args, info)


def parsed(text: str) -> dict[str, Any]:
    event = json.loads(text)
    assert isinstance(event, dict)
    return event


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"POST /callbacks/fox~2/s3cr3t HTTP/1.1" 204', '"POST /callbacks/fox~2/*** HTTP/1.1" 204'),
        ("/callbacks/fox/k3y1d.s3cr3t", "/callbacks/fox/***"),
        ("https://us.example.com/callbacks/fox/s3cr3t?x=1", "https://us.example.com/callbacks/fox/***?x=1"),
        ("Authorization: Bearer k3y", "Authorization: Bearer ***"),
        ("{'authorization': 'bearer k3y'}", "{'authorization': 'bearer ***'}"),
        ('{"Authorization": "Basic dTpw"}', '{"Authorization": "Basic ***"}'),
        ("authorization=k3y", "authorization=***"),
        ("Proxy-Authorization: Digest k3y", "Proxy-Authorization: Digest ***"),
        ("sent Bearer k3y, then", "sent Bearer ***, then"),
        ("redis://:p4ss@h:1/0", "redis://***@h:1/0"),
        ("amqp://user:p%404ss@h:1//", "amqp://***@h:1//"),
        ("https://h/x?a=1&token=k3y&b=2", "https://h/x?a=1&token=***&b=2"),
        ("https://h/x?X-Amz-Signature=k3y#y", "https://h/x?X-Amz-Signature=***#y"),
        ("signed with whsec_dGVzdA==", "signed with whsec_***"),
        ("image: " + "iVBORw0KGgo" * 20 + "==.", "image: ***."),
        ("data:image/png;base64," + "A" * 300, "***"),
        ("nothing to hide /callbacks/", "nothing to hide /callbacks/"),
        ("image:sha256:" + "ab" * 32, "image:sha256:" + "ab" * 32),
        ("job " + "x" * 128 + ": adopted", "job " + "x" * 128 + ": adopted"),
        ("12:30 worker@host https://h/x?page=2", "12:30 worker@host https://h/x?page=2"),
    ],
)
def test_text_that_looks_like_a_secret_is_masked(text: str, expected: str) -> None:
    assert Mask()(text) == expected


def test_a_known_secret_is_masked_everywhere() -> None:
    mask = Mask(frozenset({"canary-key", "canary-key-2", "a.b*c(d)"}))
    assert mask("got canary-key-2x and 'canary-key' in a.b*c(d)") == "got ***x and '***' in ***"


@given(st.text(st.characters(exclude_categories=()), max_size=300))
def test_any_text_is_masked_without_an_error(text: str) -> None:
    assert isinstance(Mask(frozenset({"canary-key"}))(text), str)


@pytest.mark.timeout(20)
@pytest.mark.slow
def test_long_lines_are_masked_in_linear_time() -> None:
    mask = Mask(frozenset({"canary-key"}))
    for head, text in (
        ("", "a" * 199 + " "),
        ("", "?token"),
        ("?", "token"),
        ("", "a."),
        ("http://", ":"),
        ("", "/callbacks/"),
    ):
        assert mask(head + text * (200_000 // len(text))) is not None


def test_every_setting_that_repr_hides_is_a_secret() -> None:
    worker = WorkerSettings(
        redis_url="redis://user:canary%2Dredis@h:1/0",
        broker_url="amqp://user:canary-broker@h//",
        callback_secrets=("canary-callback-1", "canary-callback-2"),
        provider_key="canary-provider",
        provider_keys={"BOOMERANG_PROVIDER_KEY_B": "canary-other-lane"},
        notify_secrets=("whsec_canary-notify",),
    )
    assert {"canary%2Dredis", "canary-redis", "canary-broker", "canary-callback-1", "canary-callback-2"} <= secrets_of(
        worker
    )
    assert {"canary-provider", "canary-other-lane", "whsec_canary-notify"} <= secrets_of(worker)
    webhook = WebhookSettings(
        api_keys=("shop:canary-api-key", "bare-api-key"), signature_secrets=("whsec_canary-sign",)
    )
    assert {"canary-api-key", "bare-api-key", "whsec_canary-sign"} <= secrets_of(webhook)
    # Public values stay readable
    assert not any("127.0.0.1" in secret for secret in secrets_of(webhook) | secrets_of(worker))


def test_the_password_in_a_sentinel_url_is_a_secret() -> None:
    # Newer releases of Python refuse to split such a URL
    settings = WorkerSettings(redis_url="sentinel://worker:canary%2Dredis@a,[::1]:2/0?master=jobs")
    assert {"canary%2Dredis", "canary-redis"} <= secrets_of(settings)


def test_a_new_secret_setting_is_found_without_a_list_of_names() -> None:
    @dataclass(frozen=True)
    class Later:
        new: str = field(default="canary-new", repr=False)
        short: str = field(default="ab", repr=False)
        none: str | None = field(default=None, repr=False)
        public: str = "not a secret"

    assert secrets_of(Later()) == {"canary-new"}


def test_lines_of_another_formatter_are_masked() -> None:
    lines = Guarded(logging.Formatter("[%(levelname)s] %(message)s"))
    assert lines.format(record("POST %s", "/callbacks/fox/s3cr3t")) == "[ERROR] POST /callbacks/fox/***"


@pytest.mark.parametrize("as_json", [False, True])
def test_tracebacks_are_masked_too(as_json: bool) -> None:
    Guarded.mask, Guarded.as_json = Mask(frozenset({"canary-key"})), as_json

    def fails() -> None:
        raise ValueError("with canary-key, while reading /callbacks/fox/s3cr3t")

    with pytest.raises(ValueError, match="canary") as caught:
        fails()
    text = Guarded().format(record(error=caught.value))
    assert "Traceback" in text
    assert "ValueError: with ***, while reading /callbacks/fox/***" in text
    assert "s3cr3t" not in text


def test_an_event_is_logged_as_json_with_its_context() -> None:
    Guarded.as_json = True
    with about(job="fox", attempt=2, lane="a"), about(lane="b"):
        event = parsed(Guarded().format(record("job %s: not sent, \u201cwhy\u201d\n%d", "fox", 7)))
    assert event.pop("time").endswith("+00:00")
    assert event.pop("process") > 0
    assert event == {
        "level": "ERROR",
        "logger": "worker.submit",
        "message": "job fox: not sent, \u201cwhy\u201d\n7",
        "job": "fox",
        "attempt": 2,
        "lane": "b",
    }


def test_an_event_is_always_one_line() -> None:
    Guarded.as_json = True
    text = Guarded().format(record("a\nb\u2028c\x00%s", object()))
    assert len(text.splitlines()) == 1


def test_the_context_of_one_job_ends_with_its_block() -> None:
    Guarded.as_json = True
    with pytest.raises(RuntimeError), about(job="fox"):
        raise RuntimeError
    assert "job" not in parsed(Guarded().format(record()))


PROCESS = """
import logging, sys, threading, warnings
from jobs import logs
from worker.settings import Settings
logs.to_stderr()
logs.begin(Settings.from_env({"BOOMERANG_LOG_FORMAT": sys.argv[1], "BOOMERANG_PROVIDER_KEY": "canary-provider-key"}))
logging.getLogger("x").warning("with %s", "canary-provider-key")
warnings.warn("warned of canary-provider-key")
def fails(): raise RuntimeError("canary-provider-key in a thread")
thread = threading.Thread(target=fails)
thread.start(); thread.join()
raise ValueError("canary-provider-key uncaught")
"""


@pytest.mark.stack
@pytest.mark.parametrize("given", list(LogFormat))
def test_a_process_prints_no_secret(given: LogFormat) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, given], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    for expected in ("with ***", "warned of ***", "RuntimeError: *** in a thread", "ValueError: *** uncaught"):
        assert expected in done.stderr
    assert "canary" not in done.stderr + done.stdout
    if given is LogFormat.JSON:
        events = [parsed(line) for line in done.stderr.splitlines()]
        assert [event["level"] for event in events] == ["WARNING", "WARNING", "CRITICAL", "CRITICAL"]


def test_a_formatter_is_wrapped_once() -> None:
    logger = logging.getLogger("of a test")
    handler = logging.NullHandler()
    logger.addHandler(handler)
    logs.guard(logger)
    first = handler.formatter
    logs.guard(logger)
    logger.removeHandler(handler)
    assert isinstance(first, Guarded)
    assert handler.formatter is first
