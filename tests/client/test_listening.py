"""`boomerang listen` and batches' callback_url, against the real service: each change is printed once."""

import json
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from boomerang_client import Client
from boomerang_client.cli import listen
from boomerang_client.cli.screen import Screen
from boomerang_client.delivery_records import Delivery
from jobs.store.store import Store
from tests.support.command import Command
from tests.support.real_service import KEY, Provider, serving

HOOK = "https://hooks.shop.example/jobs"
OMNI: dict[str, Any] = {"model": "kirin_image_omni", "prompt": "a fox", "callback_url": HOOK}


@pytest.fixture
def url(redis_url: str, store: Store) -> Iterator[str]:
    with serving(redis_url, store) as address:
        yield address


class Watched(Client):
    """A client that acts after each of its questions for deliveries."""

    then: Iterator[Callable[[], object]] = iter(())

    def deliveries(self, *args: Any, **options: Any) -> Generator[Delivery, None, None]:
        found = list(super().deliveries(*args, **options))
        next(self.then, lambda: None)()
        yield from found


@pytest.fixture
def client(url: str) -> Iterator[Watched]:
    made = Watched(url, KEY)
    yield made
    made.close()


def test_what_changes_from_now_on_is_printed_once(client: Watched, url: str, store: Store) -> None:
    provider = Provider(url, store)
    for job_id in ("old", "new", "newer"):
        client.generate(**OMNI, external_task_id=job_id)
    provider.end("old")
    client.then = iter([int, lambda: provider.end("new"), int, int, lambda: provider.end("newer")])
    found = listen.changes(Screen(), client, None, 0.01)
    assert [(each.job, each.state) for each in (next(found), next(found))] == [("new", "pending"), ("newer", "pending")]


def test_without_any_delivery_yet_the_first_is_printed(client: Watched, url: str, store: Store) -> None:
    provider = Provider(url, store)
    client.generate(**OMNI, external_task_id="first")
    client.then = iter([lambda: provider.end("first")])
    assert next(listen.changes(Screen(), client, None, 0.01)).job == "first"


@pytest.mark.parametrize("as_json", [True, False])
def test_the_command_prints_and_ends_by_ctrl_c(
    run: Command, client: Client, store: Store, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    url = client._transport.url
    client.generate(**OMNI, external_task_id="old")
    Provider(url, store).end("old")

    def press_ctrl_c(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("boomerang_client.cli.listen.time.sleep", press_ctrl_c)
    arguments = ["--url", url, "--key", KEY, "listen", "--since", "1h", *(["--json"] if as_json else [])]
    result = run(*arguments)
    assert result.exit_code == 130
    (line,) = result.stdout.splitlines()
    cells = [json.loads(line)[name] for name in ("job", "event", "state")] if as_json else line.split("\t")[1:4]
    assert cells == ["old", "job.completed", "pending"]


def test_a_batch_may_have_a_callback_url(client: Client, url: str, store: Store) -> None:
    provider = Provider(url, store)
    job = {"model": "kirin_image_omni", "prompt": "a fox"}
    batch = client.batch([job], "boats", callback_url=HOOK)
    assert client.quote([job], "other", callback_url=HOOK).accepted == 1
    provider.end("boats.1")
    (event,) = client.deliveries()
    assert (event.batch, event.event) == (batch.id, "batch.finished")


def test_the_command_sends_it(run: Command, url: str, client: Client, store: Store, tmp_path: Any) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"model": "kirin_image_omni", "prompt": "a fox"}\n')
    options = ["enqueue", str(file), "--id", "boats", "--callback-url"]
    assert run("--url", url, "--key", KEY, *options, "ftp://h/").exit_code == 1
    assert run("--url", url, "--key", KEY, *options, HOOK).exit_code == 0
    Provider(url, store).end("boats.1")
    assert [each.batch for each in client.deliveries()] == ["boats"]
