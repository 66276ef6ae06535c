"""`/_sim/`: turn the faults, read the ledger, see what fired. Open to all: a simulator has no secrets."""

import json
from dataclasses import asdict
from typing import Any

from aiohttp import web

from ops.simulator.answers import answer_json
from ops.simulator.app_keys import LISTENER, PROVIDER
from ops.simulator.fault_options import STORM, KnobInvalid
from ops.simulator.payloads import shown
from ops.simulator.tasks import Task

#: how long connections are refused if nobody says
_REFUSED_SECONDS = 5


def add_control(app: web.Application) -> None:
    """Mount the control calls."""
    app.router.add_get("/_sim/faults", _get_faults)
    app.router.add_put("/_sim/faults", _put_faults)
    app.router.add_get("/_sim/stats", _stats)
    app.router.add_get("/_sim/ledger", _ledger)
    app.router.add_get("/_sim/tasks", _tasks)
    app.router.add_post("/_sim/reset", _reset)


async def _get_faults(request: web.Request) -> web.Response:
    return answer_json(request.app[PROVIDER].faults.values)


async def _put_faults(request: web.Request) -> web.Response:
    """The knobs named change, the others stay; `{"storm": true}` turns all, and the ones named beside it win."""
    provider = request.app[PROVIDER]
    try:
        asked = _asked(await request.read(), can_refuse=LISTENER in request.app)
        provider.faults.update(asked)
    except ValueError as error:
        return answer_json({"error": str(error)}, 400)
    if "outage" in asked:
        _begin_outage(request.app)
    return answer_json(provider.faults.values)


def _asked(body: bytes, *, can_refuse: bool) -> dict[str, Any]:
    wanted = json.loads(body)
    if not isinstance(wanted, dict):
        raise KnobInvalid("the body must be a JSON object of faults and values")
    storm = wanted.pop("storm", False)
    if not isinstance(storm, bool):
        raise KnobInvalid("storm takes true or false")
    if wanted.get("outage") == "refuse" and not can_refuse:
        raise KnobInvalid("outage=refuse works in a process of its own only (python -m ops.simulator)")
    return {**STORM, **wanted} if storm else wanted


def _begin_outage(app: web.Application) -> None:
    provider = app[PROVIDER]
    kind, seconds = provider.faults.word("outage"), provider.faults.number("outage_seconds")
    if kind == "refuse":
        # Nobody could turn this one off, so it always ends by itself.
        seconds = seconds or _REFUSED_SECONDS
        provider.faults.count("outage.refused")
        app[LISTENER](seconds)
    provider.end_outage_in(seconds if kind != "off" else 0)


async def _stats(request: web.Request) -> web.Response:
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
            # By key, which is no secret here.
            "accounts": {key: asdict(account) for key, account in provider.tasks.accounts.items()},
        }
    )


async def _ledger(request: web.Request) -> web.Response:
    """`?purchases=0` leaves the long list out."""
    purchases = request.query.get("purchases") != "0"
    return answer_json(request.app[PROVIDER].ledger.shown(purchases=purchases))


async def _tasks(request: web.Request) -> web.Response:
    """Tasks under `?external_task_id=`, of whichever key, the oldest first."""
    name = request.query.get("external_task_id")
    if not name:
        return answer_json({"error": "say which: ?external_task_id="}, 400)
    provider = request.app[PROVIDER]
    now = provider.now()
    return answer_json({"tasks": [_shown(task, now) for task in provider.tasks.named(name)]})


def _shown(task: Task, now: float) -> dict[str, Any]:
    return {**shown(task, now, echo=True), "callback_url": task.callback_url, "purchase": task.purchase.shown()}


async def _reset(request: web.Request) -> web.Response:
    request.app[PROVIDER].reset()
    return answer_json({"reset": True})
