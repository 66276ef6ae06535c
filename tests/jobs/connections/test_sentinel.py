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
def test_an_address(url: str, expected: Watched) -> None:
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
def test_what_is_no_address_is_told_without_its_secrets(url: str) -> None:
    with pytest.raises(AddressInvalid) as caught:
        Watched.from_url(url)
    assert str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_as_kombu_writes_it() -> None:
    reach = for_kombu("sentinels://us%40er:p%2Cw@a,[::1]:2/7?master=jobs&sentinel_password=q&ssl_ca_certs=/ca.pem")
    assert reach.url == "sentinel://us%40er:p%2Cw@a:26379/7;sentinel://us%40er:p%2Cw@[::1]:2/7"
    assert reach.options["master_name"] == "jobs"
    assert reach.options["sentinel_kwargs"].items() >= {"password": "q", "ssl": True, "ssl_ca_certs": "/ca.pem"}.items()
    assert reach.ssl == {**SECRET, "ssl_ca_certs": "/ca.pem"}
    assert for_kombu("amqp://u:p@h//").url == "amqp://u:p@h//"
    assert "hunter2" not in repr(for_kombu("sentinel://:hunter2@a?master=jobs&sentinel_password=hunter2"))
    assert "hunter2" not in repr(Watched.from_url("sentinel://:hunter2@a?master=jobs&sentinel_password=hunter2"))


def test_threads_that_look_at_the_same_time_lose_no_sentinel() -> None:
    """redis-py reorders a list that all threads share: which sentinel answered stands first."""

    class Answering(redis.Redis):
        def __init__(self, answers: Callable[[], Any]) -> None:
            super().__init__()
            self.sentinel_masters = answers

    def silent() -> Any:
        time.sleep(0.001)
        raise redis.ConnectionError

    def knows() -> Any:
        state = {"is_master": True, "is_sdown": False, "is_odown": False, "num-other-sentinels": 2}
        return {"jobs": {**state, "ip": "primary", "port": 1}}

    sentinels = _Sentinels([])
    nodes = [Answering(silent), Answering(silent), Answering(knows)]
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
    """Of the primary, whichever it is; every test gives back what it found: one primary with one replica."""
    with closing(connect(servers.url())) as client:
        yield client
    for port in servers.servers:
        if servers.ask(port, "PING") is None:
            servers.start(port, follows=servers.primary())
        elif port != servers.primary():
            servers.ask(port, "REPLICAOF", "127.0.0.1", servers.primary())  # what sentinels do some seconds later
    wait_for(lambda: servers.in_step() == 1, 30, "the replica follows")


def accepts(store: Store, name: str) -> bool:
    try:
        return bool(store.jobs.enqueue([NewJob(id=name, text="{}", model="m")]))
    except StoreUnavailable:
        return False


def where(client: redis.Redis) -> int:
    try:
        return int(client.info("server")["tcp_port"])
    except redis.RedisError:
        return 0


@pytest.mark.stack
@pytest.mark.parametrize("how", ["killed", "planned"])
def test_a_failover(how: str, servers: Servers, client: redis.Redis, wait_for: WaitFor) -> None:
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
            # Refused while the last one is not quite over
            wait_for(lambda: servers.ask(servers.sentinels[0], "SENTINEL FAILOVER", "jobs"), 30)
        servers.until_another(was)
        # It goes to the new one although the old one may be well and, for some seconds, has not heard of it.
        wait_for(lambda: where(client) not in (0, was), 5, "the new primary is used")
        wait_for(lambda: accepts(store, f"after-{how}"), message="jobs are accepted again")
        assert [job.id for job in store.jobs.get_many([f"before-{how}", f"after-{how}"]) if job] == [
            f"before-{how}",
            f"after-{how}",
        ]
        images.write(f"after-{how}", b"\xfe")
        assert images.read(f"before-{how}") == b"\xff"


@pytest.mark.stack
def test_a_primary_that_was_made_a_replica_is_left(servers: Servers, client: redis.Redis) -> None:
    """Its connections stay open, as with a hand that types REPLICAOF; each ends with the first refusal."""
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
def test_a_sentinel_that_says_nothing_is_passed_over(servers: Servers, client: redis.Redis) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with closing(connect(servers.url().replace("@", f"@127.0.0.1:{port},", 1))) as patient:
            assert patient.ping()


@pytest.mark.stack
@pytest.mark.parametrize(
    "wrong",
    [("master=jobs", "master=others"), (f"sentinel_password={SENTINEL_PASSWORD}", "sentinel_password=hunter2")],
)
def test_sentinels_that_do_not_help(wrong: tuple[str, str], servers: Servers, client: redis.Redis) -> None:
    lost = connect(servers.url().replace(*wrong))
    with closing(lost), pytest.raises(StoreUnavailable, match="BOOMERANG_REDIS_URL") as caught:
        Store(lost, Settings()).statistics.totals()
    assert SENTINEL_PASSWORD not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_no_sentinel_at_all() -> None:
    nobody = connect("sentinel://127.0.0.1:1,127.0.0.1:2/0?master=jobs")
    with closing(nobody), pytest.raises(StoreUnavailable, match="BOOMERANG_REDIS_URL"):
        Store(nobody, Settings()).statistics.totals()
