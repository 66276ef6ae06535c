"""Quotes: what the client sends for one, checks itself, and prints."""

import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest

from boomerang_client import Client
from tests.support.command import Command
from tests.support.drawing import drawn
from tests.support.fake_boomerang import FakeService
from tests.support.generation_requests import REQUEST, ndjson


def test_a_quote_uploads_no_image_and_enqueues_nothing(client: Client, service: FakeService, tmp_path: Path) -> None:
    (tmp_path / "boat.png").write_bytes(drawn())
    (tmp_path / "small.png").write_bytes(drawn(10, 10))
    lines = [REQUEST, REQUEST | {"image_list": ["boat.png"]}, REQUEST | {"image_list": ["small.png"]}]
    quote = client.quote(lines, "b", folder=tmp_path, max_cost="2.5", pilot=3)
    assert [path.partition("?")[0] for path in service.paths()] == ["POST /v1/quote"]
    sent = [json.loads(line) for line in gzip.decompress(service.seen[-1].body).split(b"\n") if line]
    assert sent[1]["image_list"][0]["image"].startswith("image:sha256:")
    assert service.seen[-1].query == {"id": "b", "max_cost": "2.5", "pilot": "3", "images_later": "true"}
    assert (quote.accepted, quote.rejected, [one.line for one in quote.errors]) == (2, 1, [3])
    (problem,) = quote.problems
    assert (problem.field, problem.lines, problem.first) == ("image_list.0.image", 1, (3,))
    assert quote.raw["rejected"] == 1
    assert (quote.cost.base, quote.cost.expected, quote.cost.low) == ("learned", Decimal("1.50"), Decimal("0.03"))
    assert (quote.kinds[0].jobs, quote.kinds[0].price.median, quote.seconds) == (2, Decimal("0.04"), 640.0)
    assert service.jobs == {}


@pytest.mark.parametrize("command", [["enqueue", "-", "--dry-run"], ["generate", "a fox", "--dry-run"]])
def test_a_dry_run_prints_the_cost(command: list[str], service: FakeService, run: Command) -> None:
    done = run(*command, input=ndjson([REQUEST]))
    assert done.exit_code == 0
    for part in ("1 jobs would be accepted", "1.50 USD", "0:10:40", "max_cost is too low"):
        assert part in done.stdout
    assert json.loads(run("--json", *command, input=ndjson([REQUEST])).stdout)["accepted"] == 1
    assert service.jobs == {}
    assert all(path.startswith("POST /v1/quote") for path in service.paths())


def test_a_dry_run_fails_if_lines_would_be_rejected(service: FakeService, run: Command) -> None:
    done = run("enqueue", "-", "--dry-run", input=ndjson([REQUEST, REQUEST | {"image_list": ["missing.png"]}]))
    assert (done.exit_code, "image_list" in done.stderr) == (1, True)
    assert service.jobs == {}
