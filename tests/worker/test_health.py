"""`python -m worker.health`, which checks the file that a worker writes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from worker import health

ROOT = Path(__file__).parents[2]


def run_check(*arguments: str, file: str | None) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], **({health.HEALTH_FILE: file} if file is not None else {})}
    command = [sys.executable, "-X", "importtime", "-m", "worker.health", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.mark.stack
def test_a_fresh_file_is_healthy_and_the_check_imports_little(tmp_path: Path) -> None:
    file = tmp_path / "health"
    health.write(file)
    check = run_check(file=str(file))
    assert check.returncode == 0
    # The check runs every few seconds, so it must not import Celery or other large packages
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in check.stderr.splitlines()}
    assert not loaded & {"celery", "kombu", "redis", "marshmallow", "jobs", "schemas"}


def test_writing_leaves_no_temporary_file(tmp_path: Path) -> None:
    for _ in range(3):
        health.write(tmp_path / "health")
    assert [each.name for each in tmp_path.iterdir()] == ["health"]


@pytest.mark.parametrize(
    ("written", "within", "healthy"),
    [
        (0.0, 30, True),
        (29.0, 30, True),
        (31.0, 30, False),
        (31.0, 60, True),
        # Written before the machine was restarted
        (-1000.0, 30, False),
    ],
)
def test_the_age_of_the_file_decides(tmp_path: Path, written: float, within: float, healthy: bool) -> None:
    file = tmp_path / "health"
    file.write_text(f"{time.monotonic() - written}\n")
    assert (health.problem(file, within) is None) == healthy


@pytest.mark.parametrize("text", ["", "yesterday", "nan", "\x00", "é"])
def test_an_unreadable_file_is_unhealthy(tmp_path: Path, text: str) -> None:
    file = tmp_path / "health"
    file.write_text(text)
    assert health.problem(file, 30)


@pytest.mark.stack
def test_a_missing_file_setting_or_number_is_unhealthy(tmp_path: Path) -> None:
    assert health.problem(tmp_path / "none", 30)
    assert health.problem(tmp_path, 30)
    for arguments, file in (((), None), ((), ""), (("soon",), str(tmp_path))):
        assert run_check(*arguments, file=file).returncode == 1
