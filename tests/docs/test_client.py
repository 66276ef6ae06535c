"""The pages about the client: every command runs, every call exists."""

import ast
import re
import shlex
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from PIL import Image

import boomerang_client
from boomerang_client.cli import main
from boomerang_client.retrying import PATIENCE
from jobs.store.store import Store
from tests.support.command import Command
from tests.support.real_service import KEY, Provider, serving, serving_images

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "guides"
PAGES = {page.name: page.read_text("utf-8") for page in (GUIDES / "command-line.md", ROOT / "client" / "README.md")}
PAGE = PAGES["command-line.md"]
PYTHON = (GUIDES / "python-client.md").read_text("utf-8")
#: Commands that wait for jobs. The provider works only during these, so that other commands find queued jobs.
WAITING = re.compile(r"boomerang generate|--wait|--follow|boomerang watch")


def commands(text: str) -> list[str]:
    """Return the commands of a page in order: in code blocks, and in text if they are more than a command's name."""
    pieces = re.findall(r"```sh\n(.*?)```|`(boomerang [^`\n]+)`", text, re.DOTALL)
    lines = [line for block, span in pieces for line in (block or span).replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("boomerang ") and not is_a_mere_name(line)]


def is_a_mere_name(line: str) -> bool:
    _, name, *args = line.split()
    return not args and any(each.required for each in main.commands[name].params)


def files(text: str) -> dict[str, str]:
    """Return the example files of a page by name."""
    return dict(re.findall(r"`([a-z]+\.(?:jsonl|csv))`:\n\n```\w+\n(.*?)```", text, re.DOTALL))


@pytest.fixture
def provider(redis_url: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """Run the service and its provider, with the pages' files in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Image.new("RGB", (400, 300), "blue").save("photos/boat.jpg")
    for name, body in files(PAGE).items():
        Path(name).write_text(body, "utf-8")
    with serving(redis_url, store) as url, serving_images() as images:
        monkeypatch.setenv("BOOMERANG_URL", url)
        monkeypatch.setenv("BOOMERANG_KEY", KEY)
        yield Provider(url, store, images)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.slow
def test_every_command_of_the_page_runs(provider: Provider, name: str) -> None:
    found = commands(PAGES[name])
    assert len(found) >= 2
    for line in found:
        with provider.working() if WAITING.search(line) else nullcontext():
            result = Command()(*shlex.split(line)[1:])
        assert result.exit_code == 0, (line, result.output)
    saved = list(Path().rglob("images/*.png")) + list(Path("boats").glob("*.png"))
    assert saved


def test_the_page_shows_its_files() -> None:
    assert set(files(PAGE)) == {"jobs.jsonl", "goods.csv"}


def test_every_command_is_on_the_page() -> None:
    assert {name for name in main.commands if f"boomerang {name}" not in PAGE} == set()


def test_documented_options_exist() -> None:
    known = {name for command in main.commands.values() for each in command.params for name in each.opts}
    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) - known <= {"--help"}


def test_exit_codes_are_as_in_the_help() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", PAGE, re.MULTILINE))
    text = " ".join((main.help or "").split())
    assert rows
    assert [code for code, meaning in rows.items() if f"{code} {meaning}" not in text] == []


@pytest.mark.parametrize(
    "block", [b for page in (*PAGES.values(), PYTHON) for b in re.findall(r"```python\n(.*?)```", page, re.DOTALL)]
)
def test_documented_calls_exist(block: str) -> None:
    classes = {"client": boomerang_client.Client, "job": boomerang_client.Job, "batch": boomerang_client.Batch}
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in classes:
            assert hasattr(classes[node.value.id], node.attr)


def test_errors_and_numbers_are_as_in_the_code() -> None:
    section = PYTHON[PYTHON.index("## When something goes wrong") :]
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`", section))
    kinds = {name: getattr(boomerang_client, name) for name in named}
    assert {name for name, kind in kinds.items() if not issubclass(kind, boomerang_client.BoomerangError)} == set()
    assert len(named) >= 9
    assert f"{PATIENCE:.0f} by default" in " ".join(section.split())
