"""Pages name only variables that exist. The tables of settings are generated (test_generated.py)."""

import re
from pathlib import Path

from jobs.setting import settings_of
from ops.cli import main
from ops.local import redis_binary
from webhook.settings import Settings as WebhookSettings
from worker.settings import Settings as WorkerSettings

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
CLIENT = "The client"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ROW = re.compile(r"^\| `([A-Z]+_[A-Z_]+)` \| (unset|`[^`|]*`) \| (.+) \|$", re.MULTILINE)
NAME = re.compile(r"BOOMERANG_[A-Z]+(?:_[A-Z]+)*")


def rows(text: str) -> dict[str, str]:
    """Return variable → default, from the tables in `text`."""
    found = ROW.findall(text)
    assert len(found) == len({name for name, _, _ in found}), "a variable has two rows"
    return {name: default.strip("`") for name, default, _ in found}


def clients() -> dict[str, str]:
    page = (REFERENCE / "configuration.md").read_text("utf-8")
    (section,) = re.findall(rf"^## {CLIENT}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return rows(section)


def compose_files() -> dict[str, str]:
    return rows((REFERENCE / "compose-variables.md").read_text("utf-8"))


SETTINGS = {each.variable for owner in (WorkerSettings, WebhookSettings) for each in settings_of(owner).values()}


def test_the_clients_variables_are_documented() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "client" / "boomerang_client").rglob("*.py"))
    assert set(clients()) == set(re.findall(r'"(BOOMERANG_[A-Z_]+)"', source))


def test_the_compose_files_variables_are_documented() -> None:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    given = dict(re.findall(r"\$\{([A-Z_]+):[-?]([^}]*)\}", text))
    documented = compose_files()
    assert set(documented) == set(given) - SETTINGS
    for name, default in documented.items():
        assert default in ("unset", given[name])


def test_every_variable_that_a_page_names_exists() -> None:
    known = SETTINGS | set(clients()) | set(compose_files()) | {redis_binary.VARIABLE}
    unknown = {(page.name, name) for page in PAGES for name in NAME.findall(page.read_text("utf-8"))}
    known |= {str(param.envvar) for command in main.commands.values() for param in command.params if param.envvar}
    known.add("BOOMERANG_PRODUCER_URL")  # `boomerang-server up` writes it into its file `env`
    lanes_keys = "BOOMERANG_PROVIDER_KEY_"
    assert {(page, name) for page, name in unknown if name not in known and not name.startswith(lanes_keys)} == set()
