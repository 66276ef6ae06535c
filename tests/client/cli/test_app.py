"""The command as a whole: help, exit codes, errors, colours."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from boomerang_client.cli import main
from boomerang_client.terminal import clean
from tests.support.command import Command
from tests.support.fake_boomerang import FakeService

NAMES = ["", *main.commands]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        pytest.param(["show", "nothing"], 1, "no job or batch nothing", id="not-found"),
        pytest.param(["--key", "another", "show", "x"], 3, "key is not known", id="unauthorised"),
        pytest.param(["--url", "http://127.0.0.1:1", "show", "x"], 3, "BOOMERANG_URL", id="unreachable"),
        pytest.param(["--url", "nonsense", "show", "x"], 2, "'nonsense'", id="bad-url"),
        pytest.param(["enqueue", "/nowhere/jobs.jsonl"], 2, "No such file", id="no-file"),
        pytest.param(["list", "--status", "asleep"], 2, "in_doubt", id="bad-status"),
        pytest.param(["cancel"], 2, "Missing argument", id="no-id"),
        pytest.param(["show", ""], 2, "is not an id", id="empty-id"),
    ],
)
def test_each_kind_of_error_has_its_exit_code(
    service: FakeService, run: Command, args: list[str], code: int, says: str
) -> None:
    result = run(*args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_errors_are_json_with_the_json_option(service: FakeService, run: Command) -> None:
    result = run("show", "nothing", "--json")
    problem = json.loads(result.stderr.splitlines()[-1])
    assert (problem["status"], problem["repeat_id"]) == (404, None)


def test_ctrl_c_works_during_any_request(service: FakeService, run: Command, ctrl_c: Callable[[], None]) -> None:
    ctrl_c()
    result = run("show", "nothing")
    assert (result.exit_code, result.stderr) == (130, "Stopped.\n")


@pytest.mark.parametrize("name", NAMES)
def test_help_needs_no_settings(run: Command, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("BOOMERANG_URL", raising=False)
    result = run(*name.split(), "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout or name == "completion"
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert not re.search(r"\w\.\.\.$", result.stdout, re.MULTILINE)  # no summary is truncated
    assert "Examples:" in result.stdout


def values(name: str) -> list[click.Parameter]:
    command = main.commands[name] if name else main
    return [each for each in command.params if not getattr(each, "is_flag", False)]


@pytest.mark.parametrize(("name", "value"), [(name, each) for name in NAMES for each in values(name)], ids=str)
def test_every_options_value_has_its_own_name(name: str, value: click.Parameter) -> None:
    metavar = value.make_metavar(click.Context(main))
    assert metavar not in {"TEXT", "INTEGER", "FLOAT", "PATH", "FILENAME", "INTEGER RANGE", "DATETIME"}


def examples() -> list[list[str]]:
    found = []
    for name in NAMES:
        epilog = (main.commands[name] if name else main).epilog or ""
        found += re.findall(r"^  .*boomerang .*(?:(?<=\\)\n.*)*", epilog, re.MULTILINE)
    lines = [line.replace("\\\n", " ").split(" | ") for line in found]
    calls = [part for line in lines for part in line if part.strip().startswith("boomerang ")]
    return [shlex.split(call)[1:] for call in calls]


@pytest.mark.parametrize("words", examples(), ids=" ".join)
def test_the_examples_are_valid_commands(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fixed.csv").touch()
    words = words[: words.index("<")] if "<" in words else words
    command = main.commands[words[0]]
    values = ["-", *words[2:]] if words[0] == "enqueue" else words[1:]  # the example's file does not exist here
    parent = click.Context(main, **main.context_settings)
    with click.Context(command, info_name=words[0], parent=parent) as context:
        command.parse_args(context, values)


def test_every_command_has_an_example() -> None:
    assert {words[0] for words in examples()} == set(main.commands)


def test_no_color_disables_colours(service: FakeService, run: Command) -> None:
    for name, coloured in (("FORCE_COLOR", True), ("NO_COLOR", False)):
        env = {"FORCE_COLOR": "1", "TERM": "xterm-256color", name: "1"}
        output = run("lanes", env=env).stdout
        assert ("\x1b[31m" in output) is coloured
        assert "paused: 402: balance exhausted" in output


def test_control_characters_in_foreign_text_are_removed() -> None:
    assert clean("a\x1b[2Jb\x9bc\u202ed\n\te") == "a\ufffd[2Jb\ufffdc\ufffdd e"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed_for_each_shell(run: Command, shell: str) -> None:
    result = run("completion", shell)
    assert (result.exit_code, "_BOOMERANG_COMPLETE" in result.stdout) == (0, True)


def test_the_version_is_that_of_the_package(run: Command) -> None:
    assert run("--version").stdout.split()[-1].count(".") == 2
