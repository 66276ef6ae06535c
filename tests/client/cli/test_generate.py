"""`boomerang generate`: one prompt and its images."""

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests.support.command import Command
from tests.support.fake_boomerang import FakeService, Fault

PNG = b"\x89PNG\r\n\x1a\npixels"


def test_it_waits_and_prints_the_urls(service: FakeService, run: Command) -> None:
    service.polls_before_end = 2
    result = run("generate", "A red boat", "--id", "boat", "--set", "n=2", "--label", "shop=7", "--priority", "high")
    assert (result.exit_code, result.stdout) == (
        0,
        "https://images.example/boat.png\nhttps://images.example/boat.png?1\n",
    )
    assert "Job boat is completed. Cost 0.0065 USD." in result.stderr
    assert service.requests["boat"] == {
        "model": "kirin_image_omni", "prompt": "A red boat", "external_task_id": "boat", "n": 2,
        "labels": {"shop": "7"}, "priority": "high",
    }  # fmt: skip


def test_it_says_once_why_the_job_waits(service: FakeService, run: Command) -> None:
    service.polls_before_end = 3

    def stall() -> None:
        for job in service.jobs.values():
            job["reason"] = "no worker answers"

    service.on_request = stall
    result = run("generate", "A red boat", "--id", "boat")
    assert result.exit_code == 0
    assert result.stderr.count("no worker answers") == 1


def test_it_saves_and_prints_the_files(service: FakeService, run: Command, tmp_path: Path) -> None:
    service.files = {"boat.png": PNG}
    result = run("generate", "A red boat", "--id", "boat", "-o", str(tmp_path / "new"))
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'new' / 'boat-1.png'}\n")
    assert (tmp_path / "new" / "boat-1.png").read_bytes() == PNG
    printed = json.loads(run("generate", "A red boat", "--id", "boat", "-o", str(tmp_path / "new"), "--json").stdout)
    assert (printed["status"], printed["files"]) == ("completed", [str(tmp_path / "new" / "boat-1.png")])


def test_the_prompt_may_come_from_stdin_and_the_output_be_the_id_alone(service: FakeService, run: Command) -> None:
    result = run("generate", "-", "--no-wait", input="A red\nboat\n")
    [id_] = service.jobs
    assert (result.exit_code, result.stdout) == (0, f"{id_}\n")
    assert service.requests[id_]["prompt"] == "A red\nboat"
    assert f"boomerang save {id_} --follow" in result.stderr
    assert json.loads(run("generate", "x", "--no-wait", "--json").stdout)["status"] == "queued"


def test_local_images_are_uploaded(
    service: FakeService, run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = BytesIO()
    Image.new("RGB", (400, 300), "red").save(data, "PNG")
    Path("boat.png").write_bytes(data.getvalue())
    images = ["--image", "boat.png", "--image", "https://x.example/1.png"]
    assert run("generate", "<<<image_1>>>", "--id", "b", *images).exit_code == 0
    [reference] = service.images
    assert service.requests["b"]["image_list"] == [{"image": reference}, {"image": "https://x.example/1.png"}]
    result = run("generate", "<<<image_1>>>", "--image", "away.png")
    assert (result.exit_code, "away.png cannot be read" in result.stderr) == (2, True)


def test_the_reason_of_a_failed_job_is_printed(service: FakeService, run: Command) -> None:
    result = run("generate", "please fail", "--id", "b")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Job b is failed: 002016095 Internal" in result.stderr
    assert json.loads(run("generate", "please fail", "--id", "b", "--json").stdout)["status"] == "failed"


def test_a_refused_request_is_reported(service: FakeService, run: Command) -> None:
    result = run("generate", "a", "--set", "n=12")
    assert (result.exit_code, "n: Must be between 1 and 9." in result.stderr) == (1, True)


def test_ctrl_c_stops_waiting_not_the_job(service: FakeService, run: Command, ctrl_c: Callable[[], None]) -> None:
    service.still = True
    presses = iter([lambda: None])

    def second() -> None:
        if next(presses, None) is None:
            ctrl_c()
            service.on_request()

    service.on_request = second
    result = run("generate", "a", "--id", "b")
    assert (result.exit_code, result.stdout) == (130, "")
    assert "it continues: boomerang show b" in result.stderr
    assert service.jobs["b"]["status"] == "queued"


def test_an_unknown_outcome_names_the_id(service: FakeService, run: Command) -> None:
    service.faults.extend([Fault()] * 5)
    result = run("generate", "a", "--id", "b")
    assert (result.exit_code, "repeat it with the id b" in result.stderr) == (3, True)


@pytest.mark.parametrize("args", [["-o", "x"], ["--timeout", "5s"]], ids=" ".join)
def test_options_that_exclude_each_other_are_an_error(service: FakeService, run: Command, args: list[str]) -> None:
    assert run("generate", "a", "--no-wait", *args).exit_code == 2
    assert service.seen == []
