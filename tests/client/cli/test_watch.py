"""`boomerang watch` and `boomerang top`."""

import io
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from rich.console import Console

from boomerang_client.cli.top import Snapshot, View
from boomerang_client.parsing.lanes import read_lane
from boomerang_client.records import read_batch
from boomerang_client.responses import Trouble
from tests.support.command import Command, without_styles
from tests.support.fake_boomerang import FakeService


def test_watch_counts_failed_jobs_in_its_exit_code(service: FakeService, run: Command, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    result = run("watch", "spring")
    assert (result.exit_code, "1 completed, 1 failed" in result.stdout) == (1, True)
    result = run("watch", "spring", "--json")
    assert json.loads(result.stdout)["counts"]["failed"] == 1


def test_watch_on_a_terminal_draws_a_bar(service: FakeService, run: Command, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    service.per_look = 1
    result = run("watch", "spring", env={"FORCE_COLOR": "1"})
    assert "2/2" in result.stderr
    assert "\x1b[" in result.stderr


def test_ctrl_c_stops_watching_not_the_batch(
    service: FakeService, run: Command, ctrl_c: Callable[[], None], file: str
) -> None:
    run("enqueue", file, "--id", "spring")
    service.per_look = 0
    ctrl_c()
    result = run("watch", "spring")
    assert result.exit_code == 130
    assert "The batch continues. Watch it again: boomerang watch spring" in result.stderr
    assert service.paths() == ["POST /v1/batches", "GET /v1/batches/spring"]


def test_watch_prints_reasons_on_separate_lines_above_the_bar(service: FakeService, run: Command, spring: str) -> None:
    view = service.batch_view("spring") | {
        "reason": "max_cost of 5 USD is reached; raise it by resume " * 2,
        "paused": True,
    }
    views = iter([view, view, service.batch_view("spring") | {"done": True}])
    service.progress = lambda id_: next(views)
    stderr = run("watch", "spring", env={"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}).stderr
    lines = [line.split("\r")[-1].rstrip() for line in without_styles(stderr).splitlines()]
    bars = [line for line in lines if "0/2" in line]
    assert bars
    assert all(line.index("0/2") == 31 and line.endswith(("paused", "done")) for line in bars)
    assert any(line.startswith("max_cost of 5 USD is reached") for line in lines)


def test_watch_distinguishes_failed_from_cancelled(service: FakeService, run: Command, spring: str) -> None:
    service.end("spring.3")
    run("cancel", "spring.1")
    result = run("watch", "spring")
    assert (result.exit_code, result.stdout) == (1, "Batch spring: 1 failed, 1 cancelled. Cost 1.23 USD.\n")


def test_top_in_a_pipe_prints_lanes_and_batches_once(service: FakeService, run: Command, spring: str) -> None:
    assert [line.split("\t")[:4] for line in run("top").stdout.splitlines()] == [
        ["lane", "main", "paused", "12"],
        ["batch", "spring", "running", "0"],
    ]
    found = json.loads(run("top", "--json").stdout)
    assert ([lane["name"] for lane in found["lanes"]], found["batches"][0]["id"]) == (["main"], "spring")


TROUBLE = {"code": "no_worker", "since": "2026-11-20T10:00:00+00:00", "what": "no worker answers", "do": "Start one."}


def test_top_and_lanes_report_what_keeps_the_service_from_its_work(
    service: FakeService, run: Command, spring: str
) -> None:
    assert run("lanes").stderr == ""
    service.troubles.append(TROUBLE)
    top, lanes = run("top"), run("lanes")
    assert top.stdout.splitlines()[0].split("\t") == ["trouble", *map(str, TROUBLE.values())]
    assert json.loads(run("top", "--json").stdout)["troubles"] == [TROUBLE]
    assert "no worker answers. Start one." in lanes.stderr
    assert len(lanes.stdout.splitlines()) == 1
    assert [json.loads(line)["name"] for line in run("--json", "lanes").stdout.splitlines()] == ["main"]


LANE = {"name": "an-account", "slots": 40, "max_in_flight": 64, "ready": 123456, "breaker": "closed"}
BATCH = {"id": "spring-catalogue-" * 5, "accepted": 100000, "done": False, "cost": "9.5",
         "counts": {"failed": 40012, "cancelled": 7}}  # fmt: skip


def drawn(
    lanes: list[dict[str, object]],
    batches: list[dict[str, object]],
    width: int,
    height: int = 40,
    troubles: Sequence[Trouble] = (),
) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    views = [read_lane(lane) for lane in lanes], [read_batch(batch) for batch in batches]
    seen = Snapshot(datetime.now(UTC), *views, troubles)
    console.print(View(seen))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 140])
def test_top_truncates_no_number_and_no_id(width: int) -> None:
    lines = drawn([LANE | {"held": True, "reason": "why " * 30}], [BATCH] * 3, width)
    assert all(len(line) <= width for line in lines)
    assert sum("40,019/100,000" in line for line in lines) == 3
    assert sum(" 40,012 " in line and " 7 " in line for line in lines) == 3  # failed and cancelled
    assert any("40/64" in line and "123,456" in line for line in lines)
    # the id may be split over lines, but is complete
    left = "".join(line.split()[0] for line in lines if line and not line.startswith(" "))
    assert str(BATCH["id"]) in left.replace("batch", "") or any(str(BATCH["id"]) in line for line in lines)
    assert " ".join(lines).count("why") == 30


def test_top_shows_a_healthy_lane_as_healthy() -> None:
    screen = "\n".join(drawn([LANE], [], 80))
    assert "healthy" in screen
    assert "open" not in screen


def test_top_shows_troubles_within_the_terminal() -> None:
    troubles = [Trouble(code="no_worker", what="no worker answers " * 10 + "\x1b[2J", do="Start one.")]
    lines = drawn([LANE], [BATCH] * 50, 80, 24, troubles)
    assert " ".join(" ".join(lines).split()).count("no worker answers") == 10
    assert not any("\x1b[2J" in line for line in lines)
    assert len(lines) <= 24


@pytest.mark.parametrize("height", [12, 24, 60])
def test_top_fits_the_terminal_and_counts_hidden_rows(height: int) -> None:
    lines = drawn([LANE], [BATCH] * 50, 80, height)
    assert len(lines) <= max(height, 12)
    drawn_batches = sum("40,019/100,000" in line for line in lines)
    assert lines[-1] == f"and {50 - drawn_batches} more batches"
