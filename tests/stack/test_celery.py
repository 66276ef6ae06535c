"""The Celery entry point on the whole stack, with lost and repeated callbacks, used as the docs show."""

import json
import os
import re
import subprocess
import sys
import uuid
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import requests
from celery import Celery, chord

from boomerang_client import Other
from boomerang_client.celery import generate, signature
from jobs.audit.audit import audit
from jobs.connections.client import connect
from jobs.job import Job
from jobs.settings import Settings
from jobs.store.store import Store
from ops.local.redis_server import TETHER
from ops.local.stack import LocalStack, Options

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
WaitFor = Callable[..., None]
PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "celery.md").read_text("utf-8")
EIGHT_LINES, SHOP = re.findall(r"```python\n(from celery import .*?)```", PAGE, re.DOTALL)
WORKER = ("-m", "celery", "-A", "shop", "worker", "--pool", "threads", "-Q", "shop", "-n", "shop@localhost")
MEMBERS = 500
FAULTS = (
    "--seed 5 --latency 0.2 --drop-callbacks 0.2 --repeat-callbacks 0.3 --early-callbacks 0.05 --reorder-callbacks 0.2"
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    settings = {"BOOMERANG_POLL_FIRST": "1", "BOOMERANG_POLL_MAX": "2"}
    folder = tmp_path_factory.mktemp("stack")
    options = Options(folder=folder, flower=False, simulator=FAULTS, settings=settings, warnings=False)
    with LocalStack(options, lambda *_: None) as running:
        yield running


class Shop:
    """Another service: the code of the docs in its own process, without our packages."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        for name, text in (("eight_lines.py", EIGHT_LINES), ("shop.py", SHOP)):
            (folder / name).write_text(text.replace("redis://127.0.0.1:6379/0", url))
        self.command = [sys.executable, "-P"]
        self.env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "PYTHONUNBUFFERED": "1"}

    def run(self, script: str) -> str:
        done = subprocess.run(
            [*self.command, script],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def shop(tmp_path: Path, stack: LocalStack) -> Iterator[Shop]:
    """The other service's files and its worker."""
    shop = Shop(tmp_path, stack.broker_urls["producer"])
    tethered = (sys.executable, "-IS", str(TETHER), str(os.getpid()))
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            [*tethered, *shop.command, *WORKER],
            cwd=tmp_path,
            env=shop.env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield shop
    finally:
        worker.terminate()
        worker.wait(30)


def _jobs(store: Store, prefix: str) -> list[Job]:
    jobs = store.jobs.get_many([f"{prefix}-{number}" for number in range(MEMBERS)])
    assert all(jobs)
    return [job for job in jobs if job]


def test_the_eight_lines_work_without_our_code(shop: Shop) -> None:
    assert len(EIGHT_LINES.strip().splitlines()) <= 8
    assert re.search(r"'type': 'image', 'url': 'http", shop.run("eight_lines.py"))


def test_a_service_with_its_own_workers_gets_its_images(shop: Shop, stack: LocalStack) -> None:
    urls = re.findall(r"'(http.+?)'", shop.run("shop.py"))
    assert len(set(urls)) == 3
    assert all(url.startswith(stack.plan.url("simulator")) for url in urls)


@pytest.fixture
def app(stack: LocalStack) -> Iterator[Celery]:
    url = stack.broker_urls["producer"]
    app = Celery("shop", broker=url, backend=url, set_as_current=False)
    yield app
    # An unread result would unsubscribe when it is garbage-collected, long after its Redis has gone.
    app.backend.result_consumer.stop()
    app.backend.result_consumer._pubsub = None
    app.close()


@pytest.fixture
def queues(stack: LocalStack) -> Iterator[redis.Redis]:
    """A client of the broker's Redis."""
    with connect(stack.broker_urls["worker"]) as client:
        yield client


@pytest.fixture
def store(stack: LocalStack) -> Iterator[Store]:
    client = connect(stack.redis_url)
    yield Store(client, Settings())
    client.close()


def test_the_clients_helper_returns_results_and_errors(app: Celery) -> None:
    result = generate(app, model=Other("kirin_image_omni"), prompt="a fox", labels={"shop": "berlin"})
    view = result.get(60)
    assert (view["id"], view["labels"]) == (result.id, {"shop": "berlin"})
    with pytest.raises(Exception, match="model"):
        generate(app, model=Other("x")).get(60)


def test_a_chord_of_500_completes_with_lost_and_repeated_callbacks(
    app: Celery, store: Store, queues: redis.Redis, stack: LocalStack, wait_for: WaitFor
) -> None:
    prefix, queue = uuid.uuid4().hex, f"shop-{uuid.uuid4().hex}"
    members = [
        signature(app, model=Other("kirin_image_omni"), prompt="a fox", external_task_id=f"{prefix}-{number}")
        for number in range(MEMBERS)
    ]
    for member in members:
        member.link(app.signature("shop.paint", queue=f"{queue}-paint"))
    chord(members, app=app)(app.signature("shop.all", queue=queue))
    wait_for(lambda: queues.llen(queue), 120, "the chord's body is called")
    wait_for(lambda: not any(job.owed for job in _jobs(store, prefix)), 30, "all deliveries are made")
    # The body is called once, each link once, with all views in order.
    assert (queues.llen(queue), queues.llen(f"{queue}-paint")) == (1, MEMBERS)
    (text,) = [str(each) for each in queues.lrange(queue, 0, -1)]
    ((views,), _, _) = json.loads(b64decode(json.loads(text)["body"]))
    assert [view["id"] for view in views] == [f"{prefix}-{number}" for number in range(MEMBERS)]
    # By the provider's ledger each was bought once, although callbacks were lost and repeated.
    provider = stack.plan.url("simulator")
    totals = requests.get(f"{provider}/_sim/ledger?purchases=0", timeout=30).json()["totals"]
    fired = requests.get(f"{provider}/_sim/stats", timeout=30).json()["fired"]
    assert totals["bought_twice"] == 0
    assert min(fired["drop_callbacks"], fired["repeat_callbacks"]) > 0
    assert set(Counter(job.settled_by for job in _jobs(store, prefix))) == {"callback", "poll"}
    assert audit(store) == []
