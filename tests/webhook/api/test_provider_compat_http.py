"""Programs written for the generation API, over real sockets: the worker's client and the vendor's.

The service's answers are compared with the simulator's.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
import requests
from aiohttp import web

from jobs.provider_result import ended
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from ops.local import redis_server as redis_servers
from ops.simulator.server import create_app as create_simulator
from ops.simulator.settings import Settings as SimulatorSettings
from schemas import GenerationRequest, TaskStatus, read_task
from tests.support.producers import own
from tests.support.webhook_server import Serve
from worker.provider import Absent, Created, Exists, Found, Held, NotSent, Provider, Refused
from worker.settings import Envelope, Settings

pytestmark = pytest.mark.stack

OMNI, REFERENCE = "kirin_image_omni", "kirin_v2_1_reference2image"
SUBMIT, TASK = "/model/v1/generation", "/model/v1/generation/task/"
DONE = Result(output=({"type": "image", "url": "https://cdn.example.com/1.png"},), cost=Decimal("0.0065"), discount=1)


@pytest.fixture(scope="module")
def running(serve: Serve, redis_server: redis_servers.RedisServer) -> Any:
    return serve({"BOOMERANG_REDIS_URL": redis_server.url})


@pytest.fixture
def service_url(running: Any, redis_url: str) -> str:
    """The address of a webhook process, which is the base URL for such a program."""
    return f"http://127.0.0.1:{running.port}"


@pytest.fixture
def key(running: Any) -> str:
    return str(running.authorization["Authorization"].removeprefix("Bearer "))


@pytest.fixture
def provider(service_url: str, key: str) -> Iterator[Callable[..., Provider]]:
    """Return `provider(key=…)`, which makes the worker's client for the webhook process."""
    made: list[Provider] = []

    def make(**settings: Any) -> Provider:
        made.append(Provider(Settings(**{"provider_url": service_url, "provider_key": key, **settings})))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def begin(store: Store) -> Callable[[str], None]:
    """Return `begin("id")`, which puts the job in progress as the provider's task `task-<id>`."""

    def make(job_id: str) -> None:
        store.attempts.admit(1000)
        (claim,) = store.attempts.claim([own(job_id)])
        assert store.attempts.mark_in_progress(claim.id, claim.fence, f"task-{job_id}")

    return make


def fox(**params: Any) -> GenerationRequest:
    return GenerationRequest(model=OMNI, params={"prompt": "a fox", **params})


# --- the worker's client --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("envelope", Envelope)
def test_the_workers_client_submits_polls_and_gets_the_result(
    envelope: Envelope, provider: Callable[..., Provider], store: Store, begin: Callable[[str], None]
) -> None:
    client, name = provider(envelope=envelope), "order:4711.fox-1_a"
    assert client.submit(fox(), name) == Created(name)

    for state in (State.QUEUED, State.IN_PROGRESS):
        if state is State.IN_PROGRESS:
            begin(name)
        assert store.jobs.get(own(name)).state is state
        for looked in (client.get_status(name, name), client.find_by_external_id(name)):
            assert isinstance(looked, Found)
            assert (looked.report.status, looked.report.task_id) == (TaskStatus.RUNNING, name)

    store.attempts.finish(own(name), State.COMPLETED, DONE, "poll")
    looked = client.get_status(name, name)
    assert isinstance(looked, Found)
    report = looked.report
    assert report.usage is not None
    assert (report.status, report.settles, report.metadata) == (TaskStatus.COMPLETED, True, {})
    assert [(each.type, each.url) for each in report.output] == [("image", "https://cdn.example.com/1.png")]
    assert (report.usage.cost.amount, report.usage.discount) == (Decimal("0.0065"), 1)
    # The worker's client reads what the provider's task had
    assert ended(report) == (State.COMPLETED, DONE)


def test_the_workers_client_reads_a_failure(
    provider: Callable[..., Provider], store: Store, begin: Callable[[str], None]
) -> None:
    client = provider()
    client.submit(fox(), "fox")
    begin("fox")
    failure = Result(error={"code": "1301", "message": "refused"}, cost=Decimal("0.0130"))
    store.attempts.finish(own("fox"), State.FAILED, failure, "poll")
    looked = client.find_by_external_id("fox")
    assert isinstance(looked, Found)
    assert looked.report.settles
    assert ended(looked.report) == (State.FAILED, failure)


def test_the_workers_client_reads_a_duplicate(provider: Callable[..., Provider]) -> None:
    client = provider()
    assert client.submit(fox(), "fox") == Created("fox")
    assert client.submit(fox(), "fox") == Created("fox")
    assert isinstance(client.submit(fox(n=2), "fox"), Exists)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        pytest.param({"prompt": ""}, "002016001", id="no prompt"),
        pytest.param({"prompt": "a" * 2501}, "002016002", id="long prompt"),
        pytest.param({"n": 10}, "002016003", id="n"),
        pytest.param({"resolution": "8k"}, "1201", id="resolution"),
    ],
)
def test_the_workers_client_reads_a_permanent_refusal(
    params: dict[str, Any], code: str, provider: Callable[..., Provider]
) -> None:
    refused = provider().submit(fox(**params), "fox")
    assert isinstance(refused, Refused)
    assert refused.error.code == code
    assert next(iter(params)) in refused.error.message


def test_the_workers_client_tells_a_wrong_key_from_an_absent_task(provider: Callable[..., Provider]) -> None:
    assert provider().find_by_external_id("missing") == Absent()
    stranger = provider(provider_key="wrong")
    for outcome in (stranger.submit(fox(), "fox"), stranger.find_by_external_id("fox")):
        assert isinstance(outcome, Held)
        assert not outcome.throttled
    assert isinstance(provider(provider_url="http://127.0.0.1:1").submit(fox(), "fox"), NotSent)


# --- the same request to the simulator and the service --------------------------------------------------------------


class Api:
    """A client for one address of the generation API."""

    def __init__(self, base: str, key: str) -> None:
        self.base = base
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.headers["Authorization"] = f"Bearer {key}"

    def submit(self, body: Any) -> tuple[int, Any]:
        how = {"data": body} if isinstance(body, bytes) else {"json": body}
        answer = self._http.post(f"{self.base}{SUBMIT}", timeout=10, **how)
        return answer.status_code, answer.json()

    def look(self, name: str) -> tuple[int, Any]:
        answer = self._http.get(f"{self.base}{TASK}{name}", timeout=10)
        return answer.status_code, answer.json()

    def turn(self, **faults: Any) -> None:
        assert self._http.put(f"{self.base}/_sim/faults", json=faults, timeout=10).ok

    def close(self) -> None:
        self._http.close()


@pytest.fixture(scope="module")
def simulator_url() -> Iterator[str]:
    """A simulator that completes tasks at once, unless a test raises the latency."""
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    found: list[str] = []

    async def work() -> None:
        settings = SimulatorSettings(keys=frozenset({"key"}), faults={"latency": "0"})
        runner = web.AppRunner(create_simulator(settings), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: (loop.run_until_complete(work()), loop.close()), daemon=True)
    thread.start()
    assert ready.wait(20)
    yield found[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def both(simulator_url: str, service_url: str, key: str) -> Iterator[tuple[Api, Api]]:
    """The simulator and the service."""
    theirs, ours = Api(simulator_url, "key"), Api(service_url, key)
    assert theirs._http.post(f"{simulator_url}/_sim/reset", timeout=10).ok
    yield theirs, ours
    theirs.close()
    ours.close()


def envelope(model: str, **params: Any) -> dict[str, Any]:
    if model == REFERENCE:
        params = {"subject_image_list": [{"subject_image": "https://example.com/cat.png"}], **params}
    return {"model": model, "input": [{"params": {"prompt": "a fox", **params}}]}


def like(theirs: Any, ours: Any, path: str = "") -> list[str]:
    """Return where the service's answer lacks a member of the simulator's, or differs in type or number."""
    if type(theirs) is not type(ours):
        return [f"{path}: {theirs!r} against {ours!r}"]
    if isinstance(theirs, dict):
        lacking = [f"{path}.{name}: absent" for name in theirs.keys() - ours.keys()]
        common = theirs.keys() & ours.keys()
        return lacking + [
            found for name in sorted(common) for found in like(theirs[name], ours[name], f"{path}.{name}")
        ]
    if isinstance(theirs, list):
        if len(theirs) != len(ours):
            return [f"{path}: {len(theirs)} against {len(ours)}"]
        return [found for index, each in enumerate(theirs) for found in like(each, ours[index], f"{path}.{index}")]
    return []


def added(theirs: Any, ours: Any) -> set[str]:
    """Return the members that only the service's answer has, at any depth."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        deeper = (added(theirs[name], ours[name]) for name in theirs.keys() & ours.keys())
        return (ours.keys() - theirs.keys()).union(*deeper)
    return set()


@pytest.mark.parametrize("model", [OMNI, REFERENCE])
def test_a_task_is_the_same_at_the_simulator_and_at_the_service(
    model: str, both: tuple[Api, Api], store: Store, begin: Callable[[str], None]
) -> None:
    theirs, ours = both
    theirs.turn(latency="3600")
    body = envelope(model, external_task_id="fox", n=2, aspect_ratio="1:1")

    # Submitted
    (status, their_made), (our_status, our_made) = theirs.submit(body), ours.submit(body)
    assert status == our_status == 200
    assert like(their_made, our_made) == []
    assert added(their_made, our_made) == set()
    assert (our_made["status"], our_made["model"]) == (their_made["status"], their_made["model"])
    assert abs(their_made["created_at"] - our_made["created_at"]) < 60

    # In progress, by the id and by the external id
    begin("fox")
    for their_name, our_name in ((their_made["id"], our_made["id"]), ("fox", "fox")):
        (status, their_task), (our_status, our_task) = theirs.look(their_name), ours.look(our_name)
        assert status == our_status == 200
        assert like(their_task, our_task) == []
        assert added(their_task, our_task) == set()
        assert our_task["status"] == their_task["status"] == "in_progress"

    # Failed: the record of the service holds the error of the simulator
    theirs.turn(latency="0")
    _, made = theirs.submit(envelope(model, external_task_id="hare", n=2, aspect_ratio="1:1"))
    _, their_task = theirs.look(made["id"])
    assert their_task["status"] == "completed"
    store.attempts.finish(own("fox"), *ended(read_task(their_task)), "poll")
    _, our_task = ours.look("fox")
    assert like(their_task, our_task) == []
    assert added(their_task, our_task) == set()
    for task in (their_task, our_task):
        del task["id"]
        for content in task["output"][0]["content"]:
            assert content.pop("jobId")
        task["usage"]["cost"] = Decimal(task["usage"]["cost"])  # the service counts an amount, not its digits
    assert our_task == their_task


@pytest.mark.parametrize("model", [OMNI, REFERENCE])
@pytest.mark.parametrize("billed", [0, 1])
def test_a_failed_task_is_the_same_at_both(
    model: str, billed: int, both: tuple[Api, Api], store: Store, begin: Callable[[str], None]
) -> None:
    theirs, ours = both
    theirs.turn(fail_permanent=1, bill_failures=billed)
    body = envelope(model, external_task_id="fox")
    theirs.submit(body)
    ours.submit(body)
    begin("fox")
    _, their_task = theirs.look("fox")
    store.attempts.finish(own("fox"), *ended(read_task(their_task)), "poll")

    _, our_task = ours.look("fox")

    assert like(their_task, our_task) == []
    # The provider's two documentation pages name the text differently, and the answer has both names
    assert added(their_task, our_task) == {"error_message" if model == OMNI else "message"}
    for task in (their_task, our_task):
        error = task["error"]
        texts = {error.pop(name) for name in ("message", "error_message") if name in error}
        assert len(texts) == 1
        task["texts"] = texts
        task["usage"] = {name: Decimal(value or 0) for name, value in (task.get("usage") or {}).items()}
        del task["id"]
    assert our_task == their_task


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(envelope(OMNI, prompt=""), id="no prompt"),
        pytest.param(envelope(OMNI, prompt="a" * 2501), id="long prompt"),
        pytest.param(envelope(REFERENCE, prompt="a" * 2501), id="long prompt, the other model"),
        pytest.param(envelope(OMNI, n=0), id="n too small"),
        pytest.param(envelope(REFERENCE, n=10), id="n too large"),
        pytest.param(envelope(OMNI, promt="x"), id="unknown parameter"),
        pytest.param(envelope(OMNI, aspect_ratio="5:4"), id="ratio"),
        pytest.param(envelope(REFERENCE, subject_image_list=[]), id="no subject"),
        pytest.param(envelope(OMNI, prompt="<<<image_1>>>"), id="an image that is not there"),
        pytest.param(envelope(OMNI, callback_url="nowhere"), id="callback_url"),
        pytest.param(envelope(OMNI) | {"model": "nothing"}, id="unknown model"),
        pytest.param(envelope(OMNI) | {"n": 1}, id="beside the envelope"),
        pytest.param(b"{", id="no JSON"),
    ],
)
def test_a_refusal_is_the_same_at_both(body: Any, both: tuple[Api, Api]) -> None:
    (status, theirs), (our_status, ours) = (api.submit(body) for api in both)
    assert (status, theirs["error"]["code"]) == (our_status, ours["error"]["code"])
    assert like(theirs, ours) == []
    assert added(theirs, ours) == {"error_message"}


def test_404_conflict_and_wrong_key_are_the_same_at_both(
    both: tuple[Api, Api], simulator_url: str, service_url: str
) -> None:
    strangers = Api(simulator_url, "wrong"), Api(service_url, "wrong")
    body = envelope(OMNI, external_task_id="fox")
    for api in both:
        assert api.submit(body)[0] == 200
    pairs = {
        "absent": [api.look("missing") for api in both],
        "conflict": [api.submit(envelope(OMNI, external_task_id="fox", n=2)) for api in both],
        "key at submit": [api.submit(body) for api in strangers],
        "key at look": [api.look("fox") for api in strangers],
    }
    for api in strangers:
        api.close()
    for what, ((status, theirs), (our_status, ours)) in pairs.items():
        assert (status, theirs["error"]["code"]) == (our_status, ours["error"]["code"]), what
        assert like(theirs, ours) == [], what


# --- the vendor's client --------------------------------------------------------------------------------------------


def test_the_vendors_client_works_with_the_service(
    service_url: str, key: str, store: Store, begin: Callable[[str], None]
) -> None:
    # Given the client that the gateway's vendor publishes, with the service's address and key
    sdk = pytest.importorskip("seaart_sdk", reason="pip install seaart-sdk, the gateway vendor's client")
    client = sdk.Client(sdk.ClientConfig(api_key=key, base_url=service_url, timeout=10))
    stranger = sdk.Client(sdk.ClientConfig(api_key="wrong", base_url=service_url, timeout=10))

    # When it submits
    task = client.modal.create(envelope(OMNI, external_task_id="fox", n=2))
    assert (task.id, task.status, task.model) == ("fox", "in_progress", OMNI)
    begin("fox")
    running = client.modal.get(task.id)
    assert (running.status, running.progress) == ("in_progress", 0.0)

    # Then it waits until the end and finds the output
    store.attempts.finish(own("fox"), State.COMPLETED, DONE, "poll")
    done = task.wait()
    assert done.urls() == ["https://cdn.example.com/1.png"]
    assert done.output[0].content[0].job_id == "task-fox"
    assert (done.usage.cost, done.usage.discount) == ("0.0065", 1)

    # And it raises the matching error, with the service's message
    client.modal.create(envelope(OMNI, external_task_id="hare"))
    begin("hare")
    store.attempts.finish(
        own("hare"), State.FAILED, Result(error={"code": "1301", "message": "content refused"}), "poll"
    )
    with pytest.raises(sdk.SeaArtError, match="content refused") as failed:
        client.modal.wait("hare")
    assert (failed.value.kind, failed.value.task_id) == ("task_failed", "hare")
    for call, status, kind, text in (
        (lambda: client.modal.create(envelope(OMNI, n=12)), 400, "general", "must be from 1 to 9"),
        (lambda: client.modal.create(envelope(OMNI, external_task_id="fox")), 409, "general", "another request"),
        (lambda: client.modal.get("missing"), 404, "general", "not found"),
        (lambda: stranger.modal.get("fox"), 401, "auth", "key"),
    ):
        with pytest.raises(sdk.SeaArtError, match=text) as refused:
            call()
        assert (refused.value.status, refused.value.kind) == (status, kind)
