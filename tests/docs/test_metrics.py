"""Every metric is declared, and pages name only metrics that exist. Their table is generated (test_generated.py)."""

import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from jobs.states import State
from jobs.store.store import Store
from webhook.metric_declarations import DECLARATIONS
from webhook.metrics import Counters, StateCollector

DOCS = Path(__file__).parents[2] / "docs"
#: Matches metrics, but not names of Python packages or files.
NAMED = re.compile(r"\bboomerang_(?!client\b|jobs_client|outside)[a-z_]+")


def test_every_metric_that_a_webhook_exposes_is_declared(store: Store) -> None:
    counters = Counters()
    counters.registry.register(StateCollector(lambda: store))
    text = generate_latest(counters.registry).decode()
    exposed = {
        (family.name, family.type, family.documentation)
        for family in text_string_to_metric_families(text)
        if family.name.startswith("boomerang_")
    }
    assert exposed == {(each.name, each.kind, each.about) for each in DECLARATIONS}


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_a_metric_that_a_page_names_exists(page: Path) -> None:
    known = {name for each in DECLARATIONS for name in (each.name, each.exposed_name)}
    assert set(NAMED.findall(page.read_text("utf-8"))) - known == set()


def test_the_table_for_flower_has_every_state() -> None:
    (table,) = re.findall(
        r"^\| Flower \| job \|\n(.+?)\n\n", (DOCS / "guides/monitor.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert {State(name) for name in re.findall(r"`(\w+)`", table)} == set(State)
