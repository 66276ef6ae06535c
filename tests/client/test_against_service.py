"""The client against the real service, on a real Redis; the provider ends jobs by callbacks."""

import csv
import hashlib
import io
import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from boomerang_client import Client, Conflict, Invalid, Job, NotFound, Status, Unauthorized, UsageError, uploading
from boomerang_client.cli import formats
from jobs.store.store import Store
from tests.support.command import Command
from tests.support.producers import own
from tests.support.real_service import KEY, SHOP, Provider, serving, serving_images

OMNI: dict[str, Any] = {"model": "kirin_image_omni", "prompt": "a fox"}
IMAGE_URL = "https://cdn.example.com/1.png"


@pytest.fixture
def url(redis_url: str, store: Store) -> Iterator[str]:
    with serving(redis_url, store) as address:
        yield address


@pytest.fixture
def real(url: str) -> Iterator[Client]:
    with Client(url, KEY) as client:
        yield client


@pytest.fixture
def provider(url: str, store: Store) -> Provider:
    return Provider(url, store)


def test_a_job_is_enqueued_and_completes(real: Client, provider: Provider) -> None:
    job = real.generate(**OMNI, labels={"shop": "7"}, external_task_id="fox:1", priority="high", expires_in=3600)
    assert (job.id, job.status, job.labels) == ("fox:1", Status.QUEUED, {"shop": "7"})
    again = {"labels": {"shop": "7"}, "external_task_id": "fox:1", "priority": "high", "expires_in": 3600}
    assert real.generate(**OMNI | again) == job
    ending = threading.Timer(0.1, provider.end, ["fox:1"])
    ending.start()
    assert job.wait(timeout=20) is job
    ending.join()
    assert (job.status, str(job.cost), job.output[0].url) == (Status.COMPLETED, "0.0065", IMAGE_URL)
    with pytest.raises(Invalid, match="n: must be from 1 to 9, not 12"):
        real.generate(**OMNI, n=12)
    with pytest.raises(Conflict):
        real.generate(**OMNI, n=2, external_task_id="fox:1")
    with pytest.raises(NotFound):
        real.job("another")
    with Client(real._transport.url, "wrong") as stranger, pytest.raises(Unauthorized):
        stranger.job("fox:1")


def test_a_generators_lines_in_parts_and_again(real: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "PART_LINES", 40)
    reported: list[Any] = []
    batch = real.batch((OMNI | {"n": 1 + number % 10} for number in range(100)), "foxes", progress=reported.append)
    assert [each.accepted + each.rejected for each in reported] == [40, 80, 100]
    assert (batch.accepted, batch.upload.rejected) == (90, 10)
    assert [error.line for error in batch.upload.errors] == list(range(10, 101, 10))
    assert batch.upload.errors[0].codes == ("002016003",)
    assert [job.id for job in real.results(batch)][:10] == [f"foxes.{n}" for n in (*range(1, 10), 11)]
    # The service names lines as the client does: one upload in one piece is the same upload
    monkeypatch.setattr(uploading, "PART_LINES", 5000)
    again = real.enqueue_batch((OMNI | {"n": 1 + number % 10} for number in range(100)), "foxes")
    assert (again.accepted, again.known, again.rejected) == (0, 90, 10)
    for place in (1, 3):  # the first is refused by the service, the other seen here, in a part of its own
        monkeypatch.setattr(uploading, "PART_LINES", 2)
        lines = [OMNI | {"n": 1 + number} for number in range(3)]
        lines[place - 1] = OMNI | {"prompt": "a hare"}
        with pytest.raises(Invalid, match=f"Line {place} is another request"):
            real.enqueue_batch(lines, "foxes")


def test_a_batch_is_enqueued_completely_or_not_at_all(real: Client) -> None:
    with pytest.raises(Invalid) as caught:
        real.batch([OMNI, OMNI | {"n": 12}], "b", on_error="abort")
    assert [(error.line, list(error.errors), error.codes) for error in caught.value.lines] == [
        (2, ["n"], ("002016003",))
    ]
    whole = real.batch((OMNI for _ in range(3)), "b", on_error="abort")
    assert (whole.upload.accepted, whole.accepted) == (3, 3)
    assert real.enqueue_batch([OMNI] * 3, "b").known == 3  # in parts, under the same names
    keyed = real.batch([OMNI], key="Frühling 1")
    assert real.batch([OMNI], key="Frühling 1").id == keyed.id
    with pytest.raises(Invalid) as changed:
        real.batch([OMNI | {"n": 2}], key="Frühling 1")
    assert changed.value.line == 1
    with pytest.raises(UsageError):
        real.batch("jobs.jsonl")


def test_a_batch_followed_to_its_end(real: Client, provider: Provider) -> None:
    batch = real.batch([OMNI] * 5, "b")
    found = [job.id for job in _ending(batch.results(timeout=30), provider)]
    assert found[:2] == ["b.2", "b.4"]
    assert sorted(found) == [f"b.{number}" for number in range(1, 6)]
    assert batch.wait(timeout=5).counts[Status.COMPLETED] == 4
    assert (batch.errors, [job.id for job in batch.failures()]) == ({"1301": 1}, ["b.3"])
    assert [job.id for job in real.results(batch, ["failed"])] == ["b.3"]
    assert batch.retry(dry_run=True).affected == 1
    assert batch.retry(codes=["1301"]).affected == 1
    assert (batch.pause().action, batch.refresh().paused) == ("pause", True)
    assert (batch.resume().action, batch.refresh().paused) == ("resume", False)
    assert batch.cancel().affected == 1
    assert batch.refresh().done
    assert [lane.held for lane in real.lanes()] == [False]


def test_a_pilot_runs_before_the_batch_is_approved(real: Client, provider: Provider) -> None:
    batch = real.batch([OMNI] * 4, "b", pilot=1)
    assert batch.upload
    assert batch.upload.pilot == 1
    assert (batch.awaits_approval, batch.pilot and batch.pilot.jobs) == (True, 1)
    assert batch.approve().affected > 0
    assert not batch.refresh().awaits_approval
    assert batch.approve().affected == 0
    waiting = real.batch([OMNI] * 2, "c", paused=True)
    assert (waiting.paused, waiting.awaits_approval, waiting.pilot) == (True, True, None)
    with pytest.raises(Conflict):
        waiting.resume()


def _ending(results: Iterator[Job], provider: Provider) -> Iterator[Job]:
    """The results, of which two end first, and the rest once these were seen."""
    provider.end("b.2", "b.4")
    for number, job in enumerate(results):
        yield job
        if number == 1:
            provider.end("b.1", "b.5")
            provider.end("b.3", failed=True)


def test_a_table_is_the_services_own(real: Client, provider: Provider) -> None:
    batch = real.batch([OMNI | {"labels": {"a": 'x, "y"'}}, OMNI, OMNI], "b")
    provider.end("b.1")
    provider.end("b.2", failed=True)
    theirs = requests.get(
        f"{real._transport.url}/v1/batches/b/results?format=csv", headers={"Authorization": f"Bearer {KEY}"}, timeout=10
    )
    ours = formats.csv_row(None) + "".join(formats.csv_row(job) for job in real.results(batch))
    assert ours.encode() == theirs.content
    assert list(csv.reader(io.StringIO(ours)))[2][6] == "'=refused"


def test_labels_options_and_lists(real: Client) -> None:
    begun = datetime.now(UTC)
    for number in range(3):
        batch = real.batch(
            [OMNI | {"labels": {"place": "front"}}],
            f"b{number}",
            labels={"shop": str(number % 2)},
            priority="high",
            weight=7,
        )
    assert (batch.labels, batch.priority, batch.weight) == ({"shop": "0"}, "high", 7)
    assert [each.id for each in real.batches()] == ["b2", "b1", "b0"]
    assert [each.id for each in real.batches(labels={"shop": "0"}, created_after=begun)] == ["b2", "b0"]
    assert list(real.batches(created_before=begun)) == []
    assert [job.id for job in real.jobs(labels={"place": "front"}, limit=2)] == ["b2.1", "b1.1"]
    assert list(real.jobs(labels={"place": "back"})) == []
    with pytest.raises(Invalid, match="weight: is 7 "):
        real.batch([OMNI], "b1", weight=8)


def test_a_local_image_is_uploaded_once(real: Client, url: str, tmp_path: Path) -> None:
    cat = tmp_path / "cat.png"
    Image.new("RGB", (400, 300), "red").save(cat)
    lines = [OMNI | {"image_list": [cat]}, OMNI | {"image_list": [cat.read_bytes(), "https://x.example.com/1.png"]}]
    batch = real.batch(lines, "b")
    assert (batch.upload.accepted, batch.upload.errors) == (2, ())
    name = f"image:sha256:{hashlib.sha256(cat.read_bytes()).hexdigest()}"
    image = requests.get(f"{url}/v1/images/{name}", headers={"Authorization": f"Bearer {KEY}"}, timeout=10).json()
    assert (image["id"], image["width"], image["height"], image["format"]) == (name, 400, 300, "png")
    # The same request by its reference is the same request
    again = real.generate(**OMNI, image_list=[name], external_task_id="b.1")
    assert again.batch == "b"
    with pytest.raises(Invalid):
        real.generate(**OMNI, image_list=["image:sha256:" + "0" * 64])


def test_an_upload_continues_when_the_service_accepts_work_again(
    store: Store, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploading, "PART_LINES", 2)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        store.jobs.cancel(own("b.1", SHOP))
        store.jobs.cancel(own("b.2", SHOP))

    with (
        serving(redis_url, store, max_unfinished=3) as url,
        Client(url, KEY, sleep=sleep) as client,
    ):
        accepted = client.enqueue_batch((OMNI for _ in range(5)), "b")
    assert accepted.accepted + accepted.known == 5
    assert waits == [30]


def test_a_list_follows_its_pages(real: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boomerang_client.connection.PAGE", 2)
    real.batch([OMNI] * 5, "b")
    assert [job.id for job in real.jobs(batch="b")] == [f"b.{number}" for number in range(1, 6)]
    assert len(list(real.jobs(status="queued", limit=3))) == 3


@pytest.mark.slow
def test_asyncio_as_the_page_shows_it(
    url: str, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "guides" / "python-client.md").read_text("utf-8")
    (block,) = [each for each in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "asyncio.run" in each]
    monkeypatch.setenv("BOOMERANG_URL", url)
    monkeypatch.setenv("BOOMERANG_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    with serving_images() as provider.images, provider.working():
        exec(compile(block, "docs/guides/python-client.md", "exec"), {"__name__": "example"})
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in printed[:103]] == ["completed"] * 103
    assert [Path(line).is_file() for line in printed[103:]] == [True] * 100


def test_the_command_there_and_back(
    *, real: Client, url: str, run: Command, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOMERANG_URL", url)
    monkeypatch.setenv("BOOMERANG_KEY", KEY)
    goods = tmp_path / "goods.csv"
    goods.write_text("Title,n\na fox,2\na hare,12\n")
    result = run(
        "enqueue",
        str(goods),
        "--id",
        "b",
        "--map",
        "prompt=Title",
        "--set",
        "model=kirin_image_omni",
        "--expires-in",
        "2h",
        "--priority",
        "low",
        "--label",
        "season=spring",
        "--weight",
        "3",
        "--max-cost",
        "5",
    )
    assert result.exit_code == 1
    assert "row 3: n: must be from 1 to 9, not 12 (002016003)" in result.stderr
    provider.end("b.2")
    assert run("watch", "b").exit_code == 0
    assert json.loads(run("results", "b").stdout)["status"] == "completed"
    assert "1 of 1 ended" in run("show", "b").stdout


def test_all_jobs_of_a_filter_are_counted_and_changed(
    real: Client, url: str, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOMERANG_URL", url)
    monkeypatch.setenv("BOOMERANG_KEY", KEY)
    for number in range(3):
        real.generate(**OMNI, external_task_id=f"fox:{number}", labels={"team": "web" if number else "print"})
    wanted = {"label": ["team=web"]}
    counted = real.begin_bulk("cancel", wanted, dry_run=True)
    assert (counted.affected, counted.status, counted.dry_run) == (2, "done", True)
    assert real.bulk(counted.id) == counted
    assert real.begin_bulk("pause", wanted, key="once").affected == 2
    assert real.begin_bulk("pause", wanted, key="once").id == real.bulk_actions()[0].id
    assert run("bulk", "resume", "--label", "team=web", "--dry-run").stdout.startswith("2 jobs would be resumed")
    states, why = ["--status", "queued", "--status", "failed"], ["--class", "quota", "--code", "1203"]
    counted_here = run("bulk", "cancel", *states, *why, "--label", "team=web", "--dry-run", "--json")
    chosen = {"status": ["queued", "failed"], "class": ["quota"], "code": ["1203"]} | wanted
    assert json.loads(counted_here.stdout)["filter"] == chosen
    assert json.loads(run("bulk", "cancel", "--label", "team=web", "--json").stdout)["affected"] == 2
    states = [real.job(f"fox:{number}").status for number in range(3)]
    assert states == [Status.QUEUED, Status.CANCELLED, Status.CANCELLED]
    assert run("bulk", "abort", counted.id).exit_code == 0
    for wrong in (["cancel"], ["priority", "--all"], ["abort"], ["cancel", "--all", "--batch", "b"], ["cancel", "x"]):
        assert run("bulk", *wrong).exit_code == 2
    with pytest.raises(NotFound):
        real.abort_bulk("0" * 16)
