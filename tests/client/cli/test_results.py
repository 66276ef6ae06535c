"""`boomerang results` and `boomerang save`."""

import csv
import io
import json
import os
from pathlib import Path

import pytest

from boomerang_client.cli import formats
from boomerang_client.records import read_job
from tests.support.command import Command
from tests.support.fake_boomerang import FakeService


@pytest.fixture
def images(service: FakeService) -> None:
    service.files = {f"spring.{number}.png": b"\x89PNG\r\n\x1a\npixels" for number in (1, 3)}


def test_results_go_to_stdout_or_a_file_whole(service: FakeService, run: Command, tmp_path: Path, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    run("watch", "spring")
    result = run("results", "spring")
    assert [json.loads(line)["status"] for line in result.stdout.splitlines()] == ["completed", "failed"]
    target = tmp_path / "results.jsonl"
    assert run("results", "spring", "-o", str(target)).exit_code == 0
    assert target.read_text() == result.stdout


def test_results_that_break_off_leave_no_file(service: FakeService, run: Command, tmp_path: Path, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    service.results_cut_after = 1
    result = run("results", "spring", "-o", str(tmp_path / "results.jsonl"))
    assert (result.exit_code, "broke off after 1 lines" in result.stderr) == (3, True)
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.jsonl"]


def test_results_into_a_folder_that_is_not_there(service: FakeService, run: Command, tmp_path: Path, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    result = run("results", "spring", "-o", str(tmp_path / "away" / "results.jsonl"))
    assert (result.exit_code, "Could not open file" in result.stderr) == (1, True)


@pytest.mark.parametrize("name", ["results.jsonl", "results.jsonl.part"])
def test_a_planted_link_is_not_followed(
    service: FakeService, run: Command, tmp_path: Path, file: str, name: str
) -> None:
    run("enqueue", file, "--id", "spring")
    (tmp_path / "precious").write_text("keep")
    (tmp_path / name).symlink_to(tmp_path / "precious")
    assert run("results", "spring", "-o", str(tmp_path / "results.jsonl")).exit_code == 0
    assert (tmp_path / "precious").read_text() == "keep"
    assert not (tmp_path / "results.jsonl").is_symlink()
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 2


def test_a_device_or_pipe_is_not_replaced(service: FakeService, run: Command, tmp_path: Path, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    os.mkfifo(tmp_path / "pipe")
    result = run("results", "spring", "-o", str(tmp_path / "pipe"))
    assert (result.exit_code, "not a regular file" in result.stderr) == (1, True)
    assert (tmp_path / "pipe").is_fifo()
    assert {each.name for each in tmp_path.iterdir()} == {"jobs.jsonl", "pipe"}


@pytest.mark.parametrize("target", ["pipe", "folder", "/dev/null"])
def test_a_link_to_a_device_pipe_or_folder_is_not_replaced(
    service: FakeService, run: Command, tmp_path: Path, file: str, target: str
) -> None:
    run("enqueue", file, "--id", "spring")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / target)
    assert run("results", "spring", "-o", str(tmp_path / "link")).exit_code != 0
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("name", ["キ" * 80 + ".csv", "a" * 251 + ".csv"], ids=["Japanese", "ASCII"])
def test_the_longest_names(service: FakeService, run: Command, tmp_path: Path, file: str, name: str) -> None:
    run("enqueue", file, "--id", "spring")
    assert run("results", "spring", "-o", str(tmp_path / name)).exit_code == 0
    assert (tmp_path / name).stat().st_size > 0


def test_results_as_they_finish(service: FakeService, run: Command, file: str) -> None:
    run("enqueue", file, "--id", "spring")
    service.per_look = 1
    result = run("results", "spring", "--follow")
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["spring.1", "spring.3"]
    only = run("results", "spring", "--follow", "--status", "failed")
    assert [json.loads(line)["id"] for line in only.stdout.splitlines()] == ["spring.3"]


def test_results_as_a_table(service: FakeService, run: Command, file: str, tmp_path: Path) -> None:
    run("enqueue", file, "--id", "spring")
    run("watch", "spring")
    heading, first, second = csv.reader(io.StringIO(run("results", "spring", "--format", "csv").stdout))
    assert dict(zip(heading, first, strict=True))["output"] == "https://images.example/spring.1.png"
    assert dict(zip(heading, second, strict=True))["error_code"] == "002016095"
    run("results", "spring", "-o", str(tmp_path / "out.csv"), "--status", "failed")
    assert (tmp_path / "out.csv").read_bytes().count(b"\r\n") == 2


def test_save_is_repeatable(service: FakeService, run: Command, file: str, tmp_path: Path, images: None) -> None:
    run("enqueue", file, "--id", "spring")
    service.per_look = 1
    folder = tmp_path / "out"
    result = run("save", "spring", "-o", str(folder), "--follow")
    assert (result.exit_code, result.stdout) == (0, f"1 saved, 0 were there, 0 failed; in {folder}\n")
    assert [path.name for path in folder.iterdir()] == ["spring.1-1.png"]
    again = json.loads(run("save", "spring", "-o", str(folder), "--json").stdout)
    assert (again["outcome"], again["path"]) == ("there", str(folder / "spring.1-1.png"))


def test_save_of_a_job(service: FakeService, run: Command, file: str, tmp_path: Path, images: None) -> None:
    run("enqueue", file, "--id", "spring")
    service.files = {"other": b""}
    service.end("spring.1")
    result = run("save", "spring.1", "-o", str(tmp_path / "out"))
    assert (result.exit_code, "HTTP 404" in result.stderr) == (1, True)
    service.end("spring.3")
    result = run("save", "spring.3", "-o", str(tmp_path / "out"))
    assert (result.exit_code, "Job spring.3 is failed: it has no images.\n") == (0, result.stderr)
    assert run("save", "nothing").exit_code == 1


def test_urls_are_no_formulas_in_a_spreadsheet() -> None:
    view = {"id": "b.1", "status": "completed", "output": [{"type": "image", "url": "=cmd|' /C calc'!A0"}]}
    assert next(csv.reader([formats.csv_row(read_job(view))]))[4].startswith("'=")
