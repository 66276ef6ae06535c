"""No side effect without its two points: the table of scenarios against the code."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.chaos.crash_scenarios import CASES
from tests.chaos.crash_world import ROOT, SETTINGS
from tests.chaos.points import BY_HAND, EFFECTS, FOLDER, LOOKS, short, words
from webhook.app import create_app as create_webhook
from webhook.settings import Settings as WebhookSettings
from worker.app import create_app as create_worker
from worker.settings import Settings as WorkerSettings

#: What sends, stores, writes or calls, by the names that libraries give it.
OUTGOING = words(
    "apply_async broadcast connect delay ensure_connection flush makedirs mark_as_done mark_as_failure mark_as_retry "
    "mark_as_started mkdir open patch pipe_file Popen post publish put remove rename request rm_file run send "
    "send_event send_reply send_task sendall store_result system unlink update_state urlopen write write_bytes "
    "write_text"
)
#: Where such names stand in the code, and the effect that each of them is. Those in brackets are none of their own.
BOUNDARIES = {
    "worker/continuity.py": {"self._witness.write": "(a note of what is there, which the next round makes again)"},
    "worker/events.py": {"dispatcher.send": "events", "dispatcher.flush": "events"},
    "worker/messages.py": {"self._app.send_task": "messages.*"},
    "worker/native.py": {"task.backend.mark_as_failure": "result, chord, celery.send"},
    "worker/main.py": {"signal.connect": "(Celery's, of its own start)"},
    "worker/notify.py": {"self._outgoing.post": "notifier"},
    "worker/outgoing.py": {"session.post": "notifier"},
    "worker/process.py": {"connect": "(a client; it has not connected yet)"},
    "worker/provider/client.py": {"self._session.send": "provider.*"},
    "worker/deadline.py": {"super().send": "(a piece of provider.* and of notifier)"},
    "webhook/messages.py": {
        "self._app.send_task": "messages.*",
        "connection.ensure_connection": "(whether the broker is there)",
    },
    "webhook/services.py": {
        "self.images.put": "(image_begun, image_store.write, image_kept)",
        "connect": "(a client; it has not connected yet)",
    },
}
#: What only leads there: hints go by way of Services.send; a blueprint's are routes.
LEADS = words("shared.send self.send blueprint.post")
#: The same of Redis, in the one room that knows it: whatever is no command that only reads.
WRITTEN = {
    "jobs/access.py": {"self._client.hset": "key_used (and keys made and revoked by hand)"},
    "jobs/changes.py": {"client.xreadgroup": "changes", "client.xgroup_create": "changes"},
    "jobs/image_stores.py": {"self._client.set": "image_store.write", "self._client.unlink": "image_store.remove"},
    "jobs/witness.py": {
        "self._client.hset": "(a note of what is there, which the next round makes again)",
        "self._client.delete": "(the same)",
    },
    "jobs/scripts.py": {
        "self._client.evalsha": "the verbs",
        "self._client.script_exists": "(a look)",
        "pipe.evalsha": "the verbs",
        "pipe.set": "(part of a verb's round trip: its replicas have it too)",
        "pipe.wait": "(the same)",
        "pipe.script_load": "(a server that knows the verbs has no more than before)",
    },
}
#: Methods of a client that are no commands.
NO_COMMANDS = words("close pipeline execute pubsub")


def calls(room: str) -> dict[str, set[tuple[str, str]]]:
    """Every call in a room: module → (what is called, its last name)."""
    found: dict[str, set[tuple[str, str]]] = {}
    for path in sorted((ROOT / room).rglob("*.py")):
        called = (each.func for each in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(each, ast.Call))
        names = {(ast.unparse(each), ast.unparse(each).rpartition(".")[2]) for each in called}
        found[str(path.relative_to(ROOT))] = names
    return found


def test_every_side_effect_has_a_scenario() -> None:
    """One that stands here needs a line in CASES: what leads to it, in every use case that has it."""
    named = {effect for scenarios in CASES.values() for effects in scenarios.values() for effect in effects.split()}
    assert named == EFFECTS
    called = {name for room in ("worker", "webhook") for names in calls(room).values() for _, name in names}
    assert called & BY_HAND == set()


def test_every_way_in_has_its_scenarios() -> None:
    tasks = {short(name) for name in create_worker(WorkerSettings()).tasks if name.startswith("boomerang.")}
    rules = create_webhook(WebhookSettings()).url_map.iter_rules()
    endpoints = {rule.endpoint for rule in rules if (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}}
    # Forms of the pages begin and end sessions, which are cookies and no state of ours.
    endpoints -= {"pages.enter", "pages.leave"}
    # Asking for an image keeps it; a revoke is remote control's.
    assert set(CASES) == tasks | endpoints | {"images.show", "revoke"}


@pytest.mark.parametrize("room", ["worker", "webhook"])
def test_nothing_is_sent_past_the_boundaries(room: str) -> None:
    """A new call needs a boundary of its own in tests/chaos/crashing.py, and scenarios, before it is listed."""
    outgoing = {
        module: {call for call, name in names if name in OUTGOING and call not in LEADS}
        for module, names in calls(room).items()
    }
    assert {module: found for module, found in outgoing.items() if found} == {
        module: set(known) for module, known in BOUNDARIES.items() if module.startswith(room)
    }


def test_nothing_is_written_past_the_boundaries(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        commands = {name.upper(): each["flags"] for name, each in client.command().items()}
    found: dict[str, set[str]] = {}
    for module, names in calls("jobs").items():
        for call, name in names:
            of = call.rpartition(".")[0].rpartition(".")[2]
            command = name.removesuffix("_iter").upper()
            if of not in {"client", "_client", "pipe"} or name in NO_COMMANDS:
                continue
            # EVALSHA and SCRIPT are no writing commands themselves.
            if "readonly" not in commands.get(command, []) and command not in {"PING", "INFO", "TIME"}:
                found.setdefault(module, set()).add(call)
    assert found == {module: set(known) for module, known in WRITTEN.items()}
    # and what counts as reading in a verb does not write
    assert [name for name in LOOKS if "write" in commands[name]] == []


def test_what_has_no_name_is_noticed(tmp_path: Path, redis_url: str) -> None:
    """The scenarios would fail: what goes out past the boundaries is seen when it happens, too."""
    script = (
        "import socket, redis\n"
        "from tests.chaos import crashing\n"
        f"client = redis.Redis.from_url({redis_url!r})\n"
        "client.set('before', 1)\n"
        "crashing._use_case.set('submit')\n"
        "client.get('a'), client.set('a', 1)\n"
        "with client.pipeline() as pipe: pipe.hset('b', 'c', 1), pipe.get('a'), pipe.execute()\n"
        "open('note', 'w').close()\n"
        "open('note').close()\n"
        f"socket.create_connection(('127.0.0.1', {redis_url.rpartition(':')[2].partition('/')[0]})).close()\n"
    )
    subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **SETTINGS, FOLDER: str(tmp_path)},
        check=True,
        timeout=60,
    )
    seen = [line.partition(": ")[2].split()[0:2] for line in (tmp_path / "seen").read_text().splitlines()]
    assert seen == [["Redis:", "SET"], ["Redis:", "HSET"], ["open", "note"], ["socket.connect", "<socket.socket"]]
