import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from boomerang_client import Client, Status
from tests.support.local_stack import StackProcess
from tests.support.producers import LOCAL, own

pytestmark = [pytest.mark.stack, pytest.mark.skipif(sys.platform != "linux", reason="processes are watched by /proc")]

Start = Callable[..., Any]
Wait = Callable[..., None]
REQUEST = {"model": "kirin_image_omni", "prompt": "a boomerang over the sea at dawn"}


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def listening(processes: Sequence[psutil.Process]) -> set[int]:
    found = [each for process in processes for each in process.net_connections("inet")]
    return {each.laddr.port for each in found if each.status == psutil.CONN_LISTEN}


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def test_a_job_completes_and_ctrl_c_ends_every_process(start: Start, wait_for: Wait) -> None:
    # Given a stack
    server = start("data", "--sim", "--latency 0.2")
    # When a job is enqueued
    with Client(server.url, server.key) as client:
        job = client.enqueue(REQUEST).wait(timeout=30)
    # Then it is completed, by the callback
    assert (job.status, job.settled_by) == (Status.COMPLETED, "callback")
    # When the user presses Ctrl-C
    children, ports = server.children(), listening(server.children())
    assert len(children) >= 6
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(60) == 0, server.printed
    # Then the stack shuts down cleanly, and no process is left
    assert "All processes have ended" in server.printed
    assert "is killed" not in server.printed
    assert "did not stop cleanly" not in server.printed
    assert [each.cmdline() for each in children if not is_gone(each)] == []
    assert [port for port in ports if not is_free(port)] == []
    # And the next start from the folder has the same address, key and jobs
    url, key = server.url, server.key
    again = start("data")
    assert (again.url, again.key) == (url, key)
    with Client(again.url, again.key) as client:
        assert client.job(job.id).status is Status.COMPLETED


def test_the_command_turns_a_table_into_images(shared: StackProcess, tmp_path: Path) -> None:
    goods = tmp_path / "goods.csv"
    goods.write_text("Title;n\na red boat;2\na green boat;\na bad boat;12\n")
    env = os.environ | {"BOOMERANG_URL": shared.url, "BOOMERANG_KEY": shared.key}

    def boomerang(*args: str) -> tuple[int, str, str]:
        command = [str(Path(sys.executable).with_name("boomerang")), *args]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    mapping = ["--map", "prompt=Title", "--set", "model=kirin_image_omni"]
    code, printed, wrong = boomerang("enqueue", str(goods), "--id", "goods", *mapping)
    assert (code, "2 accepted" in printed, "row 4: n: must be from 1 to 9" in wrong) == (1, True, True)
    # A repeated upload adds nothing, and finished jobs are returned at once.
    assert "0 accepted, 2 known" in boomerang("enqueue", str(goods), "--id", "goods", *mapping)[1]
    assert boomerang("save", "goods", "--follow") == (0, "3 saved, 0 were there, 0 failed; in goods\n", "")
    assert boomerang("watch", "goods")[0] == 0
    assert sorted(path.name for path in (tmp_path / "goods").iterdir()) == [
        "goods.2-1.png", "goods.2-2.png", "goods.3-1.png",
    ]  # fmt: skip


def test_the_printed_commands_can_be_copied(shared: StackProcess) -> None:
    (curl,) = re.findall(r"^curl .*\\\n.*$", shared.printed, re.MULTILINE)
    (source,) = re.findall(r"^source .*$", shared.printed, re.MULTILINE)
    done = subprocess.run(["bash", "-c", f"{source}\n{curl} --fail -s"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # A worker may finish the job before the answer arrives.
    assert json.loads(done.stdout)["status"] in {"queued", "submitting", "in_progress", "completed"}
    assert "simulated, because BOOMERANG_PROVIDER_KEY is not set" in shared.printed


def test_secrets_are_readable_by_their_owner_only(shared: StackProcess) -> None:
    for name in ("secrets.json", "env", "redis/redis.conf", "broker/redis.conf"):
        assert stat.S_IMODE((shared.folder / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(shared.folder.stat().st_mode) == 0o700


def test_a_worker_that_dies_is_restarted_and_its_job_completes(shared: StackProcess) -> None:
    pid = int(
        next(
            each.pid
            for each in shared.children()
            if "celery" in " ".join(each.cmdline()) and "worker" in each.cmdline()[-1]
        )
    )
    os.kill(pid, signal.SIGKILL)
    with Client(shared.url, shared.key) as client:
        assert client.enqueue(REQUEST).wait(timeout=60).status is Status.COMPLETED
    assert re.search(r"worker was killed by SIGKILL; restarting it in 0\.2 s", shared.printed)


def test_sigkill_leaves_no_process_running_and_loses_no_job(start: Start, wait_for: Wait) -> None:
    # Given a stack with an unfinished job
    server = start("data", "--sim", "--latency 600", "--no-flower")
    with Client(server.url, server.key) as client:
        job = client.enqueue(REQUEST)
        wait_for(lambda: client.job(job.id).status is Status.IN_PROGRESS)
    children = server.children()
    # When it is killed by SIGKILL
    server.process.kill()
    server.process.wait()
    # Then the kernel ends its processes
    wait_for(lambda: all(is_gone(each) for each in children), message="all children are gone")
    # And the job is still stored
    again = start("data", "--no-flower")
    with Client(again.url, again.key) as client:
        assert client.job(job.id).status is Status.IN_PROGRESS


def test_two_stacks_are_separate(shared: StackProcess, start: Start) -> None:
    other = start("other", "--no-flower")
    assert listening(shared.children()) & listening(other.children()) == set()
    with Client(other.url, shared.key) as client, pytest.raises(Exception, match=r"(?i)key|unauthori"):
        client.job("any")


def test_a_folder_serves_only_one_stack_at_a_time(shared: StackProcess, start: Start) -> None:
    # The folder's path is absolute, so the test's own folder plays no part.
    second = start(str(shared.folder), "--no-flower", wait=False)
    assert second.process.wait(30) == 1
    assert "Another stack runs in" in second.printed
    assert "--data DIR" in second.printed
    assert shared.process.poll() is None


def test_an_error_names_the_port_that_is_in_use(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start("data", "--port", str(port), wait=False)
        assert server.process.wait(30) == 1
    assert f"Error: Port {port} is in use. Choose another one with --port" in server.printed


def test_flower_requires_the_password_and_shows_each_jobs_state(start: Start, wait_for: Wait) -> None:
    # Given a job that stays in progress at the provider
    server = start("data", "--sim", "--latency 4")
    with Client(server.url, server.key) as client:
        job = client.enqueue(REQUEST)
    port = json.loads((server.folder / "ports.json").read_text())["flower"]
    password = json.loads((server.folder / "secrets.json").read_text())["flower_password"]
    # (a separate session: traffic on loopback must not use a proxy)
    flower = requests.Session()
    flower.trust_env = False
    assert flower.get(f"http://127.0.0.1:{port}/tasks", timeout=10).status_code == 401
    flower.auth = ("boomerang", password)

    def state() -> str | None:
        answer = flower.get(f"http://127.0.0.1:{port}/api/task/info/{own(job.id, LOCAL)}", timeout=10)
        return str(answer.json()["state"]) if answer.status_code == 200 else None

    # Then Flower shows it as in progress, and as a success once it has completed
    wait_for(lambda: state() == "IN-PROGRESS", message="Flower shows the job in progress")
    wait_for(lambda: state() == "SUCCESS", message="Flower shows the success")
