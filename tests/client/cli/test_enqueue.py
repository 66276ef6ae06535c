"""`boomerang enqueue`: files in every form, and what becomes of their lines."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from boomerang_client import retrying
from tests.support.command import Command
from tests.support.fake_boomerang import FakeService, Fault
from tests.support.generation_requests import REQUEST, ndjson


def plain(text: str) -> bool:
    return all(letter == "\n" or letter.isprintable() for letter in text)


def test_enqueue_reports_rejected_lines_and_the_next_command(service: FakeService, run: Command, file: str) -> None:
    result = run("enqueue", file, "--id", "spring")
    assert result.exit_code == 1
    assert result.stdout == "Batch spring: 2 accepted, 0 known before, 1 rejected.\n"
    assert result.stderr.endswith("Next: boomerang watch spring\n")
    assert "line 2: model: Missing. Name one of: kirin_image_omni.\n" in result.stderr
    assert "line 2: n: Must be between 1 and 9. (002016003)\n" in result.stderr
    assert plain(result.output)


def test_enqueue_reads_stdin_and_makes_an_id(service: FakeService, run: Command) -> None:
    result = run("--json", "enqueue", "-", input=ndjson([REQUEST]))
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["accepted"], len(answer["id"]), result.stderr) == (0, 1, 26, "")


def test_enqueue_again_under_its_id_is_all_known(service: FakeService, run: Command) -> None:
    for expected in ("1 accepted, 0 known", "0 accepted, 1 known"):
        result = run("enqueue", "-", "--id", "spring", input=ndjson([REQUEST]))
        assert (result.exit_code, expected in result.stdout) == (0, True)


def test_enqueue_with_wait_ends_with_the_result_of_the_batch(service: FakeService, run: Command) -> None:
    service.per_look = 1
    result = run("enqueue", "-", "--wait", "--id", "b", input=ndjson([REQUEST] * 3))
    assert result.exit_code == 0
    assert result.stdout.endswith("Batch b: 3 completed. Cost 1.23 USD.\n")
    assert result.stderr.endswith("Next: boomerang results b -o results.jsonl, or boomerang save b\n")
    assert "1 of 3 ended: 1 completed, 2 queued" in result.stderr
    assert service.paths()[1:] == ["GET /v1/batches/b", "GET /v1/batches/b/events"]
    assert plain(result.output)


def test_enqueue_and_wait_in_json_are_two_objects(service: FakeService, run: Command, file: str) -> None:
    result = run("enqueue", file, "--wait", "--json")
    upload, batch = map(json.loads, result.stdout.splitlines())
    assert (result.exit_code, upload["rejected"], batch["done"]) == (1, 1, True)


def test_an_empty_file_is_a_failure_that_says_so(service: FakeService, run: Command) -> None:
    result = run("enqueue", "-", "--wait", input=b"")
    assert (result.exit_code, "no requests" in result.stderr) == (1, True)


def test_an_upload_that_cannot_be_finished_names_the_id(service: FakeService, run: Command, file: str) -> None:
    service.faults.extend([Fault()] * 5)
    result = run("enqueue", file, "--id", "spring")
    assert result.exit_code == 3
    assert "repeat it with the id spring" in result.stderr
    assert len(service.seen) == 5


def test_enqueue_on_a_terminal_draws_a_bar(service: FakeService, run: Command, file: str) -> None:
    result = run("enqueue", file, env={"FORCE_COLOR": "1"})
    assert "sending" in result.stderr
    assert f"{Path(file).stat().st_size}/{Path(file).stat().st_size} bytes" in result.stderr


def test_ctrl_c_during_an_upload_names_the_id_to_repeat_it_with(
    service: FakeService, run: Command, ctrl_c: Callable[[], None], file: str
) -> None:
    ctrl_c()
    result = run("enqueue", file)
    assert result.exit_code == 130
    assert f"boomerang enqueue --id {service.seen[0].query['id']} {file}\n" in result.stderr


def test_a_table_with_a_mapping(service: FakeService, run: Command, tmp_path: Path) -> None:
    path = tmp_path / "goods.csv"
    path.write_text("Title;SKU;Stock\nboat;7;1\ncar;;2\n")
    args = ["--map", "labels.sku=SKU", "--template", "prompt=a {Title}", "--set", "model=m", "--set", "n=2"]
    result = run("enqueue", str(path), "--id", "b", "--expires-in", "2h", *args)
    assert (result.exit_code, result.stderr) == (
        0,
        "Columns that come along as metadata: Stock\nNext: boomerang watch b\n",
    )
    common = {"model": "m", "n": 2, "expires_in": 7200}
    assert service.requests["b.2"] == common | {
        "labels": {"sku": "7"}, "prompt": "a boat", "external_task_id": "b.2", "metadata": {"Stock": "1"},
    }  # fmt: skip
    assert service.requests["b.3"] == common | {
        "prompt": "a car", "external_task_id": "b.3", "metadata": {"Stock": "2"},
    }  # fmt: skip
    dry = run("enqueue", str(path), "--print", *args)
    assert [json.loads(line)["prompt"] for line in dry.stdout.splitlines()] == ["a boat", "a car"]
    assert len(service.seen) == 1


@pytest.mark.parametrize("name", ["jobs.json", "jobs.jsonl.gz", "jobs.txt"])
def test_forms_by_the_files_name(service: FakeService, run: Command, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    data = json.dumps([REQUEST, REQUEST]).encode() if name == "jobs.json" else ndjson([REQUEST, REQUEST])
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert "2 accepted" in run("enqueue", str(path)).stdout


def test_images_lie_beside_the_file(service: FakeService, run: Command, tmp_path: Path) -> None:
    path = tmp_path / "goods.csv"
    path.write_text("prompt,image_list\na,away.jpg\nb,https://x.example/1.png\n")
    result = run("enqueue", str(path), "--id", "b", "--set", "model=m")
    assert result.exit_code == 1
    assert f"row 2: image_list.0.image: {tmp_path / 'away.jpg'} cannot be read" in result.stderr
    assert service.batches["b"] == ["b.3"]
    result = run("enqueue", str(path), "--id", "c", "--set", "model=m", "--on-error", "abort")
    assert (result.exit_code, "c" in service.batches) == (2, False)
    assert "row 2: image_list.0.image" in result.stderr


def test_the_options_of_a_batch(service: FakeService, run: Command, file: str) -> None:
    run("enqueue", file, "--label", "shop=7", "--label", "a=b", "--priority", "low", "--weight", "3", "--id", "b")
    assert service.seen[0].raw_query == "id=b&label=shop%3D7&label=a%3Db&priority=low&weight=3"
    run("enqueue", "-", "--idempotency-key", "spring 1", input=ndjson([REQUEST]))
    assert service.seen[-1].headers["idempotency-key"] == "spring 1"
    run("resume", "b", "--max-cost", "9.5")
    assert service.seen[-1].raw_query == "max_cost=9.5"


def test_an_upload_that_the_service_cannot_accept_names_its_id(service: FakeService, run: Command, file: str) -> None:
    service.capacity = 0
    result = run("enqueue", file, "--id", "b", "--patience", "0")
    assert result.exit_code == 3
    assert "The service is full" in result.stderr
    assert "repeat it with the id b" in result.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        pytest.param(["--id", "a", "--idempotency-key", "b"], "Leave one of them out", id="id and key"),
        pytest.param(["--map", "prompt"], "Write NAME=VALUE", id="no pair"),
        pytest.param(["--format", "json", "--map", "a=b"], "are for CSV", id="map without csv"),
        pytest.param(["--max-cost", "much"], "Write it like 12.50", id="money"),
        pytest.param(["--max-cost", "-1"], "Write it like 12.50", id="debt"),
        pytest.param(["--expires-in", "soon"], "90s, 15m, 2h, 7d", id="duration"),
        pytest.param(["--weight", "0"], "1<=x<=100", id="weight"),
        pytest.param(["--format", "csv", "--encoding", "utf-9"], "Try utf-8", id="encoding"),
        pytest.param(["--format", "csv", "--delimiter", ";;"], "not one character", id="delimiter"),
    ],
)
def test_options_that_cannot_work(service: FakeService, run: Command, file: str, args: list[str], says: str) -> None:
    result = run("enqueue", file, *args)
    assert (result.exit_code, service.seen) == (2, [])
    assert says in result.stderr


def test_waiting_for_the_service_is_reported(
    service: FakeService, run: Command, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "_FIRST_PAUSE", 0.0)
    service.faults.append(Fault(status=429, body=b'{"detail": "The service is full."}'))
    result = run("enqueue", file, "--id", "b")
    assert "The service is full. (HTTP 429) Trying again in 0 s; Ctrl-C stops.\n" in result.stderr
    assert "2 accepted" in result.stdout
