"""docs/configuration.md says of each variable what the settings' schemas do."""

import re
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema
from marshmallow.fields import Boolean

from jobs import settings as shared
from webhook.settings import LEAST_MEMORY
from webhook.settings import Environment as WebhookEnvironment
from worker.settings import Environment as WorkerEnvironment

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ROW = re.compile(r"^\| `(BOOMERANG_[A-Z_]+)` \| (unset|`[^`|]*`) \| (.+) \|$", re.MULTILINE)
NAME = re.compile(r"BOOMERANG_[A-Z]+(?:_[A-Z]+)*")


def section(title: str) -> dict[str, str]:
    """Variable → default, as a section's table says it."""
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    rows = ROW.findall(text)
    assert len(rows) == len({name for name, _, _ in rows}), "a variable has two rows"
    return {name: default.strip("`") for name, default, _ in rows}


def defaults(schema: type[Schema], without: type[Schema] | None = None) -> dict[str, Any]:
    """Variable → default, as a schema has it, without those that it inherits."""
    inherited = set(without().fields) if without else set()
    return {
        str(field.data_key): (field, field.load_default)
        for name, field in schema().fields.items()
        if name not in inherited
    }


def reads_as(text: str, field: Any, default: Any) -> bool:
    if default in (None, list, dict, ()):
        return text == "unset"
    if isinstance(default, Enum):
        return text == str(default.value)
    if isinstance(field, Boolean):
        return text == str(default).lower()
    if isinstance(default, (int, float)):
        return float(text) == float(default)
    return text == default


SECTIONS = {
    "Every process": defaults(shared.Environment),
    "The worker": defaults(WorkerEnvironment, shared.Environment),
    "The webhook": defaults(WebhookEnvironment, shared.Environment),
}


@pytest.mark.parametrize("title", SECTIONS)
def test_each_variable_has_its_row_and_no_other_is_there(title: str) -> None:
    assert set(section(title)) == set(SECTIONS[title])


@pytest.mark.parametrize(
    ("title", "name"), [(title, name) for title, known in SECTIONS.items() for name in known], ids=lambda value: value
)
def test_a_default_is_the_schemas(title: str, name: str) -> None:
    assert reads_as(section(title)[name], *SECTIONS[title][name])


def test_the_clients_variables() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "client" / "boomerang_client").rglob("*.py"))
    assert set(section("The client")) == set(re.findall(r'"(BOOMERANG_[A-Z_]+)"', source))


def test_the_compose_files_own_variables() -> None:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    given = dict(re.findall(r"\$\{(BOOMERANG_[A-Z_]+):[-?]([^}]*)\}", text))
    settings = {name for known in SECTIONS.values() for name in known}
    own = section("The compose file")
    assert set(own) == set(given) - settings
    for name, default in own.items():
        assert default in ("unset", given[name])


def test_every_variable_that_any_page_names_exists() -> None:
    known = {name for values in SECTIONS.values() for name in values}
    known |= set(section("The client")) | set(section("The compose file"))
    unknown = {(page.name, name) for page in PAGES for name in NAME.findall(page.read_text("utf-8"))}
    lanes_keys = "BOOMERANG_PROVIDER_KEY_"
    assert {(page, name) for page, name in unknown if name not in known and not name.startswith(lanes_keys)} == set()


def test_the_numbers_that_stand_for_unset_and_for_margins() -> None:
    rows = {name: text for name, _, text in ROW.findall(PAGE)}
    first = f"Unset: {shared.POLL_FIRST_WITH_CALLBACKS:g} where `BOOMERANG_PUBLIC_URL` is set, else"
    assert f"{first} {shared.POLL_FIRST_WITHOUT:g}." in rows["BOOMERANG_POLL_FIRST"]
    assert f"at least {shared.MIN_SECRET} characters" in rows["BOOMERANG_CALLBACK_SECRETS"]
    assert f"from {LEAST_MEMORY} on bytes" in rows["BOOMERANG_MAX_MEMORY"]
