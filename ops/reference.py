"""Generated parts of the documentation: tables, a diagram, help texts. `make docs` puts them into the pages (cog)."""

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click
from aiohttp import web

from boomerang_client.cli import main as client_main
from jobs import lane_health, liveness, policy, receivers
from jobs.failures import CODES
from jobs.setting import Setting, settings_of
from jobs.settings import Settings as SharedSettings
from jobs.states import TRANSITIONS
from jobs.store import attempts
from ops.cli import main
from ops.simulator.fault_options import FAULT_OPTIONS, FaultOption
from ops.simulator.server import create_app as create_simulator
from ops.simulator.settings import Settings as SimulatorSettings
from webhook.api.openapi import document
from webhook.app import API
from webhook.metric_declarations import DECLARATIONS
from webhook.settings import Settings as WebhookSettings
from worker import answers, breaker, reconcile
from worker.http.retry_after import LONGEST_RETRY_AFTER
from worker.settings import Settings as WorkerSettings

#: The settings of each process, and those that its table leaves out.
_SETTINGS = {
    "shared": (SharedSettings, None),
    "worker": (WorkerSettings, SharedSettings),
    "webhook": (WebhookSettings, SharedSettings),
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def settings(process: str) -> str:
    """The variables of `shared`, `worker` or `webhook`."""
    owner, without = _SETTINGS[process]
    rows = [
        (f"`{each.variable}`", _default(each), _links(each.meaning)) for each in settings_of(owner, without).values()
    ]
    return table(("variable", "default", "meaning, and when to change it"), rows)


def _links(text: str) -> str:
    """Convert links relative to `docs/` (as in code) into links relative to `docs/reference/`."""
    return re.sub(r"\]\((?=\w+/)", "](../", text)


def _default(each: Setting) -> str:
    return "unset" if each.default_text is None else f"`{each.default_text}`"


def state_machine() -> str:
    """The transitions as a Mermaid diagram."""
    edges = [f"    {before} --> {after}" for before, row in TRANSITIONS.items() for after in row]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> queued", *edges, "```"])


def failure_classes() -> str:
    """The error codes with their classes of failure."""
    rows = [(f"`{code}`", f"`{each.failure}`", each.meaning) for code, each in CODES.items()]
    return table(("code", "class", "meaning"), rows)


def limits() -> str:
    """The times and limits that are not settings."""
    rows = [
        ("a waiting job is checked again after", f"{policy.RECHECK:g} s"),
        ("an admitted job that no worker claims goes back to its queue after", f"{attempts.PUT_BACK:g} s"),
        ("images that may be dispatched at once", f"{attempts.MOST_DISPATCHED:,}"),
        ("burst of the submission rate", f"{attempts.RATE_BURST:g} s"),
        ("alarms that a round of reconcile claims at a time", f"{reconcile.STEP}"),
        ("without a round of reconcile, the service counts as stalled after", f"{liveness.STALLED_AFTER:g} s"),
        ("a worker writes a heartbeat every", f"{liveness.HEARTBEAT_INTERVAL:g} s"),
        ("a worker counts as silent after", f"{liveness.SILENT_AFTER:g} s"),
        ("lease of a round of reconcile on an alarm", f"{attempts.DUE_LEASE:g} s"),
        ("look-ups that must find nothing before a task counts as not created", f"{policy.LOOKUPS_BEFORE_ABSENT}"),
        ("submissions of one attempt that created no task, after which the job fails", f"{policy.MOST_SUBMIT_TRIES}"),
        ("codes worth another attempt", ", ".join(f"`{code}`" for code in sorted(policy.WORTH_RETRYING))),
        ("a task may be completed without a usable result for", f"{answers.RESULT_PATIENCE:g} s"),
        (
            "a late task may get no answer, while the provider answers other calls, for",
            f"{answers.ANSWER_PATIENCE:g} s",
        ),
        ("wait before attempt 2 (doubled for each further one)", _between(policy.ATTEMPT_BASE)),
        ("wait before a delivery is tried again (doubled each time)", _between(policy.DELIVERY_BASE)),
        ("longest wait before a delivery is tried again", f"{policy.DELIVERY_CAP:g} s"),
        ("a delivery is given up after so many failures", f"{policy.MOST_DELIVERIES}"),
        ("requests at once to a receiver of notifications that accepts them", f"{receivers.MOST_TO_ONE}"),
        ("failures in a row that open a receiver's circuit breaker", f"{receivers.FAILURES_TO_OPEN}"),
        (
            "pause of a receiver's circuit breaker: first, longest",
            f"{receivers.FIRST_PAUSE:g} s, {receivers.LONGEST_PAUSE:g} s",
        ),
        ("lease of a notification under way", f"{receivers.LEASE:g} s"),
        ("hold after 429, 1302, 1303: first, longest", "{:g} s, {:g} s".format(*breaker.THROTTLED)),
        ("hold after 401, 402, 403 and the like: first, longest", "{:g} s, {:g} s".format(*breaker.ACCOUNT)),
        ("longest `Retry-After` that counts", f"{LONGEST_RETRY_AFTER:g} s"),
        ("calls in a row without an answer that open the circuit breaker", f"{lane_health.FAILURES_TO_OPEN}"),
        ("wait before a probe: first, longest", f"{lane_health.PROBE_BASE:g} s, {lane_health.PROBE_CAP:g} s"),
        (
            "the learned limit is cut to, at most once in",
            f"{lane_health.CUT:g} of the images in use, {lane_health.CUT_EVERY:g} s",
        ),
        ("the learned limit grows only while in use is at least", f"{lane_health.USED:g} of it"),
        ("first learned limit", f"{lane_health.FIRST_LIMIT}"),
        ("changes kept in a lane's history", f"{lane_health.HISTORY}"),
    ]
    return table(("what", "value"), rows)


def operations() -> str:
    """The calls of the HTTP API: the scope that a key needs, and what each does."""
    paths = json.loads(document(API))["paths"]
    return table(
        ("call", "scope", "what it does"),
        [
            (f"`{method.upper()} {path}`", call["x-scope"], call["summary"])
            for path, item in paths.items()
            for method, call in item.items()
            if method in ("get", "post", "put", "patch")
        ],
    )


def metrics() -> str:
    """The metrics of the webhook, by name."""
    rows = [
        (f"`{each.exposed_name}`", each.kind, ", ".join(f"`{name}`" for name in each.labels), each.source, each.about)
        for each in DECLARATIONS
    ]
    return table(("metric", "type", "labels", "from", "meaning"), rows)


def simulator_calls() -> str:
    """The calls of the simulator, with their docstrings."""
    routes = [route for route in create_simulator(SimulatorSettings()).router.routes() if route.method != "HEAD"]
    return table(
        ("call", "what it does"),
        [(f"`{each.method} {_path(each)}`", " ".join((inspect.getdoc(each.handler) or "").split())) for each in routes],
    )


def _path(route: web.AbstractRoute) -> str:
    return route.resource.canonical if route.resource else ""


def fault_options(stage: str) -> str:
    """The options of the simulator that affect this stage."""
    return table(
        ("option", "default", "with `--storm`", "what happens"),
        [
            (f"`--{each.name.replace('_', '-')}`", str(each.rest), str(each.storm), each.help + _choices(each))
            for each in FAULT_OPTIONS
            if each.stage == stage
        ],
    )


def _choices(option: FaultOption) -> str:
    return f" ({', '.join(f'`{each}`' for each in option.choices)})" if option.choices else ""


def commands(*names: str) -> str:
    """The help of these commands of `boomerang-server`; without names, that of the group."""
    return _helps(main, "boomerang-server", names)


def client_commands(*names: str) -> str:
    """The help of these commands of `boomerang`; without names, that of the group."""
    return _helps(client_main, "boomerang", names)


def _helps(group: click.Group, path: str, names: Sequence[str]) -> str:
    # The group decides how help is asked for. A command remembers what it was first asked with, so tests, too, call
    # commands through their group.
    layout = {**group.context_settings, "terminal_width": 90, "max_content_width": 90}
    if not names:
        return _help_of(group, path, layout)
    return "\n\n".join(text for name in names for text in _help(group.commands[name], f"{path} {name}", layout))


def _help_of(command: click.Command, path: str, layout: Mapping[str, Any]) -> str:
    return f"### `{path}`\n\n```text\n{command.get_help(click.Context(command, info_name=path, **layout))}\n```"


def _help(command: click.Command, path: str, layout: Mapping[str, Any]) -> Iterator[str]:
    """The help of a command and of those below it."""
    yield _help_of(command, path, layout)
    if isinstance(command, click.Group):
        for name, inner in sorted(command.commands.items()):
            if not inner.hidden:
                yield from _help(inner, f"{path} {name}", layout)


def _between(base: float) -> str:
    return f"{base / 2:g} to {base:g} s"
