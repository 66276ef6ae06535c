import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner
from PIL import Image

from ops.cli import main
from ops.simulator.fault_options import FAULT_OPTIONS, STORM
from ops.simulator.main import simulate
from tests.support.waiting import WaitFor

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[3]


@pytest.fixture
def run(tmp_path: Path, wait_for: WaitFor) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    processes: list[subprocess.Popen[str]] = []

    def begin(*options: str, **env: str) -> tuple[subprocess.Popen[str], str]:
        url_file = tmp_path / f"url-{len(processes)}"
        process = subprocess.Popen(
            [sys.executable, "-m", "ops.simulator", "--url-file", str(url_file), *options],
            cwd=ROOT,
            env=os.environ | env,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process, wait_for(lambda: url_file.read_text().strip() if url_file.exists() else "")

    yield begin
    for process in processes:
        process.kill()
        process.communicate(timeout=10)


def submit(url: str, name: str, key: str = "k") -> requests.Response:
    body = {"model": "kirin_image_omni", "prompt": "a cat", "external_task_id": name}
    return requests.post(f"{url}/model/v1/generation", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_its_address_and_exits_cleanly(
    run: Callable[..., tuple[subprocess.Popen[str], str]], number: int
) -> None:
    process, url = run("--key", "k", "--latency", "60")
    assert submit(url, "a").status_code == 200
    os.kill(process.pid, number)
    out, _ = process.communicate(timeout=10)
    assert out == f"listening on {url}\n"
    assert process.returncode == 0


def test_keys_come_from_the_environment_or_a_file_which_other_users_do_not_see(
    run: Callable[..., tuple[subprocess.Popen[str], str]], tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("k\nmore\n")
    started = [
        run(BOOMERANG_SIMULATOR_KEYS="first k"),
        run("--key-file", str(tmp_path / "keys"), BOOMERANG_SIMULATOR_KEYS="first"),
    ]
    for process, url in started:
        assert submit(url, "a").status_code == 200
        assert submit(url, "a", "other").status_code == 401
        assert b"first" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()


def test_options_are_parsed_into_settings(
    run: Callable[..., tuple[subprocess.Popen[str], str]], tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    _, url = run(
        "--key", "k", "--key", "l", "--latency", "0.5-3", "--storm", "--drop-callbacks", "0", "--ledger", str(ledger)
    )
    faults = requests.get(f"{url}/_sim/faults", timeout=5).json()
    assert faults == {**STORM, "latency": "0.5-3", "drop_callbacks": 0}
    requests.put(f"{url}/_sim/faults", json={option.name: option.rest for option in FAULT_OPTIONS}, timeout=5)
    assert submit(url, "a").status_code == 200
    assert json.loads(ledger.read_text())["external_task_id"] == "a"


@pytest.mark.parametrize("written", ["{url}", "{url}/"])
def test_images_have_the_configured_address(
    run: Callable[..., tuple[subprocess.Popen[str], str]], written: str
) -> None:
    # Under the address of submissions, only the process that submits could reach them.
    _, other = run("--latency", "0")
    _, url = run("--latency", "0", "--public-url", written.format(url=other))
    made = submit(url, "a").json()
    task = requests.get(
        f"{url}/model/v1/generation/task/{made['id']}", headers={"Authorization": "Bearer k"}, timeout=5
    )
    (image_url,) = re.findall(r'http://[^"]+?\.png', task.text)
    assert image_url.startswith(f"{other}/images/")
    answer = requests.get(image_url.replace(other, url), timeout=5)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")


def test_plain_images_are_small_and_differ(run: Callable[..., tuple[subprocess.Popen[str], str]]) -> None:
    _, url = run("--latency", "0", "--plain-images")
    images = [requests.get(f"{url}/images/{submit(url, name).json()['id']}/0.png", timeout=5).content for name in "ab"]
    for each in images:
        assert max(Image.open(io.BytesIO(each)).size) < 100
    assert images[0] != images[1]


def test_connections_are_refused_at_the_socket_and_accepted_again(
    run: Callable[..., tuple[subprocess.Popen[str], str]], wait_for: WaitFor
) -> None:
    _, url = run("--latency", "0")
    answer = requests.put(f"{url}/_sim/faults", json={"outage": "refuse", "outage_seconds": 0.5}, timeout=5)
    assert answer.status_code == 200

    def refused() -> bool:
        try:
            submit(url, "a")
        except requests.exceptions.ConnectionError as error:
            return "refused" in str(error)
        return False

    def back() -> bool:
        try:
            return submit(url, "a").status_code in (200, 409)
        except requests.exceptions.ConnectionError:
            return False

    wait_for(refused)
    wait_for(back)
    assert requests.get(f"{url}/_sim/stats", timeout=5).json()["fired"]["outage.refused"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fail", "2"], "fail takes a number from 0 to 1"),
        (["--latency", "x"], "latency takes"),
        (["--duplicates", "x"], "duplicates takes one of"),
        (["--outage", "refuse"], "only at run time"),
        (["--nonsense"], "No such option"),
        (["--public-url", "127.0.0.1:8431"], "'127.0.0.1:8431' is not a URL"),
        (["--public-url", "http://"], "is not a URL"),
        (["--public-url", "http://a?b=c"], "is not a URL"),
    ],
)
def test_a_bad_option_is_refused(options: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["simulate", *options])
    assert result.exit_code == 2
    assert message in result.output.replace("\n", " ")


def test_every_fault_option_has_help() -> None:
    options = {parameter.name: parameter for parameter in simulate.params}
    assert {option.name for option in FAULT_OPTIONS} <= set(options)
    text = CliRunner().invoke(main, ["simulate", "--help"]).output
    assert all(f"--{option.name.replace('_', '-')} " in text for option in FAULT_OPTIONS)
