import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from jobs.connections.kombu import for_kombu
from ops.local import redis_server as redis_servers
from tests.support.listener import Listener
from tests.support.simulator import Simulator
from tests.support.worker_service import Processes, RunService, Service, environment
from tests.support.world import MakeWorld, RequestOf, World, request_of

SECRET = "a-callback-secret-for-tests"


@pytest.fixture(scope="session", autouse=True)
def channels_of_the_service() -> Iterator[None]:
    """Make kombu use the service's channels even if a plain producer of an earlier test connected first.

    kombu keeps the class for a URL's scheme from the first connection until the process ends.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kombu.transport._transport_cache", {})
        for_kombu("redis://")
        yield


@pytest.fixture(scope="session")
def _simulator() -> Iterator[Simulator]:
    simulator = Simulator()
    yield simulator
    simulator.close()


@pytest.fixture
def simulator(_simulator: Simulator) -> Simulator:
    """Reset and return the simulated provider. It is served over HTTP and completes tasks at once."""
    _simulator.reset()
    return _simulator


@pytest.fixture
def a_request() -> RequestOf:
    return request_of


@pytest.fixture
def world(redis_url: str, simulator: Simulator) -> Iterator[MakeWorld]:
    """Return `world(lookup_grace=2, …)`, which wires every part of the service with these settings in this process."""
    made: list[World] = []

    def make(provider_url: str = "", **settings: Any) -> World:
        made.append(World(redis_url, provider_url or simulator.url, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture(scope="session")
def _certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a key with a self-signed certificate, in one file."""
    path = tmp_path_factory.mktemp("tls") / "self.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*command.split(), "-keyout", str(path), "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def tls_server(_certificate: Path) -> Iterator[tuple[str, list[bytes]]]:
    """Serve TLS with the self-signed certificate. Yield the URL and the bytes that the server could decrypt."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate)
    got: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with contextlib.suppress(OSError), connection:
                    connection.settimeout(5)
                    with context.wrap_socket(connection, server_side=True) as secured:
                        got.append(secured.recv(1))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}", got
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.fixture
def env(redis_url: str, simulator: Simulator) -> dict[str, str]:
    """The least environment that a worker's process needs."""
    return environment(redis_url, simulator.url)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    processes.close()


@pytest.fixture(scope="session")
def run_service(tmp_path_factory: pytest.TempPathFactory) -> RunService:
    """Return `with run_service(…) as service`, which starts beat and one worker per mapping of extra settings."""

    @contextlib.contextmanager
    def run(broker: str = "", workers: Sequence[Mapping[str, str]] = ({},)) -> Iterator[Service]:
        with redis_servers.running(tmp_path_factory.mktemp("service-redis"), durable=False) as server:
            simulator = Simulator()
            processes = Processes(tmp_path_factory.mktemp("service"))
            service = Service(server.url, simulator, broker)
            service.store.continuity.establish(service.store.continuity.standing())
            service.start = lambda number, **more: processes.start(
                {**service.env, **more}, "worker", "-n", f"w{number}@localhost"
            )[0]
            service.workers = [service.start(number, **more) for number, more in enumerate(workers)]
            processes.start(service.env, "beat")
            yield service
            processes.close()
            service.close()
            simulator.close()

    return run


@pytest.fixture(scope="module")  # its processes would run beside all later tests
def _service(run_service: RunService) -> Iterator[Service]:
    with run_service() as service:
        yield service


@pytest.fixture
def service(_service: Service) -> Service:
    """The shared service with a reset provider. Jobs of earlier tests remain, so use unique ids."""
    _service.simulator.reset()
    return _service
