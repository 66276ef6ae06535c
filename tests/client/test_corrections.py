"""`boomerang retry BATCH --from FILE`, against the real service: review, correct, send again."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from boomerang_client import Client
from boomerang_client.cli.corrections import Corrected, read_rows
from boomerang_client.ndjson import Numbered
from jobs.store.store import Store
from tests.support.command import Command
from tests.support.real_service import KEY, Provider, serving

GOODS = """Title,SKU,Stock
boat,7,1
car,8,2
=cmd,9,3
tree,10,4
"""


@pytest.fixture
def url(redis_url: str, store: Store) -> Iterator[str]:
    with serving(redis_url, store) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, KEY) as client:
        yield client


@pytest.fixture
def goods(url: str, run: Command, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The results of a batch whose jobs all failed, with their requests."""
    monkeypatch.setenv("BOOMERANG_URL", url)
    monkeypatch.setenv("BOOMERANG_KEY", KEY)
    path = tmp_path / "goods.csv"
    path.write_text(GOODS)
    named = ["--map", "prompt=Title", "--map", "labels.sku=SKU", "--set", "model=kirin_image_omni"]
    sent = run("enqueue", str(path), "--id", "g", *named)
    assert sent.exit_code == 0, sent.output
    assert "come along as metadata: Stock" in sent.stderr
    Provider(url, store).end("g.2", "g.3", "g.4", "g.5", failed=True)
    results = tmp_path / "results.csv"
    assert run("results", "g", "--class", "moderation", "--include", "request", "-o", str(results)).exit_code == 0
    return results


def edited(path: Path, changes: dict[str, str]) -> Path:
    """Change prompts by job, as a person does in a spreadsheet."""
    heading, *rows = csv.reader(io.StringIO(path.read_text(), newline=""))
    place = heading.index("prompt")
    for row in rows:
        row[place] = changes.get(row[0], row[place])
    text = io.StringIO()
    csv.writer(text).writerows([heading, *rows])
    path.write_text(text.getvalue())
    return path


def test_results_show_each_request_with_its_labels_and_its_own_columns(goods: Path) -> None:
    heading, *rows = csv.reader(io.StringIO(goods.read_text(), newline=""))
    shown = [dict(zip(heading, row, strict=True)) for row in rows]

    assert [(each["id"], each["prompt"], each["labels.sku"], each["metadata.Stock"]) for each in shown] == [
        ("g.2", "boat", "7", "1"), ("g.3", "car", "8", "2"), ("g.4", "'=cmd", "9", "3"), ("g.5", "tree", "10", "4"),
    ]  # fmt: skip


def test_only_changed_rows_are_sent_and_a_repeat_sends_nothing(client: Client, goods: Path, run: Command) -> None:
    fixed = edited(goods, {"g.2": "a calm boat", "g.5": "x" * 2501})

    dry = run("retry", "g", "--from", str(fixed), "--dry-run")
    assert "2 would be queued" in dry.stdout
    assert client.batch("g").done
    result = run("retry", "g", "--code", "1301", "--from", str(fixed))

    assert result.exit_code == 1
    assert "1 queued with corrections, 2 unchanged, 1 refused" in result.stdout
    assert "g.5: prompt: is 2,501 characters long" in result.stderr
    job = client.job("g.2", include=["request", "revisions"])
    assert (job.status.value, job.revision) == ("queued", 2)
    assert job.request == {
        "model": "kirin_image_omni", "prompt": "a calm boat", "labels": {"sku": "7"}, "metadata": {"Stock": "1"},
        "external_task_id": "g.2",
    }  # fmt: skip
    (earlier,) = job.revisions
    assert (earlier.failure, earlier.error and earlier.error.code, earlier.request) == (
        *("moderation", "1301", job.request | {"prompt": "boat"}),
    )
    again = run("retry", "g", "--from", str(edited(goods, {"g.5": "a small tree"})), "--json")
    outcomes = {each["id"]: each["outcome"] for each in map(json.loads, again.stdout.splitlines())}
    assert outcomes == {"g.2": "skipped", "g.3": "unchanged", "g.4": "unchanged", "g.5": "queued"}
    assert client.job("g.2").revision == 2


def test_jobs_without_a_row_and_rows_without_a_job_are_listed(client: Client, goods: Path, run: Command) -> None:
    fixed = goods.with_name("fixed.csv")
    fixed.write_text("id,prompt\ng.3,a red car\ng.99,a ghost\n,nothing\ng.3,twice\n")

    result = run("retry", "g", "--from", str(fixed))

    assert result.exit_code == 1
    assert "1 queued with corrections, 0 unchanged, 2 refused, 1 not to retry, 3 jobs without a row" in result.stdout
    assert "row 3, g.99" in result.stderr
    assert "row 4" in result.stderr
    assert "row 5, g.3: g.3 is in row 2 already" in result.stderr
    job = client.job("g.3", include=["request"])
    assert (job.request or {})["prompt"] == "a red car"


def test_lines_of_results_and_plain_requests_are_rows() -> None:
    lines = [
        {"id": "a", "status": "failed", "request": {"prompt": "p", "external_task_id": "a"}},
        {"external_task_id": "b", "prompt": "q"},
        {"id": "c", "status": "failed"},
        {"prompt": "nobody's"},
    ]

    rows, bad = read_rows(Numbered(number, json.dumps(line).encode()) for number, line in enumerate(lines, start=1))

    assert {id_: row.members for id_, row in rows.items()} == {"a": {"prompt": "p"}, "b": {"prompt": "q"}}
    assert [(each.outcome, each.row) for each in bad] == [("refused", 3), ("refused", 4)]
    assert isinstance(bad[0], Corrected)


def test_the_client_repeats_a_correction_but_no_plain_retry(client: Client, goods: Path) -> None:
    assert goods.exists()
    request = {"model": "kirin_image_omni", "prompt": "a calm boat"}

    first = client.retry("g.2", request, key="once")

    assert client.retry("g.2", request, key="once") == first
    assert client.retry("g.2", request).revision == 2
