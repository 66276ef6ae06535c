"""Jobs, messages and results over TLS, as in docs/guides/set-up-redis.md, with a Redis without a plain port."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from celery import Celery

from jobs.connections.client import connect
from jobs.new_job import NewJob
from jobs.settings import Settings as JobsSettings
from jobs.states import State
from jobs.store.store import Store
from ops.local import redis_server
from tests.support import real_redis
from tests.support.certificates import make_certificates
from tests.support.simulator import Simulator
from tests.support.worker_service import Processes, environment
from webhook.messages import Messages
from webhook.settings import Settings as WebhookSettings

pytestmark = pytest.mark.stack
WaitFor = Callable[..., None]


@dataclass(frozen=True)
class Encrypted:
    """A Redis with TLS. `state` is its URL for the jobs, `celery` its URL for broker and results."""

    state: str
    celery: str
    port: int


@pytest.fixture(scope="module")
def server_with_tls(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The newest installed redis-server that supports TLS."""
    versions = sorted(real_redis.binaries(), key=real_redis.numbers, reverse=True)
    folder = tmp_path_factory.mktemp("no-certificates")
    for version in versions:
        if supports_tls(path := real_redis.binaries()[version], folder):
            return path
    pytest.skip(f"no redis-server here was built with TLS (tried {', '.join(versions)}); redis-tools of Debian has one")


def supports_tls(binary: str, folder: Path) -> bool:
    """Start a server with TLS and no certificate. It exits at once, and its message shows whether it supports TLS."""
    options = ("--port", "0", "--tls-port", str(redis_server.free_port()), "--save", "")
    done = subprocess.run(
        ["redis-server", *options],
        executable=binary,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    return "Failed to configure TLS" in done.stdout + done.stderr


@pytest.fixture(scope="module")
def encrypted(server_with_tls: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    folder, port, password = tmp_path_factory.mktemp("tls"), redis_server.free_port(), "a-password"
    make_certificates(folder)
    options = {
        "port": "0", "tls-port": str(port), "bind": "127.0.0.1", "requirepass": password, "save": "",
        "tls-cert-file": "server.pem", "tls-key-file": "server.key", "tls-ca-cert-file": "ca.pem",
        "tls-auth-clients": "no",
    }  # fmt: skip
    arguments = [argument for name, value in options.items() for argument in (f"--{name}", value)]
    process = subprocess.Popen(
        ["redis-server", *arguments],
        executable=server_with_tls,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout
    try:
        url = f"rediss://:{password}@localhost:{port}/0?ssl_ca_certs={folder / 'ca.pem'}"
        assert redis_server._wait_until_ready(process, url), process.stdout.read().decode()
        yield Encrypted(url, f"{url}&ssl_cert_reqs=required", port)
    finally:
        redis_server.stop(process)
        process.stdout.close()


def test_jobs_messages_and_results_pass_over_tls(
    encrypted: Encrypted, processes: Processes, simulator: Simulator, wait_for: WaitFor
) -> None:
    urls = {"BOOMERANG_BROKER_URL": encrypted.celery, "BOOMERANG_RESULT_URL": encrypted.celery}
    env = {**environment(encrypted.state, simulator.url), **urls}
    for process in ("worker", "beat"):
        processes.start(env, process)
    # Through the store and the webhook's hint
    settings = WebhookSettings.from_env(env)
    with connect(settings.redis_url) as client:
        store = Store(client, JobsSettings())
        store.continuity.establish(store.continuity.standing())
        store.jobs.enqueue(
            [NewJob(id="fox", text='{"model":"kirin_image_omni","params":{"prompt":"a fox"}}', model="m")]
        )
        assert Messages(settings).send("boomerang.submit")
        wait_for(lambda: store.jobs.get("fox").state.final, 40, "the job ends")
        assert store.jobs.get("fox").state is State.COMPLETED
    # Through Celery
    producer = Celery("shop", broker=encrypted.celery, backend=encrypted.celery, set_as_current=False)
    request = {"model": "kirin_image_omni", "prompt": "a fox"}
    assert producer.send_task("boomerang.generate", kwargs=request, queue="celery").get(timeout=40)["output"]
    producer.backend.result_consumer.stop()
    producer.backend.result_consumer._pubsub = None
    producer.close()


def test_an_unknown_authority_is_not_trusted(encrypted: Encrypted) -> None:
    untrusting = connect(encrypted.state.partition("?")[0])
    with untrusting, pytest.raises(redis.ConnectionError, match=r"(?i)certificate"):
        untrusting.ping()


def test_a_plain_connection_is_refused(encrypted: Encrypted) -> None:
    plain = connect(f"redis://:a-password@127.0.0.1:{encrypted.port}/0")
    with plain, pytest.raises(redis.ConnectionError):
        plain.ping()
