"""The HTTP API: submissions, status, result images, and the control API."""

import asyncio
import time
from collections import OrderedDict

from aiohttp import web

from ops.simulator import answers, payloads, submit_faults
from ops.simulator.answers import Refusal, answer_json, refuse
from ops.simulator.app_keys import PROVIDER
from ops.simulator.control import add_control
from ops.simulator.draw import render, render_plain
from ops.simulator.provider import Provider
from ops.simulator.settings import Settings
from ops.simulator.submit_faults import Submission
from ops.simulator.tasks import Status, Task
from ops.simulator.validate import MALFORMED, Refused, read_order

#: Ten images of 10 MB as base64, and some more for the rest.
MOST_BODY = 150 * 1024 * 1024
#: Number of drawn images kept in memory, for repeated requests.
_CACHED_IMAGES = 32
_ACCOUNT = {
    "401": (401, "1000", "Authentication failed: the API key is not valid"),
    "402": (402, "1102", "Insufficient balance: the resource pack is used up"),
    "403": (403, "1103", "This key has no permission for the requested resource"),
}


def create_app(settings: Settings) -> web.Application:
    """Create the aiohttp application. `outage=refuse` needs `app[LISTENER]`, which `serving` sets."""
    app = web.Application(client_max_size=MOST_BODY)
    provider = app[PROVIDER] = Provider(settings)
    checks = _Checks(provider)
    results = _Results(provider)
    api = _Api(provider, checks)
    app.router.add_post("/model/v1/generation", api.submit)
    app.router.add_get("/model/v1/generation/task/{id}", api.get_task)
    app.router.add_get("/images/{task_id}/{index:\\d+}.png", results.get_image)
    add_control(app)
    app.on_startup.append(_start)
    app.on_cleanup.append(_stop)
    return app


async def _start(app: web.Application) -> None:
    await app[PROVIDER].sender.start()
    app[PROVIDER].start()


async def _stop(app: web.Application) -> None:
    provider = app[PROVIDER]
    provider.timers.cancel_all()
    await provider.sender.stop()
    provider.ledger.close()


class _Checks:
    """Checks before every call of the API: outage, key, account and rate."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._buckets: dict[str, tuple[float, float]] = {}

    def authorize(self, request: web.Request) -> str:
        """Return the caller's key. Raises Refusal."""
        provider = self._provider
        outage = provider.faults.choice("outage")
        if outage != "off":
            provider.faults.count("outage")
            raise Refusal(refuse(503, "5003", "Service unavailable") if outage == "503" else None)
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        known = provider.settings.keys
        if scheme.lower() != "bearer" or not key or (known and key not in known):
            raise Refusal(refuse(*_ACCOUNT["401"], {"WWW-Authenticate": "Bearer"}))
        account = provider.faults.choice("account")
        if account != "ok":
            provider.faults.count(f"account.{account}")
            raise Refusal(refuse(*_ACCOUNT[account]))
        return key

    def exceeds_rate(self, key: str) -> bool:
        """Return whether this submission exceeds the key's rate: a token bucket that holds one second's tokens."""
        rate = self._provider.faults.number("rate")
        if not rate:
            return False
        now = time.monotonic()
        left, filled = self._buckets.get(key, (rate, now))
        left = min(rate, left + (now - filled) * rate)
        exceeded = left < 1
        self._buckets[key] = (left if exceeded else left - 1, now)
        return exceeded


class _Api:
    def __init__(self, provider: Provider, checks: _Checks) -> None:
        self._provider = provider
        self._checks = checks

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """Submit, in the envelope `{"model", "input": [{"params": {…}}]}` or flat."""
        self._provider.calls["submit"] += 1
        # Read the whole body first, or the rest of it would precede the connection's next request.
        try:
            body = await request.read()
            return await self._create(self._check(request, body))
        except Refusal as refusal:
            return refusal.answer or answers.cut(request)
        except web.HTTPRequestEntityTooLarge:
            return refuse(413, MALFORMED, f"body: must not exceed {MOST_BODY} bytes")

    def _check(self, request: web.Request, body: bytes) -> Submission:
        """Check key, order and rate. Raises Refusal."""
        provider = self._provider
        if "followed" in request.query_string:
            provider.faults.count("redirect.followed")
        key = self._checks.authorize(request)
        try:
            order = read_order(body, provider.settings.image_key)
        except Refused as refused:
            provider.calls["submit.invalid"] += 1
            raise Refusal(refuse(400, refused.code, refused.message)) from refused
        subject, occasion = provider.next_occasion(key, order)
        if self._checks.exceeds_rate(key):
            provider.faults.count("rate")
            raise Refusal(answers.too_many(provider, subject, occasion, slots=False))
        return Submission(provider, request, order, key, provider.base(request.host), subject, occasion)

    async def _create(self, call: Submission) -> web.StreamResponse:
        provider, faults, order = self._provider, self._provider.faults, call.order
        if faults.affects_submissions and (answer := await submit_faults.before(call)) is not None:
            return answer
        if provider.is_duplicate(call.key, order):
            return answers.duplicate(provider, call.subject, call.occasion)
        if provider.exceeds_slots(call.key, order):
            faults.count("slots")
            return answers.too_many(provider, call.subject, call.occasion, slots=True)
        if faults.affects_callbacks and order.callback_url and call.fires("early_callbacks"):
            task = await provider.create_early(order, call.key, call.base, (call.subject, call.occasion))
        else:
            task = provider.create(order, call.key, call.base, (call.subject, call.occasion))
        body = payloads.submit_answer(task)
        return await submit_faults.after(call, body) if faults.affects_submissions else answer_json(body)

    async def get_task(self, request: web.Request) -> web.StreamResponse:
        """Return the status, by the task's id or by its `external_task_id` (unique per key)."""
        provider, faults = self._provider, self._provider.faults
        provider.calls["look"] += 1
        try:
            key = self._checks.authorize(request)
        except Refusal as refusal:
            return refusal.answer or answers.cut(request)
        name = request.match_info["id"]
        if faults.number("status_down"):
            occasion = provider.count_lookup(name)
            if faults.fires("status_down", name, occasion):
                status = faults.pick("status_down", name, occasion, (0, 500, 502, 503, 504))
                return refuse(status, "5000", "Bad gateway") if status else answers.cut(request)
        task = provider.find(key, name)
        if task is None:
            provider.calls["look.absent"] += 1
            return refuse(404, "1203", f"Task {name} not found")
        body = payloads.status_body(task, provider.now(), echo=provider.settings.echo_external_id)
        if faults.fires("dialect", task.subject, f"{task.occasion}.look"):
            body = payloads.in_dialect(body, faults, task.subject, f"{task.occasion}.look")
        return answer_json(body)


class _Results:
    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._images: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        # One at a time: drawing takes a whole core, and the API must stay fast.
        self._drawing = asyncio.Semaphore(1)

    async def get_image(self, request: web.Request) -> web.Response:
        """Draw a result: the prompt, the base64 references as thumbnails, the watermark. It needs no key."""
        self._provider.calls["image"] += 1
        task = self._provider.tasks.get(request.match_info["task_id"])
        index = int(request.match_info["index"][:3])
        if task is None or task.status is not Status.COMPLETED or index >= task.purchase.n:
            return refuse(404, "1203", "No such image")
        if self._provider.has_expired(task):
            self._provider.faults.count("expire_images")
            return refuse(404, "1203", "The image was deleted")
        async with self._drawing:
            if request.transport is None or request.transport.is_closing():
                # The caller has given up. Drawing for it all the same would make the next ones wait until they do, too.
                raise asyncio.CancelledError
            png = self._images.get((task.id, index))
            if png is None:
                self._provider.calls["draw"] += 1
                png = self._images[task.id, index] = await self._draw(task, index)
                while len(self._images) > _CACHED_IMAGES:
                    self._images.popitem(last=False)
        return web.Response(body=png, content_type="image/png")

    async def _draw(self, task: Task, index: int) -> bytes:
        references_by_digest = self._provider.references_by_digest
        references = [
            name if isinstance(name, str) else references_by_digest.get(name) for name in task.image.references
        ]
        label = f"{task.subject}  {index + 1}/{task.purchase.n}  {task.purchase.model}  {task.id}"
        if self._provider.settings.plain_images:
            return render_plain(label)
        return await asyncio.to_thread(render, task.image, references, label)
