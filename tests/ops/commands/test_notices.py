"""`boomerang-server test-notice`: what people see before they trust their targets."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from ops.cli import main
from tests.support.listener import Listener

pytest.importorskip("apprise")
pytestmark = pytest.mark.stack


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


def run(monkeypatch: pytest.MonkeyPatch, given: object, about: str) -> tuple[int, str]:
    monkeypatch.setenv("BOOMERANG_NOTICES", json.dumps(given))
    result = CliRunner().invoke(main, ["test-notice", about])
    return result.exit_code, result.output


def test_it_sends_an_example_to_each_target_and_says_what_happened(
    monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    listener.refused_paths = {"/broken-target"}
    targets = [f"json://127.0.0.1:{listener.port}/{path}" for path in ("good-target", "broken-target")]
    code, output = run(monkeypatch, {"batch_done": targets}, "batch_done")
    assert code == 1
    assert [line.partition(": ")[2].partition(":")[0] for line in output.splitlines()] == ["accepted", "failed"]
    assert "-target" not in output
    assert [each.path for each in listener.received] == ["/good-target", "/broken-target"]


def test_a_class_without_a_target_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    code, output = run(monkeypatch, {"batch_done": ["json://127.0.0.1/a"]}, "cap_reached")
    assert (code, "cap_reached" in output) == (2, True)
