"""Text from outside reaches no operator's terminal as a command: every command, in every way that it prints."""

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from boomerang_client import Job, Status
from boomerang_client.record_fields import JobError
from jobs.api_keys import PRODUCER, KeyRing
from jobs.limits import Subject
from jobs.new_job import BatchOptions, NewJob
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from ops.cli import main
from ops.commands import table
from ops.commands.up import reporter
from ops.demo import sheet
from ops.demo.demo_jobs import make_jobs
from ops.demo.verdict import judge
from ops.doctor import command as doctor_command
from ops.doctor.check import bad, ok
from ops.local.console import SafeConsole
from tests.support.hostile_text import HOSTILE, OBEYED, assert_plain, leaves

#: Each command with its arguments. Those that start a stack fail at an option, and quote it.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "up": ("--port", HOSTILE),
    "demo": ("--jobs", HOSTILE),
    "simulate": ("--latency", HOSTILE),
    "audit": (),
    "doctor": (),
    "keys add": (HOSTILE,),
    "keys list": (),
    "keys revoke": (HOSTILE,),
    "keys migrate": (),
    "keys limits": ("shop", "--reason", HOSTILE, "--weight", "2"),
    "lanes list": (),
    "lanes set": ("default", "--max-in-flight", "7", "--reason", HOSTILE),
    "lanes pause": ("default", "--reason", HOSTILE),
    "lanes resume": (HOSTILE,),
    "recover": ("--show",),
    "stuck": ("--longer-than", "0s"),
    "settle": ("doubt", "--not-sent", "--yes", "--by", HOSTILE),
    "settle-cost": ("--all", "--usd", "1"),
    "redeliver": ("--all",),
    "save": ("--all-unsaved",),
    "test-notice": ("batch_done",),
    "results prune": ("--older-than", "0s"),
    "results manifest": (HOSTILE,),
}
MORE: tuple[tuple[str, ...], ...] = (
    ("settle", HOSTILE, "--failed", "--yes"),
    ("settle", "doubt", "--sent", HOSTILE, "--dry-run"),
    ("settle-cost", HOSTILE, "--usd", "1"),
    ("settle-cost", "--all", "--usd", HOSTILE),
    ("redeliver", HOSTILE),
    ("save", HOSTILE),
    ("test-notice", HOSTILE),
    ("results", "prune", "--older-than", "0s", "--label", HOSTILE),
    ("results", "prune", "--older-than", "0s", "--yes", "--by", HOSTILE),
    ("results", "prune", "--older-than", HOSTILE),
    ("audit", "--repair"),
    ("stuck", "--longer-than", HOSTILE),
    ("doctor", "--data", HOSTILE),
    ("up", "--sim", HOSTILE, "--port", "0"),
    ("keys", "add", "x", "--scope", HOSTILE),
    ("keys", "limits", HOSTILE, "--weight", "2"),
    ("lanes", "set", "default", "--max-in-flight", HOSTILE),
    (HOSTILE,),
    (f"--{HOSTILE}",),
    ("stuck", f"--{HOSTILE}"),
)
CALLS = [*((*name.split(), *arguments) for name, arguments in ARGUMENTS.items()), *MORE]


@pytest.fixture
def hostile(store: Store) -> Store:
    """Everything that a provider, a producer or a damaged Redis can put into the records, as hostile text."""
    odd = f"odd{HOSTILE}"
    store.jobs.enqueue([NewJob(id=each, text="{}", model=HOSTILE) for each in ("doubt", odd, "cost")])
    store.jobs.enqueue([NewJob(id="member", text="{}", model="m")], HOSTILE, BatchOptions())
    store.attempts.admit(10)
    for claim in store.attempts.claim(["doubt", odd]):
        store.attempts.mark_in_doubt(claim.id, claim.fence, HOSTILE)
    store.attempts.claim(["cost"])
    result = Result(output=({"type": "image", "url": "https://h.example/1.png"},), unreadable_cost=HOSTILE)
    store.context.scripts.call("announce_saves", "1", 10**15)
    store.attempts.finish("cost", State.COMPLETED, result, "callback")
    (due,) = store.saves.claim(60.0, 8, 1)
    store.saves.give_up(due, HOSTILE)
    client, keys = store.context.client, store.context.keys
    KeyRing(client, keys).add("shop", PRODUCER)
    store.lanes.pause("default", HOSTILE)
    store.context.limits.change(Subject.KEY, "shop", {"weight": 3}, by=HOSTILE, reason=HOSTILE)
    client.hset(keys.member("job", "member"), HOSTILE, HOSTILE)
    client.hset(keys.access, HOSTILE, HOSTILE)
    client.hset(keys.singleton("totals"), HOSTILE, HOSTILE)
    client.set(keys.member("batch", f"other{HOSTILE}"), HOSTILE)
    return store


@pytest.fixture
def run(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def invoke(call: tuple[str, ...], mode: str) -> Any:
        if mode == "terminal":
            monkeypatch.setattr(table, "_is_terminal", lambda: True)
        words = [*call, *(["--json"] if mode == "json" else [])]
        env = {"BOOMERANG_REDIS_URL": redis_url, "BOOMERANG_BROKER_URL": "", "COLUMNS": "2000"}
        return CliRunner().invoke(main, words, env=env, catch_exceptions=False, color=True)

    return invoke


def findings(*_: Any, **__: Any) -> Any:
    yield bad(HOSTILE, HOSTILE, HOSTILE)
    yield ok("b", HOSTILE)


def test_every_command_is_called() -> None:
    assert {" ".join(path) for path in leaves(main)} == set(ARGUMENTS)


@pytest.mark.parametrize("mode", ["terminal", "pipe", "json"])
@pytest.mark.parametrize("call", CALLS, ids=lambda call: ascii(" ".join(call))[:40])
def test_nothing_in_the_records_is_obeyed(
    *, call: tuple[str, ...], mode: str, hostile: Store, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_command, "examine", findings)
    result = run(call, mode)
    assert_plain(result.stdout)
    assert_plain(result.stderr)
    assert result.exit_code in (0, 1, 2), result.output
    if mode == "json" and result.exit_code < 2:
        for line in result.stdout.splitlines():
            json.loads(line)


def test_what_a_command_logs_is_plain(hostile: Store, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    logged = StringIO()
    monkeypatch.setattr(logging.lastResort, "_stderr", logged, raising=False)
    monkeypatch.setattr(sys, "stderr", logged)
    run(("settle", "doubt", "--failed", "--yes", "--by", HOSTILE), "pipe")
    assert_plain(logged.getvalue())


def test_the_consoles_of_up_and_demo_draw_text_as_text() -> None:
    drawn = StringIO()
    console = SafeConsole(drawn)
    console._force_terminal = True
    reporter(console)(HOSTILE, HOSTILE)
    rows = Table(title=HOSTILE)
    rows.add_column(HOSTILE)
    rows.add_row(HOSTILE, Text(HOSTILE))
    with Progress(console=console) as progress:
        progress.add_task("images", total=1)
    for each in (HOSTILE, Text(HOSTILE), rows):
        console.print(each)
    found = OBEYED.search(drawn.getvalue())
    assert found is None, ascii(drawn.getvalue()[max(0, found.start() - 50) :][:100])
    assert "[/oops]" in drawn.getvalue()


def test_the_contact_sheet_shows_text_as_text(tmp_path: Path) -> None:
    made = make_jobs("run", 1, seed=7)[0]
    error = JobError(code=HOSTILE, message=HOSTILE)
    job = Job(id="j", status=Status.FAILED, model="m", error=error, settled_by=HOSTILE, raw={})
    verdict = judge(
        accepted=["j"], rejected=0, jobs={"j": job}, cost=Decimal(0), ledger={"purchases": []},
        stats={"fired": {}, "calls": {"submit": 1}}, images=(0, 0), not_deleted=0, seconds=1.0,
    )  # fmt: skip
    page = sheet.write(
        tmp_path, [sheet.Card(replace(made, request={**made.request, "prompt": HOSTILE}), job, [], [])], verdict
    ).read_text("utf-8")
    assert "[/oops]" in page
    assert "<script" not in page
