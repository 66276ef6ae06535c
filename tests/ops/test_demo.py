import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from boomerang_client import Job, Output, Saved, Status
from ops.demo import images
from ops.demo.demo_jobs import OMNI, REFERENCE2IMAGE, make_jobs, make_rejected_job, to_ndjson
from ops.demo.screen import bar
from ops.demo.verdict import judge
from schemas import RequestInvalid, load_request
from tests.support.waiting import WaitFor

ROOT = Path(__file__).parents[2]


def test_the_service_accepts_every_request() -> None:
    made = make_jobs("run", 40, seed=7)
    assert [load_request(json.loads(line)).external_task_id for line in to_ndjson(made)] == [each.id for each in made]
    assert {each.request["model"] for each in made} == {REFERENCE2IMAGE, OMNI}
    assert len({each.prompt for each in made}) == 40


def test_the_same_seed_gives_the_same_jobs() -> None:
    assert make_jobs("run", 10, seed=7) == make_jobs("run", 10, seed=7) != make_jobs("run", 10, seed=8)


def test_one_request_is_rejected() -> None:
    with pytest.raises(RequestInvalid, match="300"):
        load_request(make_rejected_job("run").request)


def job(id_: str, status: Status = Status.COMPLETED, **more: Any) -> Job:
    return Job(id=id_, status=status, model=OMNI, settled_by="callback", **more)


def bought(name: str, cost: str = "0.0065", *, billed: bool = True) -> dict[str, Any]:
    return {"external_task_id": name, "task_id": f"t-{name}", "cost": cost, "billed": billed}


GOOD = [bought("a"), bought("b", billed=False), bought("b~2")]
NO_IMAGES = "2 images could not be fetched from the result store"
VERDICTS = [
    # the service's states of a and b, its cost, the simulator's purchases, missing images → the broken promises
    pytest.param([job("a"), job("b", attempt=2)], "0.0130", GOOD, 0, [], id="all is well"),
    pytest.param([job("a"), job("b", Status.FAILED)], "0.0130", GOOD, 0, [], id="a failure is an end"),
    pytest.param(
        [job("a"), job("b", Status.IN_PROGRESS)], "0.0130", GOOD, 0, ["1 jobs have not ended"], id="one goes on"
    ),
    pytest.param([job("a"), job("b", Status.EXPIRED)], "0.0130", GOOD, 0, ["1 jobs have not ended"], id="one expired"),
    pytest.param([job("a")], "0.0130", GOOD, 0, ["1 jobs have not ended"], id="one is forgotten"),
    pytest.param(
        [job("a"), job("b")],
        "0.0195",
        [*GOOD, bought("a")],
        0,
        ["1 jobs were paid for twice"],
        id="the same attempt again",
    ),
    pytest.param(
        [job("a"), job("b")],
        "0.0065",
        GOOD,
        0,
        ["0.0065 USD are recorded, but 0.0130 USD were charged"],
        id="a cent is missing",
    ),
    pytest.param([job("a"), job("b")], "0.013", [*GOOD, bought("other")], 0, [], id="what others bought is theirs"),
    pytest.param([job("a"), job("b")], "0.0130", GOOD, 2, [NO_IMAGES], id="no image"),
]


@pytest.mark.parametrize(("reported", "cost", "purchases", "missing", "broken"), VERDICTS)
def test_the_verdict_lists_the_broken_promises(
    reported: list[Job], cost: str, purchases: list[Any], missing: int, broken: list[str]
) -> None:
    verdict = judge(
        accepted=["a", "b"],
        rejected=1,
        jobs={each.id: each for each in reported},
        cost=Decimal(cost),
        ledger={"purchases": purchases},
        stats={"fired": {"lost_answers": 3}, "calls": {"submit": 5}},
        images=(2, missing),
        not_deleted=0,
        seconds=1.0,
    )
    assert verdict.broken == broken
    assert (verdict.sent, verdict.submits, verdict.doubts) == (3, 5, 3)


@pytest.mark.parametrize(
    ("counts", "cells"),
    [
        ({Status.COMPLETED: 50, Status.QUEUED: 50}, {"green": 5, "grey37": 5}),
        ({Status.COMPLETED: 1, Status.FAILED: 1, Status.QUEUED: 1}, {"green": 3, "red": 4, "grey37": 3}),
        ({}, {}),
    ],
    ids=["halves", "thirds", "nothing yet"],
)
def test_the_bars_segments_add_up_to_the_number_of_jobs(counts: dict[Status, int], cells: dict[str, int]) -> None:
    drawn = bar(counts, 10)
    assert {str(span.style): span.end - span.start for span in drawn.spans if span.end > span.start} == cells


def test_broken_images_count_as_missing(tmp_path: Path) -> None:
    content = BytesIO()
    Image.new("RGB", (1024, 576), "teal").save(content, "PNG")

    class Service:
        def save(self, jobs: list[Job], folder: Path) -> Iterator[Saved]:
            for index, data in enumerate((content.getvalue(), b"no image", None)):
                path = folder / f"a-{index + 1}.png"
                if data:
                    path.write_bytes(data)
                yield Saved(job="a", index=index, url="", path=path if data else None)

    wanted = job("a", output=(Output("image", "http://h/1"),) * 3)
    progress: list[None] = []
    service: Any = Service()
    good, broken, missing = images.fetch(service, [wanted], tmp_path, lambda: progress.append(None))["a"]
    assert good == images.SavedImage("images/a-1.png", "thumbs/a-1.jpg", 1024, 576)
    assert (broken, missing, len(progress)) == (None, None, 3)
    with Image.open(tmp_path / "thumbs" / "a-1.jpg") as thumb:
        assert thumb.size == (480, 270)


SAVED_AT = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("saved_at", "not_deleted", "broken"),
    [
        (SAVED_AT, 0, []),
        (None, 0, ["2 images were not saved before the provider deleted them"]),
        (SAVED_AT, 1, ["1 images are still at the provider"]),
    ],
    ids=["saved", "not saved", "not deleted"],
)
def test_the_verdict_checks_that_all_images_are_saved(
    saved_at: datetime | None, not_deleted: int, broken: list[str]
) -> None:
    outputs = (Output("image", "http://h/1", saved_at=saved_at),) * 2
    verdict = judge(
        accepted=["a"],
        rejected=0,
        jobs={"a": job("a", output=outputs)},
        cost=Decimal("0.0065"),
        ledger={"purchases": [bought("a")]},
        stats={"fired": {}, "calls": {"submit": 1}},
        images=(2, 0),
        not_deleted=not_deleted,
        seconds=1.0,
    )
    assert verdict.broken == broken


def demo(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from ops.cli import main; main()", "demo", *options]
    env = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.mark.stack
def test_the_demo_keeps_its_promises_and_writes_a_page(tmp_path: Path) -> None:
    faults = "--latency 0.1-0.5 --drop-callbacks 0.2 --repeat-callbacks 0.3 --early-callbacks 0.2 --lost-answers 0.2"
    done = demo("--jobs", "20", "--out", str(tmp_path), "--sim", faults)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"paid for twice +0\b", done.stdout)
    assert re.search(r"lost +0\b", done.stdout)
    assert re.search(r"images saved +[1-9]", done.stdout)
    (folder,) = tmp_path.iterdir()
    results = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert [each["status"] for each in results] == ["completed"] * 20
    page = (folder / "index.html").read_text()
    for each in results:
        assert [output["saved_at"] is not None for output in each["output"]] == [True] * len(each["files"])
        for file in each["files"]:
            assert file in page
            with Image.open(folder / file) as image:
                image.verify()
    linked = [*re.findall(r'(?:src|href)="([^"]+)"', page)]
    assert [file for file in linked if not (folder / file).exists()] == []


@pytest.mark.stack
@pytest.mark.chaos
def test_undetected_duplicates_and_lost_answers_break_no_promise(tmp_path: Path) -> None:
    faults = "--latency 0.2 --lost-answers 0.3 --duplicates unnoticed --lookup-lag 1 --drop-callbacks 1"
    done = demo("--jobs", "10", "--out", str(tmp_path), "--sim", faults)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"settled by polling +10\b", done.stdout)


@pytest.mark.stack
def test_a_broken_promise_is_named_with_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The provider creates tasks seconds after it cut the connection; the service's grace is half a second.
    monkeypatch.setenv("BOOMERANG_LOOKUP_GRACE", "0.5")
    faults = "--latency 5 --ghost 4 --duplicates unnoticed"
    done = demo("--jobs", "2", "--out", str(tmp_path), "--sim", faults)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"A promise was broken: \d+ jobs were paid for twice", done.stdout)


@pytest.mark.stack
def test_the_demo_stays_until_ctrl_c_if_asked(tmp_path: Path, wait_for: WaitFor) -> None:
    screen, folder = tmp_path / "screen", tmp_path / "data"
    options = ["--jobs", "2", "--out", str(tmp_path / "out"), "--data", str(folder), "--sim", "--latency 0.1", "--stay"]
    command = [sys.executable, "-c", "from ops.cli import main; main()", "demo", *options]
    with screen.open("w") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: "Press Ctrl-C to stop everything." in screen.read_text(), timeout=90, message="the demo stays")
        (dashboard,) = re.findall(r"Dashboard +(\S+)", screen.read_text())
        with urllib.request.urlopen(dashboard, timeout=10) as page:
            assert "Log in" in page.read().decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, screen.read_text()
        assert "All processes have ended" in screen.read_text()
    finally:
        process.kill()
        process.wait()
