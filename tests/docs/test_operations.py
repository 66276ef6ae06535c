"""docs/operations.md names the metrics, states and limits that there are."""

import re
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from jobs.states import State
from jobs.store.store import Store
from webhook.metrics import Counters, StateCollector

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")


def families(store: Store) -> set[str]:
    counters = Counters()
    counters.registry.register(StateCollector(lambda: store))
    text = generate_latest(counters.registry).decode()
    return {family.name for family in text_string_to_metric_families(text) if family.name.startswith("boomerang_")}


def test_each_metric_has_its_row_and_no_other_has(store: Store) -> None:
    rows = re.findall(r"^\| `(boomerang_\w+?)(?:_total)?(?:\{[\w,]+\})?` \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(families(store))


def test_each_metric_that_is_named_exists(store: Store) -> None:
    named = {name.removesuffix("_total") for name in re.findall(r"boomerang_[a-z_]+", PAGE)}
    assert named - families(store) == set()


def test_flowers_table_tells_every_state() -> None:
    (table,) = re.findall(r"^\| Flower \| job \|\n(.+?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert {State(name) for name in re.findall(r"`(\w+)`", table)} == set(State)
