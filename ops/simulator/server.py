"""The HTTP face: the generation API's two calls, the pictures, and the control calls."""

import asyncio
import time
from collections import OrderedDict

from aiohttp import web

from ops.simulator import answers, payloads, submit_faults
from ops.simulator.answers import Refusal, answer_json, refuse
from ops.simulator.app_keys import PROVIDER
from ops.simulator.control import add_control
from ops.simulator.draw import render
from ops.simulator.provider import Provider
from ops.simulator.settings import Settings
from ops.simulator.submit_faults import Ask
from ops.simulator.tasks import Status, Task
from ops.simulator.validate import MALFORMED, Refused, read_order

#: ten images of 10 MB as base64, and some room for the rest
MOST_BODY = 150 * 1024 * 1024
#: drawn pictures kept, so that whoever fetches one twice does not have it drawn twice
_KEPT_PICTURES = 32
_ACCOUNT = {
    "401": (401, "1000", "Authentication failed: the API key is not valid"),
    "402": (402, "1102", "Insufficient balance: the resource pack is used up"),
    "403": (403, "1103", "This key has no permission for the requested resource"),
}


def create_app(settings: Settings) -> web.Application:
    """The simulator as an aiohttp application. `outage=refuse` needs `app[keys.LISTENER]`, which `main` provides."""
    app = web.Application(client_max_size=MOST_BODY)
    provider = app[PROVIDER] = Provider(settings)
    gate = _Gate(provider)
    pictures = _Pictures(provider)
    api = _Api(provider, gate)
    app.router.add_post("/model/v1/generation", api.submit)
    app.router.add_get("/model/v1/generation/task/{id}", api.look)
    app.router.add_get("/images/{task_id}/{index:\\d+}.png", pictures.show)
    add_control(app)
    app.on_startup.append(_start)
    app.on_cleanup.append(_stop)
    return app


async def _start(app: web.Application) -> None:
    await app[PROVIDER].sender.start()
    app[PROVIDER].start()


async def _stop(app: web.Application) -> None:
    provider = app[PROVIDER]
    provider.timers.call_off()
    await provider.sender.stop()
    provider.ledger.close()


class _Gate:
    """What stands before every call of the API: the outage, the key, the account, the rate."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._buckets: dict[str, tuple[float, float]] = {}

    def pass_(self, request: web.Request) -> str:
        """The caller's key; Refusal otherwise."""
        provider = self._provider
        outage = provider.faults.word("outage")
        if outage != "off":
            provider.faults.count("outage")
            raise Refusal(refuse(503, "5003", "Service unavailable") if outage == "503" else None)
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        known = provider.settings.keys
        if scheme.lower() != "bearer" or not key or (known and key not in known):
            raise Refusal(refuse(*_ACCOUNT["401"], {"WWW-Authenticate": "Bearer"}))
        account = provider.faults.word("account")
        if account != "ok":
            provider.faults.count(f"account.{account}")
            raise Refusal(refuse(*_ACCOUNT[account]))
        return key

    def too_fast(self, key: str) -> bool:
        """Whether this submission exceeds the key's rate: a bucket that holds a second's worth."""
        rate = self._provider.faults.number("rate")
        if not rate:
            return False
        now = time.monotonic()
        left, filled = self._buckets.get(key, (rate, now))
        left = min(rate, left + (now - filled) * rate)
        fast = left < 1
        self._buckets[key] = (left if fast else left - 1, now)
        return fast


class _Api:
    def __init__(self, provider: Provider, gate: _Gate) -> None:
        self._provider = provider
        self._gate = gate

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """POST /model/v1/generation."""
        self._provider.calls["submit"] += 1
        # Read to its end first: an answer before that would leave the rest in the way of the connection's next request.
        try:
            body = await request.read()
            return await self._take(self._admit(request, body))
        except Refusal as refusal:
            return refusal.answer or answers.cut(request)
        except web.HTTPRequestEntityTooLarge:
            return refuse(413, MALFORMED, f"body: must not exceed {MOST_BODY} bytes")

    def _admit(self, request: web.Request, body: bytes) -> Ask:
        """Who asks for what; Refusal if the key, the rate or the order is not in order."""
        provider = self._provider
        if "followed" in request.query_string:
            provider.faults.count("redirect.followed")
        key = self._gate.pass_(request)
        try:
            order = read_order(body, provider.settings.image_key)
        except Refused as refused:
            provider.calls["submit.invalid"] += 1
            raise Refusal(refuse(400, refused.code, refused.message)) from refused
        who, occasion = provider.occasion(key, order)
        if self._gate.too_fast(key):
            provider.faults.count("rate")
            raise Refusal(answers.too_many(provider, who, occasion, slots=False))
        return Ask(provider, request, order, key, provider.base(request.host), who, occasion)

    async def _take(self, ask: Ask) -> web.StreamResponse:
        provider, faults, order = self._provider, self._provider.faults, ask.order
        if faults.troubles_submit and (answer := await submit_faults.before(ask)) is not None:
            return answer
        if provider.taken(ask.key, order):
            return answers.duplicate(provider, ask.who, ask.occasion)
        if provider.crowded(ask.key, order):
            faults.count("slots")
            return answers.too_many(provider, ask.who, ask.occasion, slots=True)
        if faults.troubles_callbacks and order.callback_url and ask.fires("early_callbacks"):
            task = await provider.create_early(order, ask.key, ask.base, (ask.who, ask.occasion))
        else:
            task = provider.create(order, ask.key, ask.base, (ask.who, ask.occasion))
        made = payloads.submitted(task)
        return await submit_faults.after(ask, made) if faults.troubles_submit else answer_json(made)

    async def look(self, request: web.Request) -> web.StreamResponse:
        """GET /model/v1/generation/task/{id}, by the provider's id or the external one."""
        provider, faults = self._provider, self._provider.faults
        provider.calls["look"] += 1
        try:
            key = self._gate.pass_(request)
        except Refusal as refusal:
            return refusal.answer or answers.cut(request)
        name = request.match_info["id"]
        if faults.number("status_down"):
            occasion = provider.looks(name)
            if faults.fires("status_down", name, occasion):
                status = faults.pick("status_down", name, occasion, (0, 500, 502, 503, 504))
                return refuse(status, "5000", "Bad gateway") if status else answers.cut(request)
        task = provider.find(key, name)
        if task is None:
            provider.calls["look.absent"] += 1
            return refuse(404, "1203", f"Task {name} not found")
        body = payloads.shown(task, provider.now(), echo=provider.settings.echo_external_id)
        if faults.fires("dialect", task.who, f"{task.occasion}.look"):
            body = payloads.in_dialect(body, faults, task.who, f"{task.occasion}.look")
        return answer_json(body)


class _Pictures:
    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._drawn: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        # One at a time: drawing is work for a core, and the API must stay quick beside it.
        self._turn = asyncio.Semaphore(1)

    async def show(self, request: web.Request) -> web.Response:
        """GET /images/{task}/{i}.png; needs no key, like a result's address at a content network."""
        self._provider.calls["image"] += 1
        task = self._provider.tasks.get(request.match_info["task_id"])
        index = int(request.match_info["index"][:3])
        if task is None or task.status is not Status.COMPLETED or index >= task.purchase.n:
            return refuse(404, "1203", "No such image")
        async with self._turn:
            png = self._drawn.get((task.id, index))
            if png is None:
                png = self._drawn[task.id, index] = await self._draw(task, index)
                while len(self._drawn) > _KEPT_PICTURES:
                    self._drawn.popitem(last=False)
        return web.Response(body=png, content_type="image/png")

    async def _draw(self, task: Task, index: int) -> bytes:
        vault = self._provider.vault
        references = [name if isinstance(name, str) else vault.get(name) for name in task.picture.references]
        label = f"{task.who}  {index + 1}/{task.purchase.n}  {task.purchase.model}  {task.id}"
        return await asyncio.to_thread(render, task.picture, references, label)
