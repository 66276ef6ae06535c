"""Code blocks of the pages: Python compiles, JSON parses, commands and options exist, views have all their fields."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from marshmallow import Schema

from boomerang_client.cli import main as client_main
from ops.cli import main as server_main
from schemas.views.batches import BatchView
from schemas.views.jobs import JobView
from schemas.views.lanes import LaneView

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "client/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
COMMANDS = {"boomerang": client_main, "boomerang-server": server_main}
#: In containers the service `operator` is `boomerang-server`.
OPERATOR = "docker compose run --rm operator "
MAKE = re.compile(r"^\.PHONY: (.+)$", re.MULTILINE)
#: Tokens that end a command in a shell line.
ENDS = re.compile(r"\s+(?:#|\||&&|;|>).*$")
PROMPT = "$ "


def blocks(page: Path, *languages: str) -> list[str]:
    found = re.findall(r"^( *)```(\w+)\n(.*?)^\1```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [body for _, language, body in found if language in languages]


def every(*languages: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        for number, block in enumerate(blocks(page, *languages), start=1)
    ]


def shell_lines(page: Path) -> Iterator[str]:
    """Return commands in blocks and in code spans, each on one line."""
    text = "\n".join(blocks(page, "sh"))
    consoles = "\n".join(blocks(page, "console"))
    commands = re.findall(r"^\$ ((?:.*\\\n)*.*)$", consoles, re.MULTILINE)
    spans = re.findall(
        r"`((?:boomerang|boomerang-server|make|docker compose run --rm operator) [^`\n]+)`", page.read_text("utf-8")
    )
    for line in "\n".join([text, *commands, *spans]).replace("\\\n", " ").splitlines():
        yield ENDS.sub("", line.strip())


def problem(words: list[str]) -> str | None:
    """Return what is wrong with a command's arguments according to its parser, or None."""
    command: click.Command = COMMANDS[words[0]]
    path, rest = words[0], words[1:]
    while isinstance(command, click.Group):
        rest = rest[1:] if rest and rest[0] == "--json" else rest
        if not rest or rest[0].startswith("-"):
            break
        inner = command.commands.get(rest[0])
        if inner is None:
            return f"{path}: there is no command {rest[0]}"
        command, path, rest = inner, f"{path} {rest[0]}", rest[1:]
    if command.context_settings.get("ignore_unknown_options"):
        return None
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"--help", "-h"}
    given = [word.partition("=")[0] for word in rest if word.startswith("--") and " " not in word]
    unknown = [name for name in given if name not in known]
    return f"{path}: there is no option {unknown}" if unknown else None


@pytest.mark.parametrize("block", every("python"))
def test_python_compiles(block: str) -> None:
    compile(block, "page", "exec")


@pytest.mark.parametrize("block", every("json"))
def test_json_parses(block: str) -> None:
    try:
        json.loads(block)
    except ValueError:  # one value in each line
        for line in block.splitlines():
            json.loads(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_their_options_exist(page: Path) -> None:
    lines = [line.replace(OPERATOR, "boomerang-server ") for line in shell_lines(page)]
    ours = [shlex.split(line) for line in lines if line.split(" ")[0] in COMMANDS]
    assert [wrong for words in ours if (wrong := problem(words))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_targets_of_make_exist(page: Path) -> None:
    (targets,) = MAKE.findall((ROOT / "Makefile").read_text("utf-8"))
    named = {line.split()[1] for line in shell_lines(page) if line.startswith("make ")}
    assert {name for name in named if "=" not in name} - set(targets.split()) == set()


def test_wrong_commands_are_detected() -> None:
    assert problem(["boomerang", "no-such-command"])
    assert problem(["boomerang", "enqueue", "jobs.jsonl", "--no-such-option"])
    assert problem(["boomerang-server", "keys", "add", "shop", "--no-such-option=1"])
    assert problem(["boomerang-server", "keys", "add", "shop", "--scope=read"]) is None


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Return every object in a JSON value."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(each)


def responses() -> Iterator[dict[str, Any]]:
    """Return the JSON objects of all responses without omissions. A `…` marks omitted text."""
    for page in PAGES:
        for block in blocks(page, "console"):
            answers = re.split(r"^\$ (?:.*\\\n)*.*\n", block, flags=re.MULTILINE)
            for answer in answers:
                if answer.startswith("{") and "…" not in answer and '"model": "' not in answer.partition("\n")[0]:
                    yield from objects(json.loads(answer))


@pytest.mark.parametrize(
    ("marks", "view"),
    [({"status", "attempt"}, JobView), ({"counts", "accepted"}, BatchView), ({"breaker"}, LaneView)],
    ids=["job", "batch", "lane"],
)
def test_a_shown_view_has_all_its_fields(marks: set[str], view: type[Schema]) -> None:
    matching = [each for each in responses() if marks <= set(each)]
    assert matching
    # Fields that are not required are there on request only (`include`).
    named = {field.data_key or name: field.required for name, field in view().fields.items()}
    always = {name for name, required in named.items() if required}
    assert [wrong for each in matching if (wrong := (always - set(each)) | (set(each) - set(named)))] == []
