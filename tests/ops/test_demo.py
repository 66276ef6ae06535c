import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from boomerang_client import Job, Output, Status
from ops.demo import images
from ops.demo.demo_jobs import OMNI, REFERENCE2IMAGE, make_jobs, make_rejected_job, to_ndjson
from ops.demo.screen import bar
from ops.demo.verdict import judge
from schemas import RequestInvalid, load_request

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
    pytest.param([job("a"), job("b")], "0.0130", GOOD, 2, ["2 images could not be downloaded"], id="no image"),
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


def test_image_downloads_are_retried_and_broken_images_count_as_missing(tmp_path: Path) -> None:
    content = BytesIO()
    Image.new("RGB", (1024, 576), "teal").save(content, "PNG")
    asked: list[str] = []

    def get(url: str) -> bytes:
        asked.append(url)
        if asked.count(url) == 1 or url == "http://broken":
            raise OSError(url)
        return content.getvalue()

    wanted = job("a", output=(Output("image", "http://late"), Output("image", "http://broken")))
    late, broken = images.download([wanted], tmp_path, lambda: None, get)["a"]
    assert late == images.SavedImage("images/a-1.png", "thumbs/a-1.jpg", 1024, 576)
    assert broken is None
    assert (tmp_path / "images" / "a-1.png").read_bytes() == content.getvalue()
    with Image.open(tmp_path / "thumbs" / "a-1.jpg") as thumb:
        assert thumb.size == (480, 270)


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
    (folder,) = tmp_path.iterdir()
    results = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert [each["status"] for each in results] == ["completed"] * 20
    page = (folder / "index.html").read_text()
    for each in results:
        for file in each["files"]:
            assert file in page
            with Image.open(folder / file) as image:
                image.verify()
    linked = [*re.findall(r'(?:src|href)="([^"]+)"', page)]
    assert [file for file in linked if not (folder / file).exists()] == []


@pytest.mark.stack
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
