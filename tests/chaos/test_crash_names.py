"""Every side effect in the code has its two points and a scenario."""

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

#: Names of library functions that send, store, write or call.
OUTGOING = words(
    "apply_async broadcast connect delay ensure_connection flush makedirs mark_as_done mark_as_failure mark_as_retry "
    "mark_as_started mkdir open patch pipe_file Popen post publish put remove rename request rm_file run send "
    "send_event send_reply send_task sendall store_result system unlink update_state urlopen write write_bytes "
    "write_text"
)
#: The functions that call them, and the effect of each call. In brackets: calls that are no effect of their own.
BOUNDARIES = {
    "worker": {
        "publish_changes": {"flush": "events"},
        "_send": {"send": "events"},
        "Messages.finish": {"send_task": "messages.*"},
        "Messages._publish": {"send_task": "messages.*"},
        "Generate.__call__": {"run": "(the task itself)"},
        "end_message": {"mark_as_done": "result, chord", "store_result": "result"},
        "_call_next": {"apply_async": "celery.send"},
        "_fail": {"mark_as_failure": "result, chord, celery.send"},
        "Routes._create_task_sender.send_task_message": {
            "send": "(Celery's own, a piece of messages.* and celery.send)"
        },
        "main": {"connect": "(a signal of Celery's, at its own start)"},
        "Dispatcher.send": {"send": "events"},
        "write": {"write_text": "(a sign of life, which no job depends on)"},
        "_beat": {"write": "(the same)"},
        "Notifier.__call__": {"post": "notifier"},
        "Notifier.post": {"post": "notifier"},
        "Sender._attempt": {"post": "notifier"},
        "_OfBatch.post": {"post": "notifier"},
        "send": {"run": "notice"},
        "Outgoing.post": {"post": "notifier"},
        "Services.store": {"connect": "(a client; it has not connected yet)"},
        "Continuity._remember": {"write": "(a sighting, which the next round writes again)"},
        "OutputSaver._save": {"write": "image_store.write"},
        "OutputSaver._store": {"put": "result_store.put"},
        "KeptOutputs.keep": {"put": "result_store.put"},
        "KeptOutputs.load": {"write": "(a draft)", "flush": "(the same)"},
        "KeptOutputs.forget": {"remove": "(a file that a sweep would remove, too)"},
        "fetch": {"flush": "(a piece of result_store.put)"},
        "Transfer._write": {"write": "(a piece of result_store.fetch)"},
        "Inflater.end": {"flush": "(bytes in memory)"},
        "Provider._call": {"send": "provider.*"},
        "_Bounded.connect": {"connect": "(a connection, over which nothing has been sent yet)"},
        "_Bounded.send": {"send": "(a piece of provider.* and of notifier)"},
    },
    "webhook": {
        "Messages.send": {"send_task": "messages.*"},
        "Messages.ping": {"ensure_connection": "(whether the broker is there)"},
        "Services.store": {"connect": "(a client; it has not connected yet)"},
        "Services.key_writer": {"connect": "(the same)"},
        "_write_request": {"write": "(a line of the audit log)"},
        "Services.store_image": {"put": "(image_begun, image_store.write, image_kept)"},
        "Thumbnails._make": {"write": "(a thumbnail, which can be made again)", "remove": "(the same)"},
        "_render": {"run": "(a process that only decodes an image)"},
        "main": {"open": "(that process reads the image)", "write": "(it tells its parent why it failed)"},
        "_refuse": {"write": "(and writes why it cannot)"},
        "readyz": {"run": "(reads only)"},
        "Connection.send_now": {"send": "(an answer)"},
        "Connection.sendall": {"send": "(an answer)"},
        "Connection.send": {"sendall": "(an answer)"},
        "FairPool._victims": {"remove": "(from a list)"},
        "Worker.run": {"run": "(gunicorn's own loop)"},
        "Worker._admit": {"open": "(counts a connection)"},
        "ZipStream.add": {"open": "(a file in an answer)", "write": "(the same)"},
    },
}
#: Calls that only lead to these: hints go through Services.send; a blueprint's calls declare routes.
LEADS = words("shared.send self.send services().send blueprint.post")
#: The functions of the package that uses Redis, and the commands that they call except read-only ones.
WRITTEN = {
    "KeyRing.add": {"hsetnx": "(an operator creates keys)"},
    "KeyRing.revoke": {"hset": "(and revokes them)"},
    "KeyRing._copy": {"hset": "(and copies those of the version before)", "hsetnx": "(the same)"},
    "KeyRing._confirm": {"hset": "(the same)"},
    "KeyRing.remove_before": {"delete": "(the same)"},
    "KeyRing.note_use": {"hset": "key_used"},
    "EndedSessions.add": {
        "zadd": "(a person logs out, and logs out again if it failed)",
        "zremrangebyscore": "(the same)",
    },
    "load_scripts": {"script_load": "(a server that knows the scripts of the broker has no more than before)"},
    "_refresh_binding": {"sadd": "(a piece of messages.* and celery.send)", "zadd": "(the same)"},
    "EventStream.read_new": {"xgroup_create": "changes"},
    "EventStream._read_group": {"xreadgroup": "changes"},
    "EventStream.add_task": {"xadd": "task_state"},
    "AuditTrail.record": {
        "sadd": "audited",
        "xadd": "audited",
        "expire": "audited",
        "xtrim": "audited",
    },
    "Manifests.note": {"zadd": "manifests.note"},
    "Manifests.claim": {"zadd": "manifests.claim"},
    "Manifests.finish": {"zremrangebyscore": "manifests.finish", "zadd": "manifests.finish"},
    "RedisImages.write": {"set": "image_store.write"},
    "RedisImages.remove": {"unlink": "image_store.remove"},
    "Witness.write": {"hset": "(a sighting)", "delete": "(a damaged one)"},
    "Scripts._load": {
        "script_exists": "(a read)",
        "script_load": "(a server that knows the verbs has no more than before)",
    },
    "Scripts._send_beside": {"evalsha": "(a verb that only reads)"},
    "Scripts._send": {
        "evalsha": "the verbs",
        "set": "(part of a verb's round trip: its replicas have it too)",
        "wait": "(the same)",
    },
}
#: Methods of a client that are not commands.
NO_COMMANDS = words("close pipeline execute pubsub")


def calls(package: str) -> dict[str, set[str]]:
    """Return every call in a package, by the qualified name of the calling function, or else by module."""
    found: dict[str, set[str]] = {}

    def walk(node: ast.AST, place: str) -> None:
        for child in ast.iter_child_nodes(node):
            named = isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            inner = f"{place}.{child.name}".lstrip(".") if named else place  # type: ignore[attr-defined]
            if isinstance(child, ast.Call):
                found.setdefault(inner or module, set()).add(ast.unparse(child.func))
            walk(child, inner)

    for path in (ROOT / package).rglob("*.py"):
        module = path.stem
        walk(ast.parse(path.read_text("utf-8")), "")
    return found


def last_name(call: str) -> str:
    return call.rpartition(".")[2]


def test_every_side_effect_has_a_scenario() -> None:
    """A missing effect needs a line in CASES: a scenario that causes it, in every use case that has it."""
    named = {effect for scenarios in CASES.values() for effects in scenarios.values() for effect in effects.split()}
    assert named == EFFECTS
    called = {last_name(call) for package in BOUNDARIES for made in calls(package).values() for call in made}
    assert called & BY_HAND == set()


def test_every_task_and_endpoint_has_scenarios() -> None:
    tasks = {short(name) for name in create_worker(WorkerSettings()).tasks if name.startswith("boomerang.")}
    rules = create_webhook(WebhookSettings()).url_map.iter_rules()
    endpoints = {rule.endpoint for rule in rules if (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}}
    # Forms of the pages change cookies, or call the use cases of the API, whose scenarios are here.
    endpoints = {each for each in endpoints if not each.startswith("pages.")}
    # Requesting an image extends its retention; a revoke comes by remote control.
    assert set(CASES) == tasks | endpoints | {"images.show", "revoke"}


@pytest.mark.parametrize("package", BOUNDARIES)
def test_nothing_is_sent_outside_the_boundaries(package: str) -> None:
    """A new call needs a boundary in tests/chaos/crashing.py and scenarios before it is listed here."""
    outgoing = {
        function: {last_name(call) for call in made - LEADS if last_name(call) in OUTGOING}
        for function, made in calls(package).items()
    }
    assert {function: found for function, found in outgoing.items() if found} == {
        function: set(known) for function, known in BOUNDARIES[package].items()
    }


def test_nothing_is_written_to_redis_outside_the_boundaries(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        commands = {name.upper(): each["flags"] for name, each in client.command().items()}
    found: dict[str, set[str]] = {}
    for function, made in calls("jobs").items():
        for call in made:
            *_, of, name = ("", *call.split("."))
            command = name.removesuffix("_iter").upper()
            if of not in {"client", "_client", "pipe"} or name in NO_COMMANDS:
                continue
            # EVALSHA and SCRIPT do not have the flag of writing commands.
            if "readonly" not in commands.get(command, []) and command not in {"PING", "INFO", "TIME"}:
                found.setdefault(function, set()).add(name)
    assert found == {function: set(known) for function, known in WRITTEN.items()}
    # and the commands that count as reading in a verb do not write
    assert [name for name in LOOKS if "write" in commands[name]] == []


@pytest.mark.stack
def test_effects_without_a_name_are_recorded(tmp_path: Path, redis_url: str) -> None:
    """Effects that bypass the boundaries are also recorded at run time, so that the scenarios fail."""
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
