"""docs/client.md shows commands and calls that there are."""

import ast
import re
import shlex
from pathlib import Path

import click
import pytest

import boomerang_client
from boomerang_client.cli import main
from boomerang_client.retrying import PATIENCE

ROOT = Path(__file__).parents[2]
PAGES = {page.name: page.read_text("utf-8") for page in (ROOT / "docs" / "client.md", ROOT / "client" / "README.md")}
PAGE = PAGES["client.md"]


def commands() -> list[str]:
    text = "\n".join(PAGES.values()).replace("\\\n", " ")
    spans = re.findall(r"`(boomerang [^`\n]+)`", text)
    blocks = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    spans = [span for span in spans if " " in span.removeprefix("boomerang ")]  # and not the mere name of one
    return [*spans, *(line for line in blocks if line.startswith("boomerang "))]


@pytest.mark.parametrize("command", commands())
def test_a_command_that_is_shown_can_be_given(command: str) -> None:
    _, name, *args = shlex.split(command)
    found = main.commands[name]
    context = click.Context(found, info_name=name)
    values = ["-", *args[1:]] if name == "enqueue" else args  # the file of the example is not here
    found.parse_args(context, values)


def test_every_command_is_on_the_page() -> None:
    assert {name for name in main.commands if f"`boomerang {name}" not in PAGE} == set()


def test_options_that_are_named_exist() -> None:
    known = {name for command in main.commands.values() for each in command.params for name in each.opts}
    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) - known == set()


def test_exit_codes_are_those_of_the_help() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", PAGE, re.MULTILINE))
    text = " ".join((main.help or "").split())
    assert rows
    assert [code for code, meaning in rows.items() if f"{code} {meaning}" not in text] == []


@pytest.mark.parametrize(
    "block", [b for page in PAGES.values() for b in re.findall(r"```python\n(.*?)```", page, re.DOTALL)]
)
def test_calls_that_are_shown_exist(block: str) -> None:
    classes = {"client": boomerang_client.Client, "job": boomerang_client.Job, "batch": boomerang_client.Batch}
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in classes:
            assert hasattr(classes[node.value.id], node.attr)


def test_errors_and_numbers() -> None:
    section = PAGE[PAGE.index("### When something goes wrong") :]
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`", section))
    assert {
        name for name in named if not issubclass(getattr(boomerang_client, name), boomerang_client.BoomerangError)
    } == set()
    assert len(named) >= 9
    assert f"{PATIENCE:.0f} by default" in " ".join(section.split())
