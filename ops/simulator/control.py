"""The control API, `/_sim/`: fault options, ledger, statistics. It needs no key: a simulator has no secrets."""

import json
from dataclasses import asdict
from typing import Any

from aiohttp import web

from ops.simulator.answers import answer_json
from ops.simulator.app_keys import LISTENER, PROVIDER
from ops.simulator.fault_options import STORM, FaultOptionInvalid
from ops.simulator.payloads import status_body
from ops.simulator.tasks import Task

#: Seconds for which connections are refused if `outage_seconds` is 0.
_REFUSED_SECONDS = 5


def add_control(app: web.Application) -> None:
    """Add the routes of the control API."""
    app.router.add_get("/_sim/faults", _get_faults)
    app.router.add_put("/_sim/faults", _put_faults)
    app.router.add_get("/_sim/stats", _stats)
    app.router.add_get("/_sim/ledger", _ledger)
    app.router.add_get("/_sim/tasks", _tasks)
    app.router.add_post("/_sim/reset", _reset)


async def _get_faults(request: web.Request) -> web.Response:
    """Return all fault options."""
    return answer_json(request.app[PROVIDER].faults.values)


async def _put_faults(request: web.Request) -> web.Response:
    """Set options: `{"drop_callbacks": 0.5}` sets one, `{"storm": true, "hang": 0}` sets all. A 400 lists them."""
    provider = request.app[PROVIDER]
    try:
        values = _requested_values(await request.read(), can_refuse=LISTENER in request.app)
        provider.faults.update(values)
    except ValueError as error:
        return answer_json({"error": str(error)}, 400)
    if "outage" in values:
        _begin_outage(request.app)
    return answer_json(provider.faults.values)


def _requested_values(body: bytes, *, can_refuse: bool) -> dict[str, Any]:
    values = json.loads(body)
    if not isinstance(values, dict):
        raise FaultOptionInvalid("the body must be a JSON object of faults and values")
    storm = values.pop("storm", False)
    if not isinstance(storm, bool):
        raise FaultOptionInvalid("storm takes true or false")
    if values.get("outage") == "refuse" and not can_refuse:
        raise FaultOptionInvalid("outage=refuse works only in a simulator process (python -m ops.simulator)")
    return {**STORM, **values} if storm else values


def _begin_outage(app: web.Application) -> None:
    provider = app[PROVIDER]
    kind, seconds = provider.faults.choice("outage"), provider.faults.number("outage_seconds")
    if kind == "refuse":
        # No request could end this outage, so it always ends by itself.
        seconds = seconds or _REFUSED_SECONDS
        provider.faults.count("outage.refused")
        app[LISTENER](seconds)
    provider.end_outage_in(seconds if kind != "off" else 0)


async def _stats(request: web.Request) -> web.Response:
    """Return how often each fault `fired`; `calls`; callbacks; and the tasks and images in flight of each key.

    `callbacks` are those sent, refused (3xx, 4xx), given up and waiting. `accounts` has for each key its `tasks`, the
    images `in_flight`, and their `peak`.
    """
    provider = request.app[PROVIDER]
    return answer_json(
        {
            "fired": dict(sorted(provider.faults.fired.items())),
            "calls": dict(provider.calls),
            "callbacks": {
                "sent": provider.sender.sent,
                "refused": provider.sender.refused,
                "given_up": provider.sender.given_up,
                "waiting": provider.sender.waiting,
            },
            "tasks": len(provider.tasks),
            "in_flight": provider.tasks.in_flight,
            # Keys of a simulator are not secret.
            "accounts": {key: asdict(account) for key, account in provider.tasks.accounts.items()},
        }
    )


async def _ledger(request: web.Request) -> web.Response:
    """Return `totals` of tasks, purchases and money, `bought_twice`, and `purchases` (not with `?purchases=0`).

    `totals` are the `tasks` created, those `bought` (billed), `bought_twice`, and the money `spent`. `bought_twice`
    lists the external ids with more than one task.
    """
    purchases = request.query.get("purchases") != "0"
    return answer_json(request.app[PROVIDER].ledger.to_json(purchases=purchases))


async def _tasks(request: web.Request) -> web.Response:
    """Return all tasks with the `?external_task_id=`, of all keys, oldest first."""
    name = request.query.get("external_task_id")
    if not name:
        return answer_json({"error": "external_task_id is missing: use ?external_task_id=ID"}, 400)
    provider = request.app[PROVIDER]
    now = provider.now()
    return answer_json({"tasks": [_task_view(task, now) for task in provider.tasks.all_by_external_id(name)]})


def _task_view(task: Task, now: float) -> dict[str, Any]:
    return {**status_body(task, now, echo=True), "callback_url": task.callback_url, "purchase": task.purchase.to_json()}


async def _reset(request: web.Request) -> web.Response:
    """Delete tasks, ledger, counts and everything pending, and restore the faults of the start."""
    request.app[PROVIDER].reset()
    return answer_json({"reset": True})
