"""The `boomerang` command: what it prints where, and its exit codes."""

import csv
import gzip
import io
import json
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from boomerang_client import retrying
from boomerang_client.cli import main
from boomerang_client.cli.screen import clean
from boomerang_client.cli.top import Snapshot, View
from boomerang_client.parsing import read_batch, read_lane

REQUEST = {"model": "kirin_image_omni", "prompt": "A red boat"}
LINES = [REQUEST, {"n": 0}, REQUEST | {"prompt": "please fail"}]


def ndjson(lines: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(ndjson(LINES))
    return str(path)


def plain(text: str) -> bool:
    return all(letter == "\n" or letter.isprintable() for letter in text)


def test_enqueue_reports_rejected_lines_and_the_next_command(service: Any, run: Any, file: str) -> None:
    result = run("enqueue", file, "--id", "spring")
    assert result.exit_code == 1
    assert result.stdout == "Batch spring: 2 accepted, 0 known before, 1 rejected.\nNext: boomerang watch spring\n"
    assert "line 2: model: Missing. Name one of: kirin_image_omni.\n" in result.stderr
    assert "line 2: n: Must be between 1 and 9. (002016003)\n" in result.stderr
    assert plain(result.output)


def test_enqueue_reads_stdin_and_makes_an_id(service: Any, run: Any) -> None:
    result = run("--json", "enqueue", "-", input=ndjson([REQUEST]))
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["accepted"], len(answer["id"]), result.stderr) == (0, 1, 26, "")


def test_enqueue_again_under_its_id_is_all_known(service: Any, run: Any) -> None:
    for expected in ("1 accepted, 0 known", "0 accepted, 1 known"):
        result = run("enqueue", "-", "--id", "spring", input=ndjson([REQUEST]))
        assert (result.exit_code, expected in result.stdout) == (0, True)


def test_enqueue_and_wait(service: Any, run: Any) -> None:
    service.per_look = 1
    result = run("enqueue", "-", "--wait", "--id", "b", input=ndjson([REQUEST] * 3))
    assert result.exit_code == 0
    assert (
        "Batch b: 3 completed. Cost 1.23 USD.\nNext: boomerang results b -o results.jsonl, or boomerang save b\n"
        in result.stdout
    )
    assert "1 of 3 ended: 1 completed, 2 queued" in result.stderr
    assert service.paths()[1:] == ["GET /v1/batches/b", "GET /v1/batches/b/events"]
    assert plain(result.output)


def test_enqueue_and_wait_in_json_are_two_objects(service: Any, run: Any, file: str) -> None:
    result = run("enqueue", file, "--wait", "--json")
    upload, batch = map(json.loads, result.stdout.splitlines())
    assert (result.exit_code, upload["rejected"], batch["done"]) == (1, 1, True)


def test_an_empty_file_is_a_failure_that_says_so(service: Any, run: Any) -> None:
    result = run("enqueue", "-", "--wait", input=b"")
    assert (result.exit_code, "no jobs in it" in result.stderr) == (1, True)


def test_an_upload_that_cannot_be_finished_names_the_id(service: Any, run: Any, fault_type: Any, file: str) -> None:
    service.faults.extend([fault_type()] * 5)
    result = run("enqueue", file, "--id", "spring")
    assert result.exit_code == 3
    assert "repeat it with the id spring" in result.stderr
    assert len(service.seen) == 5


def test_watch_counts_failed_jobs_in_its_exit_code(service: Any, run: Any, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    result = run("watch", "spring")
    assert (result.exit_code, "1 failed, 1 completed" in result.stdout) == (1, True)
    result = run("watch", "spring", "--json")
    assert json.loads(result.stdout)["counts"]["failed"] == 1


def test_watch_on_a_terminal_draws_a_bar(service: Any, run: Any, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    service.per_look = 1
    result = run("watch", "spring", env={"FORCE_COLOR": "1"})
    assert "2/2" in result.stderr
    assert "\x1b[" in result.stderr


def test_enqueue_on_a_terminal_draws_a_bar(service: Any, run: Any, file: str) -> None:
    result = run("enqueue", file, env={"FORCE_COLOR": "1"})
    assert "sending" in result.stderr
    assert f"{Path(file).stat().st_size}/{Path(file).stat().st_size} bytes" in result.stderr


@pytest.fixture
def ctrl_c(service: Any) -> Callable[[], None]:
    """Presses Ctrl-C while the service works on the next request."""

    def arm() -> None:
        def press() -> None:
            service.on_request = lambda: None
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        service.on_request = press

    return arm


def test_ctrl_c_stops_watching_not_the_batch(service: Any, run: Any, ctrl_c: Any, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    service.per_look = 0
    ctrl_c()
    result = run("watch", "spring")
    assert result.exit_code == 130
    assert "The batch goes on; look again: boomerang watch spring" in result.stderr
    assert service.paths() == ["POST /v1/batches", "GET /v1/batches/spring"]


def test_ctrl_c_during_an_upload_names_the_id_to_go_on_with(service: Any, run: Any, ctrl_c: Any, file: str) -> None:
    ctrl_c()
    result = run("enqueue", file)
    assert result.exit_code == 130
    assert f"the same command with --id {service.seen[0].query['id']}" in result.stderr


def test_ctrl_c_elsewhere(service: Any, run: Any, ctrl_c: Any) -> None:
    ctrl_c()
    result = run("show", "nothing")
    assert (result.exit_code, result.stderr) == (130, "Stopped.\n")


def test_results_go_to_stdout_or_a_file_whole(service: Any, run: Any, tmp_path: Path, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    run("watch", "spring")
    result = run("results", "spring")
    assert [json.loads(line)["status"] for line in result.stdout.splitlines()] == ["completed", "failed"]
    target = tmp_path / "results.jsonl"
    assert run("results", "spring", "-o", str(target)).exit_code == 0
    assert target.read_text() == result.stdout


def test_results_that_break_off_leave_no_file(service: Any, run: Any, tmp_path: Path, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    service.results_cut_after = 1
    result = run("results", "spring", "-o", str(tmp_path / "results.jsonl"))
    assert (result.exit_code, "broke off after 1 lines" in result.stderr) == (3, True)
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.jsonl"]


def test_results_into_a_folder_that_is_not_there(service: Any, run: Any, tmp_path: Path, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    result = run("results", "spring", "-o", str(tmp_path / "away" / "results.jsonl"))
    assert (result.exit_code, "Could not open file" in result.stderr) == (1, True)


def test_show_is_pretty_and_harmless(service: Any, run: Any, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    done, failed = run("show", "spring.1"), run("show", "spring.3")
    assert "status     completed\n" in done.stdout
    assert "image      https://images.example/spring.1.png\n" in done.stdout
    assert "took       12.5 s\n" in done.stdout
    assert "error      002016095 Internal \N{REPLACEMENT CHARACTER}[31merror\n" in failed.stdout
    assert plain(done.output + failed.output)
    assert json.loads(run("show", "spring.1", "--json").stdout)["usage"]["cost"] == "0.0065"


def test_show_tells_a_batch_too(service: Any, run: Any, file: str) -> None:
    run("enqueue", file, "--id", "spring", "--label", "shop=7", "--max-cost", "$5")
    result = run("show", "spring")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "jobs       2 of 2 ended\nstates     1 failed, 1 completed\npace       done\n" in result.stdout
    assert "labels     shop=7\n" in result.stdout
    assert "cost       1.23 USD (2.00 expected, at most 5)\n" in result.stdout
    assert json.loads(run("--json", "show", "spring").stdout)["id"] == "spring"


def test_list_filters_and_joins_by_tabs(service: Any, run: Any, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    service.end("spring.1")
    result = run("list", "--status", "completed", "--batch", "spring")
    cells = ["spring.1", "completed", "kirin_image_omni", "2026-11-20T10:00:00+00:00", "spring", "0.0065"]
    assert result.stdout == "\t".join(cells) + "\n"
    assert [json.loads(line)["id"] for line in run("list", "--json").stdout.splitlines()] == ["spring.1", "spring.3"]
    assert "spring.3" in run("list", env={"FORCE_COLOR": "1", "COLUMNS": "160"}).stdout


def test_cancel_and_retry(service: Any, run: Any, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    service.end("spring.3")
    assert "Job spring.1 is cancelled.\n" in run("cancel", "spring.1").stdout
    assert json.loads(run("retry", "spring.3", "--json").stdout)["status"] == "queued"
    result = run("retry", "spring.3")
    assert (result.exit_code, "not possible now" in result.stderr) == (1, True)


def test_pause_and_resume_a_batch(service: Any, run: Any, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    paused = run("pause", "spring")
    assert paused.stdout == "Batch spring: 2 jobs wait from now on.\nNext: boomerang resume spring\n"
    assert service.paused == {"spring"}
    assert json.loads(run("--json", "resume", "spring").stdout)["action"] == "resume"
    assert service.paused == set()


def test_pause_and_resume_a_job(service: Any, run: Any, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    paused = run("pause", "--job", "spring.1")
    assert paused.stdout == "Job spring.1 is queued: paused on request.\nNext: boomerang show spring.1\n"
    assert service.jobs["spring.1"]["reason"] == "paused on request"
    assert json.loads(run("--json", "resume", "--job", "spring.1").stdout)["reason"] is None
    assert run("pause", "spring", "--job", "spring.1").exit_code == run("pause").exit_code == 2


def test_cancel_a_batch(service: Any, run: Any, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    assert "Batch spring: 2 jobs cancelled.\n" in run("cancel", "--batch", "spring").stdout
    assert {job["status"] for job in service.jobs.values()} == {"cancelled"}


def test_retry_the_failed_jobs_of_a_batch(service: Any, run: Any, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    service.end("spring.3")
    dry = run("retry", "--batch", "spring", "--code", "002016095", "--code", "1301", "--dry-run")
    assert dry.stdout == "Batch spring: 1 job would be queued again.\n"
    assert service.seen[-1].raw_query == "code=002016095&code=1301&dry_run=true"
    assert "1 job queued again" in run("retry", "--batch", "spring").stdout
    assert run("retry", "--batch", "spring", "--status", "cancelled").exit_code == 0
    assert service.jobs["spring.3"]["status"] == "queued"


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(["cancel"], id="neither"),
        pytest.param(["cancel", "x", "--batch", "y"], id="both"),
        pytest.param(["retry"], id="retry neither"),
        pytest.param(["retry", "x", "--batch", "y"], id="retry both"),
        pytest.param(["retry", "x", "--dry-run"], id="dry run of one"),
        pytest.param(["retry", "x", "--code", "1"], id="code of one"),
        pytest.param(["retry", "--batch", "y", "--status", "completed"], id="a state that cannot be"),
    ],
)
def test_a_job_or_a_batch(service: Any, run: Any, args: list[str]) -> None:
    assert run(*args).exit_code == 2
    assert service.seen == []


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        pytest.param(["show", "nothing"], 1, "no job nothing", id="not-found"),
        pytest.param(["--key", "another", "show", "x"], 3, "key is not known", id="unauthorised"),
        pytest.param(["--url", "http://127.0.0.1:1", "show", "x"], 3, "BOOMERANG_URL", id="unreachable"),
        pytest.param(["--url", "nonsense", "show", "x"], 2, "not a URL", id="bad-url"),
        pytest.param(["enqueue", "/nowhere/jobs.jsonl"], 2, "No such file", id="no-file"),
        pytest.param(["list", "--status", "asleep"], 2, "in_doubt", id="bad-status"),
    ],
)
def test_exit_codes(service: Any, run: Any, args: list[str], code: int, says: str) -> None:
    result = run(*args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_errors_are_json_too(service: Any, run: Any) -> None:
    result = run("show", "nothing", "--json")
    problem = json.loads(result.stderr.splitlines()[-1])
    assert (problem["status"], problem["repeat_id"]) == (404, None)


@pytest.mark.parametrize("name", ["", *main.commands])
def test_help_needs_no_settings(run: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("BOOMERANG_URL", raising=False)
    result = run(*name.split(), "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout or name == "completion"


def test_text_from_outside_is_cleaned() -> None:
    assert clean("a\x1b[2Jb\x9bc\u202ed\n\te") == "a\ufffd[2Jb\ufffdc\ufffdd e"


@pytest.fixture
def images(service: Any) -> None:
    service.files = {f"spring.{number}.png": b"\x89PNG\r\n\x1a\npixels" for number in (1, 3)}


def test_a_table_with_a_mapping(service: Any, run: Any, tmp_path: Path) -> None:
    path = tmp_path / "goods.csv"
    path.write_text("Title;SKU;Stock\nboat;7;1\ncar;;2\n")
    args = ["--map", "labels.sku=SKU", "--template", "prompt=a {Title}", "--set", "model=m", "--set", "n=2"]
    result = run("enqueue", str(path), "--id", "b", "--expires-in", "2h", *args)
    assert (result.exit_code, result.stderr) == (0, "Columns that are not used: Stock\n")
    common = {"model": "m", "n": 2, "expires_in": 7200}
    assert service.requests["b.2"] == common | {
        "labels": {"sku": "7"}, "prompt": "a boat", "external_task_id": "b.2",
    }  # fmt: skip
    assert service.requests["b.3"] == common | {"prompt": "a car", "external_task_id": "b.3"}
    dry = run("enqueue", str(path), "--dry-run", *args)
    assert [json.loads(line)["prompt"] for line in dry.stdout.splitlines()] == ["a boat", "a car"]
    assert len(service.seen) == 1


@pytest.mark.parametrize("name", ["jobs.json", "jobs.jsonl.gz", "jobs.txt"])
def test_forms_by_the_files_name(service: Any, run: Any, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    data = json.dumps([REQUEST, REQUEST]).encode() if name == "jobs.json" else ndjson([REQUEST, REQUEST])
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert "2 accepted" in run("enqueue", str(path)).stdout


def test_pictures_lie_beside_the_file(service: Any, run: Any, tmp_path: Path) -> None:
    path = tmp_path / "goods.csv"
    path.write_text("prompt,image_list\na,away.jpg\nb,https://x.example/1.png\n")
    result = run("enqueue", str(path), "--id", "b", "--set", "model=m")
    assert result.exit_code == 1
    assert f"row 2: image_list.0.image: {tmp_path / 'away.jpg'} cannot be read" in result.stderr
    assert service.batches["b"] == ["b.3"]
    result = run("enqueue", str(path), "--id", "c", "--set", "model=m", "--on-error", "abort")
    assert (result.exit_code, "c" in service.batches) == (2, False)
    assert "row 2: image_list.0.image" in result.stderr


def test_the_options_of_a_batch(service: Any, run: Any, file: str) -> None:
    run("enqueue", file, "--label", "shop=7", "--label", "a=b", "--priority", "low", "--weight", "3", "--id", "b")
    assert service.seen[0].raw_query == "id=b&label=shop%3D7&label=a%3Db&priority=low&weight=3"
    run("enqueue", "-", "--idempotency-key", "spring 1", input=ndjson([REQUEST]))
    assert service.seen[-1].headers["idempotency-key"] == "spring 1"
    run("resume", "b", "--max-cost", "9.5")
    assert service.seen[-1].raw_query == "max_cost=9.5"


def test_an_upload_that_finds_no_room_says_so(service: Any, run: Any, file: str) -> None:
    service.room = 0
    result = run("enqueue", file, "--id", "b", "--patience", "0")
    assert result.exit_code == 3
    assert "There is no room" in result.stderr
    assert "repeat it with the id b" in result.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        pytest.param(["--id", "a", "--idempotency-key", "b"], "leave one of them out", id="id and key"),
        pytest.param(["--map", "prompt"], "write NAME=VALUE", id="no pair"),
        pytest.param(["--format", "json", "--map", "a=b"], "are for CSV", id="map without csv"),
        pytest.param(["--max-cost", "much"], "write it like 12.50", id="money"),
        pytest.param(["--max-cost", "-1"], "write it like 12.50", id="debt"),
        pytest.param(["--expires-in", "soon"], "90s, 15m, 2h, 7d", id="duration"),
        pytest.param(["--weight", "0"], "1<=x<=100", id="weight"),
        pytest.param(["--format", "csv", "--encoding", "utf-9"], "try utf-8", id="encoding"),
        pytest.param(["--format", "csv", "--delimiter", ";;"], "one character", id="delimiter"),
    ],
)
def test_options_that_cannot_work(service: Any, run: Any, file: str, args: list[str], says: str) -> None:
    result = run("enqueue", file, *args)
    assert (result.exit_code, service.seen) == (2, [])
    assert says in result.stderr


def test_results_as_they_finish(service: Any, run: Any, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    service.per_look = 1
    result = run("results", "spring", "--follow")
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["spring.1", "spring.3"]
    only = run("results", "spring", "--follow", "--status", "failed")
    assert [json.loads(line)["id"] for line in only.stdout.splitlines()] == ["spring.3"]


def test_results_as_a_table(service: Any, run: Any, file: str, tmp_path: Path) -> None:
    run("enqueue", file, "--id", "spring")
    run("watch", "spring")
    heading, first, second = csv.reader(io.StringIO(run("results", "spring", "--format", "csv").stdout))
    assert dict(zip(heading, first, strict=True))["output"] == "https://images.example/spring.1.png"
    assert dict(zip(heading, second, strict=True))["error_code"] == "002016095"
    run("results", "spring", "-o", str(tmp_path / "out.csv"), "--status", "failed")
    assert (tmp_path / "out.csv").read_bytes().count(b"\r\n") == 2


def test_save_is_repeatable(service: Any, run: Any, file: str, tmp_path: Path, images: None) -> None:
    run("enqueue", file, "--id", "spring")
    service.per_look = 1
    folder = tmp_path / "out"
    result = run("save", "spring", "-o", str(folder), "--follow")
    assert (result.exit_code, result.stdout) == (0, f"1 saved, 0 were there, 0 failed; in {folder}\n")
    assert [path.name for path in folder.iterdir()] == ["spring.1-1.png"]
    again = json.loads(run("save", "spring", "-o", str(folder), "--json").stdout)
    assert (again["outcome"], again["path"]) == ("there", str(folder / "spring.1-1.png"))


def test_save_of_a_job(service: Any, run: Any, file: str, tmp_path: Path, images: None) -> None:
    run("enqueue", file, "--id", "spring")
    service.files = {"other": b""}
    service.end("spring.1")
    result = run("save", "spring.1", "-o", str(tmp_path / "out"))
    assert (result.exit_code, "HTTP 404" in result.stderr) == (1, True)
    service.end("spring.3")
    result = run("save", "spring.3", "-o", str(tmp_path / "out"))
    assert (result.exit_code, "Job spring.3 is failed: it has no images.\n") == (0, result.stderr)
    assert run("save", "nothing").exit_code == 1


def test_list_batches(service: Any, run: Any, file: str) -> None:
    run("enqueue", file, "--id", "a", "--label", "shop=7")
    run("enqueue", "-", "--id", "b", input=ndjson([REQUEST | {"external_task_id": "x"}]))
    run("watch", "a")
    assert run("list", "batches").stdout.splitlines() == [
        "b\t0\t1\t0\trunning\t2026-11-20T10:00:00+00:00\t1.23\t",
        "a\t2\t2\t1\tdone\t2026-11-20T10:00:00+00:00\t1.23\tshop=7",
    ]
    found = run("list", "batches", "--label", "shop=7", "--since", "2h", "--until", "2026-11-21", "--json")
    assert [json.loads(line)["id"] for line in found.stdout.splitlines()] == ["a"]
    assert {"created_after", "created_before", "label", "limit"} <= set(service.seen[-1].query)
    assert run("list", "batches", "--status", "failed").exit_code == 2
    run("list", "--label", "shop=7", "--since", "2026-11-20T10:00:00Z")
    assert service.seen[-1].query["created_after"] == "2026-11-20T10:00:00+00:00"


def test_spend(service: Any, run: Any) -> None:
    assert run("spend").stdout == "2026-11-20\t3\t1.23\n"
    assert service.seen[-1].query == {"by": "day"}
    assert json.loads(run("spend", "--by", "model", "--from", "2026-11-01", "--json").stdout)["cost"] == "1.23"
    assert service.seen[-1].query == {"by": "model", "from": "2026-11-01"}
    run("spend", "--producer", "shop", "--lane", "eu")
    assert service.seen[-1].query == {"by": "day", "key": "shop", "lane": "eu"}
    shown = run("spend", env={"FORCE_COLOR": "1"}).stdout
    assert "all" in shown
    assert run("spend", "--from", "yesterday").exit_code == 2


def test_top_once(service: Any, run: Any, file: str) -> None:
    run("enqueue", file, "--id", "spring", "--max-cost", "5")
    shown = run("top", env={"COLUMNS": "140"}).stdout
    assert "1 batches run, 2 jobs to go, 2.5/s" in shown
    assert "held: 402: balance exhausted" in shown
    assert "spring" in shown
    assert "1.23 of 5" in shown
    found = json.loads(run("top", "--json").stdout)
    assert ([lane["name"] for lane in found["lanes"]], found["batches"][0]["id"]) == (["main"], "spring")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(run: Any, shell: str) -> None:
    result = run("completion", shell)
    assert (result.exit_code, "_BOOMERANG_COMPLETE" in result.stdout) == (0, True)


def test_waiting_for_room_is_said(
    service: Any, run: Any, fault_type: Any, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "_FIRST", 0.0)
    service.faults.append(fault_type(status=429, body=b'{"detail": "There is no room."}'))
    result = run("enqueue", file, "--id", "b")
    assert "There is no room. (HTTP 429) Trying again in 0 s; Ctrl-C stops.\n" in result.stderr
    assert "2 accepted" in result.stdout


@pytest.mark.parametrize("width", [80, 140])
def test_top_gives_up_no_number(service: Any, width: int) -> None:
    lane = read_lane({"name": "an-account", "slots": 40, "max_in_flight": 64, "ready": 123456, "reason": "why " * 30})
    view = {
        "id": "spring-catalogue-" * 5,
        "accepted": 100000,
        "counts": {"failed": 40012},
        "done": False,
        "cost": "9.5",
    }
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(View(Snapshot(datetime.now(UTC), [lane], [read_batch(view)] * 3)))
    lines = console.file.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    assert sum("40,012/100,000" in line for line in lines) == 3
    assert any("40/64" in line and "123,456" in line for line in lines)
