"""Text from outside reaches no terminal as a command: every command, in every way that it prints."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from boomerang_client.cli import main, top
from tests.support.command import Command
from tests.support.fake_boomerang import FakeService, Fault
from tests.support.generation_requests import ndjson
from tests.support.hostile_text import HOSTILE, OBEYED, SURROGATE, assert_plain, leaves

#: Members whose values the client must be able to read.
STRUCTURE = frozenset({
    "status", "created_at", "updated_at", "finished_at", "expires_at", "cost", "type", "cursor", "action", "breaker",
    "max_cost", "expected_cost", "spent", "since",
})  # fmt: skip
REQUEST = {"model": HOSTILE, "prompt": HOSTILE, "labels": {"shop": HOSTILE}}
#: Each command with its arguments. FILE is a file of requests, FOLDER an empty folder.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "generate": (HOSTILE, "--model", HOSTILE, "--label", f"a={HOSTILE}", "-o", "FOLDER"),
    "enqueue": ("FILE", "--id", "new", "--wait"),
    "watch": ("b",),
    "results": ("b", "--format", "csv"),
    "save": ("b", "-o", "FOLDER"),
    "show": ("--job", "b.1"),
    "list": ("batches",),
    "cancel": ("--batch", "b"),
    "retry": ("--job", "b.1"),
    "pause": ("--batch", "b"),
    "resume": ("--batch", "b"),
    "approve": ("b",),
    "deliveries": (),
    "receivers": (),
    "replay": ("--job", "b.1"),
    "listen": ("--once",),
    "lanes": (),
    "bulk": ("cancel", "--all"),
    "spend": (),
    "audit-trail": (),
    "top": (),
    "completion": ("fish",),
}
#: Further ways to call some of them.
MORE: tuple[tuple[str, ...], ...] = (
    ("show", "--batch", "b"),
    ("list", "jobs"),
    ("results", "b", "--follow"),
    ("results", "b", "--format", "csv", "-o", "RESULTS"),
    ("cancel", "--job", "b.2"),
    ("pause", "--job", "b.2"),
    ("resume", "--job", "b.2"),
    ("retry", "--batch", "b"),
    ("bulk", "retry", "--label", HOSTILE, "--dry-run"),
    ("bulk", "retry", "--label", f"team={HOSTILE}", "--dry-run"),
    ("bulk", "abort", HOSTILE),
    ("enqueue", "FILE", "--print"),
    ("enqueue", "FILE", "--dry-run"),
    ("enqueue", "TABLE", "--print", "--set", f"model={HOSTILE}"),
    ("enqueue", "TABLE", "--print", "--map", f"prompt={HOSTILE}"),
    ("enqueue", "BROKEN", "--print"),
    ("enqueue", HOSTILE.replace("/", "-")),
    ("enqueue", "FILE", "--delimiter", HOSTILE),
    ("enqueue", "FILE", "--pictures", HOSTILE),
    ("results", "b", "-o", f"FOLDER/no/{HOSTILE.replace('/', '-')}"),
    ("show", HOSTILE),
    ("watch", HOSTILE),
    ("save", "--job", HOSTILE),
    ("list", "jobs", "--since", HOSTILE),
    ("list", HOSTILE),
    ("generate", "--timeout", HOSTILE, "x"),
    (HOSTILE,),
    ("show", f"--{HOSTILE}"),
    (f"--{HOSTILE}",),
    ("--url", HOSTILE, "lanes"),
    ("--url", "http://a.example/" + HOSTILE, "lanes"),
)
CALLS = [*((name, *arguments) for name, arguments in ARGUMENTS.items()), *MORE]


def poisoned(view: Any, name: str = "") -> Any:
    if isinstance(view, dict):
        keep = name not in {"labels", "errors"}
        return {key if keep else f"{key}{HOSTILE}": poisoned(value, key) for key, value in view.items()}
    if isinstance(view, list):
        return [poisoned(each, name) for each in view]
    if (isinstance(view, str) or view is None) and name not in STRUCTURE and not (view is None and name == "error"):
        return f"{'https://h.example/' if name == 'url' else ''}{view or ''}{HOSTILE}{SURROGATE}"
    return view


@pytest.fixture
def hostile(service: FakeService, monkeypatch: pytest.MonkeyPatch, run: Command, tmp_path: Path) -> FakeService:
    """A service with a batch, whose every answer is hostile."""
    (tmp_path / "first").write_bytes(ndjson([{"model": "m", "prompt": "a"}, {"model": "m", "prompt": "fail"}] * 2))
    service.still = True
    assert run("enqueue", str(tmp_path / "first"), "--id", "b").exit_code == 0
    for number in (1, 2):
        service.end(f"b.{number}")
    service.still = False
    service.troubles = [{"code": "no_beat", "what": "w", "do": "d", "since": None}]
    answer = service.answer

    def poison(seen: Any) -> tuple[int, Any]:
        status, view = answer(seen)
        return status, poisoned(view) if isinstance(view, dict | list) else view

    progress = service.progress
    monkeypatch.setattr(service, "answer", poison)
    monkeypatch.setattr(service, "progress", lambda id_: poisoned(progress(id_)))
    return service


@pytest.fixture
def ask(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`ask(call, "terminal")` runs a command and checks what leaves."""

    @contextmanager
    def q_is_pressed() -> Iterator[Callable[[float], str]]:
        yield lambda _: "q"

    monkeypatch.setattr(top, "key_presses", q_is_pressed)
    monkeypatch.chdir(tmp_path)
    name = HOSTILE.replace("/", "-")[:60]
    files = {
        "FILE": tmp_path / f"{name}.jsonl", "TABLE": tmp_path / f"{name}.csv", "BROKEN": tmp_path / "broken.jsonl",
        "FOLDER": tmp_path / f"out{name}", "RESULTS": tmp_path / "results.csv",
    }  # fmt: skip
    images = {"image_list": [{"image": f"{name}.png"}], "style_image": f"../{name}.png"}
    files["FILE"].write_bytes(ndjson([REQUEST, {**REQUEST, **images}]) + b'{"model": 1, "x\x1b]0;t\x07": 2\n')
    heading = HOSTILE.replace('"', "").replace(",", "")
    files["TABLE"].write_text(f'model,prompt,"{heading}"\nm,"x{heading}",y\n', encoding="utf-8")
    files["BROKEN"].write_bytes(
        '{"prompt": "\x1b]0;t\x07\x9b31m\u202e"}\r{"prompt": \x1b[2J\n[/oops]\n\xff\x9b'.encode(
            "utf-8", "surrogateescape"
        )
        + b"\xff\x9b1m\n"
    )

    def run_call(call: tuple[str, ...], mode: str) -> None:
        words = [
            next((each.replace(key, str(path)) for key, path in files.items() if each.startswith(key)), each)
            for each in call
        ]
        env = {"FORCE_COLOR": "1", "COLUMNS": "200"} if mode == "terminal" else {}
        result = run(*(["--json"] if mode == "json" else []), *words, env=env)
        assert_plain(result.stdout)
        assert_plain(result.stderr)
        assert result.exit_code in (0, 1, 2, 3), result.output
        if mode == "json" and not {"--print", "csv", "completion"} & set(words) and result.exit_code < 2:
            for line in result.stdout.splitlines():
                json.loads(line)
        if files["RESULTS"].exists():
            assert_plain(files["RESULTS"].read_text("utf-8").replace("\r\n", "\n"))

    return run_call


def test_every_command_is_called() -> None:
    assert {" ".join(path) for path in leaves(main)} == set(ARGUMENTS)


@pytest.mark.parametrize("mode", ["terminal", "pipe", "json"])
@pytest.mark.parametrize("call", CALLS, ids=lambda call: ascii(" ".join(call))[:40])
def test_nothing_that_the_service_answers_is_obeyed(
    call: tuple[str, ...], mode: str, hostile: FakeService, ask: Callable[..., None]
) -> None:
    ask(call, mode)


PROBLEM = {"title": HOSTILE, "detail": HOSTILE, "errors": {HOSTILE: [HOSTILE], "b": [HOSTILE]}, "codes": [HOSTILE]}
REFUSALS = {
    "problem": Fault(status=422, body=json.dumps(PROBLEM).encode()),
    "key": Fault(status=403, body=json.dumps(PROBLEM).encode()),
    "page": Fault(status=500, body=HOSTILE.encode()),
    "redirect": Fault(status=302, headers={"Location": "http://evil.example/[/oops]\x1b]0;t\x07\x9b31m"}),
    "odd": Fault(status=200, body=HOSTILE.encode()),
}  # fmt: skip


@pytest.mark.parametrize("mode", ["terminal", "pipe"])
@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("name", [name for name in ARGUMENTS if name != "completion"])
def test_no_refusal_is_obeyed(
    *, name: str, refusal: str, mode: str, service: FakeService, ask: Callable[..., None]
) -> None:
    service.faults.extend([REFUSALS[refusal]] * 50)
    ask((name, *ARGUMENTS[name]), mode)


def test_an_uncaught_error_is_printed_plainly(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    main.make_context("boomerang", ["lanes"])
    error = ValueError(HOSTILE + SURROGATE)
    sys.excepthook(ValueError, error, None)
    printed = capsys.readouterr().err
    assert "ValueError" in printed
    assert OBEYED.search(printed) is None


def test_a_command_to_copy_has_ids_as_one_word(service: FakeService, run: Command, file: str) -> None:
    run("enqueue", file, "--id", "b")
    service.batches["b; rm -rf $(pwd)"] = service.batches["b"]
    result = run("watch", "b; rm -rf $(pwd)")
    assert "boomerang save 'b; rm -rf $(pwd)'" in result.stderr
