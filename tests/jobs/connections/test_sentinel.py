import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import redis

from jobs.connections.client import connect
from jobs.connections.kombu import for_kombu
from jobs.connections.sentinel import AddressInvalid, Watched, _Sentinels
from jobs.errors import StoreUnavailable
from jobs.images.backends import RedisImages
from jobs.new_job import NewJob
from jobs.settings import Settings
from jobs.store.redis_keys import Keys
from jobs.store.store import Store
from tests.support.sentinels import SENTINEL_PASSWORD, watched
from tests.support.sentinels import Watched as Servers
from tests.support.waiting import WaitFor

PLAIN = "sentinel://a:1/0?master=jobs"
SECRET = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (PLAIN, Watched(sentinels=(("a", 1),), master="jobs")),
        (
            "sentinel://a,b:2,[::1]:3?master=jobs",
            Watched(sentinels=(("a", 26379), ("b", 2), ("::1", 3)), master="jobs"),
        ),
        (
            "sentinel://us%40er:p%2Cw@a/7?master=jobs&sentinel_username=s&sentinel_password=q%26",
            Watched(
                sentinels=(("a", 26379),),
                master="jobs",
                database=7,
                login={"username": "us@er", "password": "p,w"},
                sentinel_login={"username": "s", "password": "q&"},
            ),
        ),
        ("sentinels://a?master=jobs", Watched(sentinels=(("a", 26379),), master="jobs", tls=SECRET)),
        (
            "sentinels://a?master=jobs&ssl_ca_certs=/ca.pem&ssl_check_hostname=false",
            Watched(
                sentinels=(("a", 26379),),
                master="jobs",
                tls={"ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False},
            ),
        ),
    ],
)
def test_a_sentinel_url_is_read(url: str, expected: Watched) -> None:
    assert Watched.from_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://a:1/0",
        "sentinel://a:1/0?master=",
        "sentinel://?master=jobs",
        "sentinel://:hunter2@?master=jobs",
        "sentinel://:hunter2@a,,b?master=jobs",
        "sentinel://:hunter2:port?master=jobs",
        "sentinel://a:hunter2?master=jobs",
        "sentinel://[hunter2?master=jobs",
        "sentinel://a/hunter2?master=jobs",
        "sentinel://a:1;sentinel://b:1?master=jobs",
        "sentinel://a:1?master=jobs&password=hunter2",
        "sentinel://a:1?master=jobs&ssl_ca_certs=/hunter2",
        "sentinels://a:1?master=jobs&ssl_check_hostname=hunter2",
    ],
)
def test_a_bad_sentinel_url_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(AddressInvalid) as caught:
        Watched.from_url(url)
    assert str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_sentinel_url_is_written_in_kombus_form() -> None:
    reach = for_kombu("sentinels://us%40er:p%2Cw@a,[::1]:2/7?master=jobs&sentinel_password=q&ssl_ca_certs=/ca.pem")
    assert reach.url == "sentinel://us%40er:p%2Cw@a:26379/7;sentinel://us%40er:p%2Cw@[::1]:2/7"
    assert reach.options["master_name"] == "jobs"
    assert reach.options["sentinel_kwargs"].items() >= {"password": "q", "ssl": True, "ssl_ca_certs": "/ca.pem"}.items()
    assert reach.ssl == {**SECRET, "ssl_ca_certs": "/ca.pem"}
    assert for_kombu("amqp://u:p@h//").url == "amqp://u:p@h//"
    assert "hunter2" not in repr(for_kombu("sentinel://:hunter2@a?master=jobs&sentinel_password=hunter2"))
    assert "hunter2" not in repr(Watched.from_url("sentinel://:hunter2@a?master=jobs&sentinel_password=hunter2"))


def test_threads_that_search_at_the_same_time_lose_no_sentinel() -> None:
    """redis-py moves the sentinel that answered to the front of a list that all threads share."""

    class Answering(redis.Redis):
        def __init__(self, answers: Callable[[], Any]) -> None:
            super().__init__()
            self.sentinel_masters = answers

    def silent() -> Any:
        time.sleep(0.001)
        raise redis.ConnectionError

    def answering() -> Any:
        state = {"is_master": True, "is_sdown": False, "is_odown": False, "num-other-sentinels": 2}
        return {"jobs": {**state, "ip": "primary", "port": 1}}

    sentinels = _Sentinels([])
    nodes = [Answering(silent), Answering(silent), Answering(answering)]
    with ThreadPoolExecutor(16) as threads:
        for _ in range(20):
            sentinels.sentinels = list(nodes)
            found = list(threads.map(lambda _: sentinels.discover_master("jobs"), range(16)))
            assert found == [("primary", 1)] * 16
            assert sorted(map(id, sentinels.sentinels)) == sorted(map(id, nodes))


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, wait_for: WaitFor) -> Iterator[Servers]:
    with watched(tmp_path_factory.mktemp("sentinel"), wait_for) as servers:
        yield servers


@pytest.fixture
def client(servers: Servers, wait_for: WaitFor) -> Iterator[redis.Redis]:
    """A client of the current primary. Afterwards one primary with one replica is restored."""
    with closing(connect(servers.url())) as client:
        yield client
    for port in servers.servers:
        if servers.ask(port, "PING") is None:
            servers.start(port, follows=servers.primary())
        elif port != servers.primary():
            servers.ask(port, "REPLICAOF", "127.0.0.1", servers.primary())  # sentinels would do it some seconds later
    wait_for(lambda: servers.in_step() == 1, 30, "the replica follows")


def accepts(store: Store, name: str) -> bool:
    try:
        return bool(store.jobs.enqueue([NewJob(id=name, text="{}", model="m")]))
    except StoreUnavailable:
        return False


def port_of(client: redis.Redis) -> int:
    try:
        return int(client.info("server")["tcp_port"])
    except redis.RedisError:
        return 0


@pytest.mark.stack
@pytest.mark.parametrize("how", ["killed", "planned"])
def test_after_a_failover_jobs_are_kept_and_accepted(
    how: str, servers: Servers, client: redis.Redis, wait_for: WaitFor
) -> None:
    store = Store(client, Settings())
    store.continuity.establish(store.continuity.standing())
    with closing(connect(servers.url(), text=False)) as binary:
        images = RedisImages(binary, Keys())
        images.write(f"before-{how}", b"\xff")
        assert accepts(store, f"before-{how}")
        wait_for(lambda: client.wait(1, 100), message="the replica has it")
        was = servers.primary()
        if how == "killed":
            servers.kill_primary()
        else:
            # Sentinel refuses while the last failover is still ending
            wait_for(lambda: servers.ask(servers.sentinels[0], "SENTINEL FAILOVER", "jobs"), 30)
        servers.until_another(was)
        # The client uses the new primary at once. The old one may still run, and learns of it only seconds later.
        wait_for(lambda: port_of(client) not in (0, was), 5, "the new primary is used")
        wait_for(lambda: accepts(store, f"after-{how}"), message="jobs are accepted again")
        assert [job.id for job in store.jobs.get_many([f"before-{how}", f"after-{how}"]) if job] == [
            f"before-{how}",
            f"after-{how}",
        ]
        images.write(f"after-{how}", b"\xfe")
        assert images.read(f"before-{how}") == b"\xff"


@pytest.mark.stack
def test_connections_to_a_primary_that_became_a_replica_are_closed(servers: Servers, client: redis.Redis) -> None:
    """REPLICAOF closes no connection: each is closed at the first write that is refused."""
    store = Store(client, Settings())
    store.continuity.establish(store.continuity.standing())
    assert accepts(store, "as-primary")
    primary = servers.primary()
    (other,) = set(servers.servers) - {primary}
    connections = [connection for connection in client.connection_pool._available_connections if connection._sock]
    try:
        servers.ask(primary, "REPLICAOF", "127.0.0.1", other)
        with pytest.raises(StoreUnavailable, match=r"replica|slave"):
            store.jobs.enqueue([NewJob(id="as-replica", text="{}", model="m")])
    finally:
        servers.ask(primary, "REPLICAOF", "NO", "ONE")
    assert connections
    assert not any(connection._sock for connection in connections)


@pytest.mark.stack
def test_a_silent_sentinel_is_skipped(servers: Servers, client: redis.Redis) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with closing(connect(servers.url().replace("@", f"@127.0.0.1:{port},", 1))) as second_client:
            assert second_client.ping()


@pytest.mark.stack
@pytest.mark.parametrize(
    "wrong",
    [("master=jobs", "master=others"), (f"sentinel_password={SENTINEL_PASSWORD}", "sentinel_password=hunter2")],
)
def test_the_wrong_master_or_password_is_an_error_without_secrets(
    wrong: tuple[str, str], servers: Servers, client: redis.Redis
) -> None:
    lost = connect(servers.url().replace(*wrong))
    with closing(lost), pytest.raises(StoreUnavailable, match="BOOMERANG_REDIS_URL") as caught:
        Store(lost, Settings()).statistics.totals()
    assert SENTINEL_PASSWORD not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_unreachable_sentinels_are_an_error() -> None:
    unreachable = connect("sentinel://127.0.0.1:1,127.0.0.1:2/0?master=jobs")
    with closing(unreachable), pytest.raises(StoreUnavailable, match="BOOMERANG_REDIS_URL"):
        Store(unreachable, Settings()).statistics.totals()
