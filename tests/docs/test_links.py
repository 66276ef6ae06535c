"""All that the pages refer to exists: links, headings, files and tests."""

import ast
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
#: A path in a page: relative to the repository's root, or the name of a Lua verb.
FOLDERS = ("client", "docs", "jobs", "ops", "schemas", "tests", "webhook", "worker")
NAMED = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w./-]+|\w+\.lua|[\w.-]+\.(?:ya?ml|toml|lock)|Makefile")
#: Lines. A longer page should be split.
LONGEST_PAGE = 250
TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")


def prose(page: Path) -> str:
    """Return the page without its code blocks."""
    return FENCE.sub("", page.read_text("utf-8"))


@cache
def anchors(page: Path) -> set[str]:
    """Return the headings as GitHub's link anchors."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@cache
def functions(path: Path) -> set[str]:
    """Return the names of the tests of a file, as pytest collects them."""
    if not path.name.startswith("test_"):
        return set()
    found = (node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef))
    return {node.name for node in found if node.name.startswith("test_")}


def links() -> list[tuple[Path, str]]:
    found = [(page, target) for page in PAGES for target in LINK.findall(prose(page))]
    return [(page, target) for page, target in found if not re.match(r"[a-z]+:", target)]


def test_links_files_and_tests_are_found_in_the_pages() -> None:
    assert len(PAGES) >= 8
    assert len(links()) >= 20


@pytest.mark.parametrize(("page", "target"), links(), ids=lambda value: getattr(value, "name", value))
def test_a_links_target_exists(page: Path, target: str) -> None:
    name, _, anchor = unquote(target).partition("#")
    file = (page.parent / name).resolve() if name else page
    assert file.exists(), f"{page.name} points to {name}"
    if anchor and file.suffix == ".md":  # of pictures, it names the theme
        assert anchor in anchors(file), f"{page.name}: no heading #{anchor} in {file.name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_not_too_long(page: Path) -> None:
    assert len(page.read_text("utf-8").splitlines()) <= LONGEST_PAGE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_named_file_exists(page: Path) -> None:
    named = {text.partition("::")[0] for text in CODE.findall(prose(page))}
    paths = {text for text in named if NAMED.fullmatch(text)}
    missing = {path for path in paths if not (ROOT / path).exists() and not list(ROOT.glob(f"jobs/lua/*/{path}"))}
    assert missing == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_named_test_exists(page: Path) -> None:
    named = set(TEST.findall(page.read_text("utf-8")))
    assert {f"{file}::{name}" for file, name in named if name not in functions(ROOT / file)} == set()


def test_each_guarantee_names_a_test() -> None:
    page = (ROOT / "docs" / "explanation" / "guarantees.md").read_text("utf-8")
    _, _, table = page.partition("| what happens | what follows | tested in |\n| --- | --- | --- |\n")
    rows = table.strip().splitlines()
    assert len(rows) >= 30
    assert [row for row in rows if not TEST.search(row.rsplit("|", 2)[1])] == []


def test_each_threat_names_a_measure_and_a_test() -> None:
    page = (ROOT / "docs" / "explanation" / "security.md").read_text("utf-8")
    tables = re.findall(r"^\| threat \| measure \| test \|\n\| --- \| --- \| --- \|\n((?:\|.*\n)+)", page, re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) >= 20
    assert [row for row in rows if len(row.split(" | ")) != 3 or not TEST.search(row.split(" | ")[2])] == []


def test_each_fault_names_a_test_or_a_reason() -> None:
    pages = [ROOT / "docs" / "reference" / name for name in ("delivery-faults.md", "faults.md")]
    page = "".join(each.read_text("utf-8") for each in pages)
    rows = {row[2:].partition(" ")[0]: row for row in page.splitlines() if re.match(r"\| [A-Z]\d+ \|", row)}
    numbers: dict[str, list[int]] = {}
    for name in rows:
        numbers.setdefault(name[0], []).append(int(name[1:]))
    assert set(numbers) == set("PNRCHWSXV")
    assert {kind: found for kind, found in numbers.items() if found != list(range(1, len(found) + 1))} == {}
    _, _, reasons = page.partition("## What cannot be injected here")
    untested = [name for name, row in rows.items() if not TEST.search(row.rsplit("|", 2)[1])]
    assert [name for name in untested if f"- **{name}**" not in reasons] == []
