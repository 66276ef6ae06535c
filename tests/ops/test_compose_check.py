"""The steps of the Compose check that need no engine. tests/chaos/test_compose.py runs the whole check."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ops.compose_check import env_file
from ops.compose_check.own_engine import SCRIPT
from ops.compose_check.ports import free_ports, free_subnet
from ops.compose_check.report import Report
from ops.compose_check.session import acl_entries
from ops.compose_check.shell import CommandFailed, Shell, clean_environment
from ops.compose_check.stack import copy_checkout
from ops.compose_check.stop_checks import is_json_object
from tests.support.waiting import WaitFor

ROOT = Path(__file__).parents[2]
#: redis-cli's output for two entries in a pipe, shortened.
ACL_LOG = "count\n1\nreason\ncommand\ncontext\nlua\nobject\nset\nusername\nworker\nage-seconds\n1.2\n" * 2


def run(*args: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run the check with `path` as the only folder of programs."""
    command = [sys.executable, "-m", "ops.compose_check", *args]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PATH": str(path)}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(folder=tmp_path, log=tmp_path / "log")


def fake_docker(folder: Path, script: str) -> None:
    (folder / "docker").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "docker").chmod(0o755)


@pytest.mark.stack
def test_missing_docker_is_reported_with_a_remedy(tmp_path: Path) -> None:
    done = run(path=tmp_path)
    assert done.returncode == 2
    assert "--own-engine" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.stack
def test_an_engine_that_does_not_answer_is_reported(tmp_path: Path) -> None:
    fake_docker(tmp_path, "echo Cannot connect to the Docker daemon >&2; exit 1")
    done = run(path=tmp_path)
    assert done.returncode == 2
    assert "Cannot connect to the Docker daemon" in done.stderr


@pytest.mark.stack
@pytest.mark.parametrize("version", ["2.23.9", "v1.29.2"])
def test_a_compose_that_is_too_old_is_refused(tmp_path: Path, version: str) -> None:
    fake_docker(tmp_path, f"echo {version}")
    done = run(path=tmp_path)
    assert done.returncode == 2
    assert version in done.stderr
    assert "2.24" in done.stderr


@pytest.mark.stack
@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_starting_an_engine_needs_root() -> None:
    # Passed as text: the checkout may be in a folder that only root can read.
    command = ["/bin/bash", "-s", "start", f"/tmp/boomerang-engine-test-{os.getpid()}"]
    done = subprocess.run(
        command, input=SCRIPT.read_text(), user=65534, group=65534, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "root" in done.stderr


def test_every_secret_of_the_example_gets_a_different_value() -> None:
    example = (ROOT / "ops" / "compose.env.example").read_text()
    values = env_file.read(env_file.fill_in(example, {"BOOMERANG_PORT": "1"}))
    found = env_file.secret_values(values)
    assert {"BOOMERANG_CALLBACK_SECRETS", "FLOWER_COOKIE_SECRET", "BOOMERANG_REDIS_PASSWORD_WORKER"} <= set(found)
    assert len(set(found.values())) == len(found)
    assert all(len(secret) >= 32 for secret in found.values())
    assert values["BOOMERANG_PROVIDER_URL"] == "http://simulator:8421"
    assert values["BOOMERANG_PORT"] == "1"
    # Logs are searched for the secret without its name.
    assert values["BOOMERANG_API_KEYS"] == f"shop:{found['BOOMERANG_API_KEYS']}"


def test_new_passwords_replace_all_passwords_and_nothing_else() -> None:
    text = "A_PASSWORD_X=one\nOTHER=two\nPASSWORD=three\n"
    values = env_file.read(env_file.new_passwords(text))
    assert values["OTHER"] == "two"
    assert "one" not in values.values()
    assert "three" not in values.values()


def test_a_replaced_variable_is_set_once() -> None:
    text = env_file.replace("A=1\nB=2\nA=3\n", "A", "4")
    assert text == "B=2\nA=4\n"


def test_a_failed_check_is_counted_and_its_reason_printed(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(lambda: 0.0)
    report.equal("sum", 2, 2)
    report.equal("other sum", 3, 2)
    with report.step("broken"):
        raise CommandFailed("docker ended with exit code 1")
    report.skip("reboot", "not asked for")  # type: ignore[unreachable]
    assert (report.passed, report.failed) == (1, 2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["ok", "FAIL", "FAIL", "skip"]
    assert "expected 2, found 3" in lines[1]
    assert "exit code 1" in lines[2]


def test_an_internal_error_is_not_a_failed_check() -> None:
    with pytest.raises(AssertionError), Report().step("broken"):
        raise AssertionError


@pytest.mark.stack
def test_a_command_that_hangs_is_killed(shell: Shell) -> None:
    with pytest.raises(CommandFailed, match=r"more than 0\.2 s"):
        shell.run("sleep", "60", limit=0.2)


@pytest.mark.stack
def test_the_error_shows_the_last_output_of_a_failed_command(shell: Shell) -> None:
    with pytest.raises(CommandFailed, match="exit code 3: it broke"):
        shell.run("sh", "-c", "echo it broke >&2; exit 3")
    assert "it broke" in shell.log.read_text()


def test_the_file_takes_precedence_over_shell_variables() -> None:
    env = {
        "BOOMERANG_PORT": "1",
        "FLOWER_PORT": "2",
        "COMPOSE_PROJECT_NAME": "mine",
        "PATH": "/bin",
        "DOCKER_HOST": "x",
    }
    assert clean_environment(env) == {"PATH": "/bin", "DOCKER_HOST": "x"}


@pytest.mark.stack
def test_the_copy_includes_changed_and_new_files_but_no_ignored_ones(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    git = ["git", "-C", str(source)]
    subprocess.run([*git, "init", "-q"], check=True)
    for name, text in {".gitignore": ".env\n", ".env": "secret", "kept": "old", "gone": "x"}.items():
        (source / name).write_text(text)
    subprocess.run([*git, "add", "."], check=True)
    (source / "kept").write_text("new")
    (source / "added").write_text("")
    (source / "gone").unlink()
    copy_checkout(source, target)
    assert {path.name for path in target.iterdir()} == {".gitignore", "kept", "added"}
    assert (target / "kept").read_text() == "new"


def test_refused_commands_are_read_from_the_acl_log() -> None:
    assert acl_entries(ACL_LOG) == ["reason=command context=lua object=set username=worker"] * 2
    assert acl_entries("\n") == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [('{"level": "INFO"}', True), ("worker: Warm shutdown", False), ("1", False), ('"text"', False)],
)
def test_each_line_of_a_log_is_one_json_object(line: str, expected: bool) -> None:
    assert is_json_object(line) is expected


def test_ports_are_free_and_the_range_is_contiguous() -> None:
    *single, first, last = free_ports()
    assert last - first >= 2
    for port in (*single, *range(first, last + 1)):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    subnet, gateway = free_subnet()
    assert gateway.rpartition(".")[0] == subnet.rpartition(".")[0]


@pytest.mark.stack
def test_on_sigterm_it_removes_all_that_it_created(tmp_path: Path, wait_for: WaitFor) -> None:
    calls = tmp_path / "calls"
    script = f"""echo "$@" >> {calls}
case "$*" in
  info*) echo 26.1 ;;
  *version*) echo 2.26.1 ;;
  *config*) echo '{json.dumps({"services": {}})}'; echo 'set it in .env' >&2 ;;
  *"build"*) exec sleep 60 ;;
esac"""
    fake_docker(tmp_path, script)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "ops.compose_check"]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: calls.exists() and " build" in calls.read_text(), timeout=60, message="it builds")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    (down,) = [line for line in calls.read_text().splitlines() if " down " in line]
    assert "--volumes" in down
    assert "boomerang-check-" in down
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
