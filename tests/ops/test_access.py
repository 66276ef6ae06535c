"""Commands that the users of both Redis servers may not run. tests/stack/test_access.py covers what they may."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection, Exchange, Queue
from kombu.transport import redis as kombu_redis

from jobs.api_keys import PRODUCER, KeyRing, Scope
from jobs.connections.broker_scripts import load_scripts
from jobs.connections.client import connect
from jobs.connections.kombu import for_kombu
from jobs.errors import AccessRefused, StoreUnavailable
from jobs.new_job import NewJob
from jobs.settings import Settings
from jobs.store.redis_keys import Keys
from jobs.store.store import Store
from ops import access
from ops.local import redis_server
from ops.local.redis_server import RedisServer
from tests.support.admin import with_admin
from tests.support.real_redis import RealRedis, StartRedis, binaries, numbers
from worker.app import ask_only, create_app
from worker.settings import Settings as WorkerSettings

pytestmark = pytest.mark.stack

FOLDER = Path(access.__file__).parent
#: No user needs these, on either server.
NEVER = (
    "FLUSHALL",
    "FLUSHDB",
    "KEYS *",
    "CONFIG SET dir /tmp",
    "EVAL return 0",
    "DEBUG SLEEP 0",
    "SHUTDOWN NOSAVE",
    "MONITOR",
    "ACL LIST",
    "CLIENT KILL ID 1",
    "REPLICAOF NO ONE",
    "SLAVEOF NO ONE",
    "MODULE LIST",
    "MIGRATE h 1 k 0 1",
    "SWAPDB 0 1",
    "SCRIPT FLUSH",
    "SCRIPT KILL",
    "SAVE",
    "BGREWRITEAOF",
)
PIDBOX = "PUBLISH /0.celery.pidbox {}"
FORBIDDEN: dict[tuple[str, str], tuple[str, ...]] = {
    ("state", "worker"): (
        *(*NEVER, "GET other", "CONFIG GET dir", "SCAN 0", "SUBSCRIBE other", "PUBLISH other x"),
        *("HGET {b}keys:access x", "HSET {b}keys:access x {}", "RENAME {b}:x {b}keys:access"),
    ),
    ("state", "webhook"): (
        *NEVER,
        *("GET other", "SET other x", "LPUSH celery x", "CONFIG GET dir", "SCAN 0", "RANDOMKEY"),
        *("SCRIPT LOAD return(0)", "SUBSCRIBE other", "PSUBSCRIBE *", "PUBLISH other x"),
        *("HSET {b}keys:access x {}", "DEL {b}keys:access", "RENAME {b}:x {b}keys:access", "HSET {b}keys:other x {}"),
        *("RENAME {b}keys:access {b}:x", "EXPIRE {b}keys:access 1", "SUNIONSTORE {b}keys:access {b}:x"),
    ),
    ("state", "operator"): (*NEVER, "GET other", "CONFIG SET appendfsync no", "SCRIPT LOAD return(0)"),
    ("state", "health"): (*NEVER, "GET {b}:totals", "INFO", "SCAN 0"),
    ("broker", "worker"): (
        *(*NEVER, "CONFIG GET dir", "SCAN 0"),
        *("LPUSH payroll x", "RPUSH payroll x", "GET payroll", "SET payroll x", "DEL payroll", "LRANGE payroll 0 -1"),
        *("HSET {b}:j:fox s x", "GET {b}:r:fox", "PUBLISH /0.payroll x", "SUBSCRIBE payroll", "PSUBSCRIBE *"),
    ),
    ("broker", "webhook"): (
        *NEVER,
        *("LPUSH celery x", "LPUSH shop x", "RPUSH boomerang.submit x", "LSET boomerang.submit 0 x"),
        *("RPOP boomerang.submit", "BRPOP boomerang.submit 0", "LRANGE boomerang.submit 0 -1", "DEL boomerang.submit"),
        *("GET celery-task-meta-x", "SET celery-task-meta-x {}", "HSET unacked x y", "ZADD unacked_index 0 x"),
        *("SCRIPT LOAD return(0)", "EVALSHA x 0", PIDBOX, "SUBSCRIBE /0.celery.pidbox", "CONFIG GET dir", "SCAN 0"),
    ),
    ("broker", "beat"): (
        *(*NEVER, "LPUSH celery x", "LPUSH boomerang.submit x", "RPOP boomerang.reconcile", PIDBOX),
        *("GET celery-task-meta-x", "SCRIPT LOAD return(0)", "EVALSHA x 0", "CONFIG GET dir", "SCAN 0"),
    ),
    ("broker", "flower"): (
        *(*NEVER, "LPUSH celery x", "RPUSH celery x", "LPUSH boomerang.submit x", "SETEX celery-task-meta-x 1 x"),
        *("LRANGE celery 0 -1", "HGET unacked x", "CONFIG GET dir", "SCAN 0"),
        *("BRPOP other 1", "GET other", "SET other x", "DEL other", "LPUSH other x"),
        *("SCRIPT LOAD return(0)", "EVALSHA x 0"),
    ),
    ("broker", "operator"): (
        *(*NEVER, "LPUSH celery x", "RPUSH boomerang.submit x", "SCRIPT LOAD return(0)", "EVALSHA x 0"),
    ),
    ("broker", "producer"): (
        *(*NEVER, "LPUSH other x", "RPOP other", "CONFIG GET dir", "SCAN 0", "INFO", "SCRIPT LOAD return(0)"),
    ),
    ("broker", "health"): (*NEVER, "GET celery-task-meta-x", "LPUSH celery x", "SUBSCRIBE /0.celeryev/x"),
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RedisServer]]:
    folder = tmp_path_factory.mktemp("access")
    with ExitStack() as held:
        with with_admin(folder / "access"):
            started = {
                name: held.enter_context(redis_server.running(folder / name, durable=False, users=name))
                for name in ("state", "broker")
            }
        yield started


def client(server: RedisServer, user: str) -> Any:
    url = server.urls.get(user) or f"redis://{user}:any@127.0.0.1:{server.port}/0"
    return redis.Redis.from_url(url, decode_responses=True, protocol=2)


@pytest.mark.parametrize("name", ["state", "broker"])
def test_every_user_is_covered(name: str) -> None:
    assert {user for server, user in FORBIDDEN if server == name} == {*access.users(name), "health"}


@pytest.mark.parametrize(
    ("name", "user", "command"), [(*who, command) for who, commands in FORBIDDEN.items() for command in commands]
)
def test_a_user_may_not_run_these_commands(servers: dict[str, RedisServer], name: str, user: str, command: str) -> None:
    with client(servers[name], user) as connection:
        assert connection.ping()
        # Newer servers refuse DEBUG and MODULE to every user.
        with pytest.raises(redis.ResponseError, match=r"(?i)no permissions|not allowed"):
            connection.execute_command(*command.split(" "), *(["0"] if command.startswith("EVAL ") else []))


#: Ways to become the default user, who has all permissions because Redis loads its file as that user.
AS_DEFAULT = (
    "AUTH anything",
    'AUTH ""',
    "AUTH default anything",
    'AUTH default ""',
    "AUTH default PASSWORD",
    "HELLO 3 AUTH default anything",
    'HELLO 2 AUTH default ""',
    "RESET",
)


def refuses_strangers(server: RealRedis) -> None:
    """Check that a client without a password gets no answer and other users keep their own permissions."""
    for before in ("", "AUTH health any"):
        for attempt in AS_DEFAULT:
            with closing(socket.create_connection(("127.0.0.1", server.port), 10)) as connection:
                file = connection.makefile("rwb")

                def ask(command: str) -> bytes:
                    file.write(f"{command}\r\n".encode())  # noqa: B023 - called here only
                    file.flush()  # noqa: B023
                    return bytes(file.readline())  # noqa: B023

                assert not before or ask(before) == b"+OK\r\n"
                assert ask(attempt)[:1] == b"-" or attempt == "RESET"
                for command in ("GET x", "SET x 1", "EVAL return(1) 0", "ACL WHOAMI", "INFO", "CLIENT LIST"):
                    assert ask(command).startswith((b"-NOAUTH", b"-NOPERM")), (attempt, command)
                assert before or ask("PING").startswith(b"-NOAUTH")
                file.close()


@pytest.mark.parametrize("name", ["state", "broker"])
@pytest.mark.parametrize("version", binaries())
def test_no_client_can_become_the_default_user(version: str, name: str, real_redis: StartRedis) -> None:
    # A configured password of the default user gives no access: the users' file takes precedence.
    server = real_redis(version, name, "--requirepass", "PASSWORD")
    refuses_strangers(server)
    with server.client("admin") as admin:
        user = admin.acl_getuser("default")
        assert "off" in user["flags"]
        assert not {"on", "nopass"} & set(user["flags"])
        assert user["passwords"] == []
        admin.acl_load()
        refuses_strangers(server)
        # With a faulty rule too: the default user accepts no password.
        admin.acl_setuser("default", enabled=True)
    refuses_strangers(server)


@pytest.mark.parametrize("version", binaries())
def test_only_the_operator_changes_the_keys_of_producers(version: str, real_redis: StartRedis) -> None:
    server = real_redis(version, "state")

    def ring(user: str) -> KeyRing:
        return KeyRing(held.enter_context(closing(connect(server.url(user)))), Keys())

    with ExitStack() as held:
        operator, webhook, worker = map(ring, ("operator", "webhook", "worker"))
        key, _ = operator.add("shop", PRODUCER)
        assert webhook.find(key.id) == key
        webhook.note_use(key.id, datetime.now(UTC))
        assert operator.all()[0].used_at is not None
        # A minted key where the version before kept them is ignored, and the worker reads and writes none.
        with server.client("worker") as intruder:
            intruder.hset(Keys().singleton("access"), "0" * 12, key.to_json())
        assert webhook.find("0" * 12) is None
        assert worker.find(key.id) is None
        for refused in (lambda: worker.add("boss", [Scope.ADMIN]), lambda: worker.revoke(key.id)):
            with pytest.raises(AccessRefused):
                refused()
        if numbers(version) >= (7,):  # Redis 6.2 has no keys that a user may only read
            for refused in (lambda: webhook.add("boss", [Scope.ADMIN]), lambda: webhook.revoke(key.id)):
                with pytest.raises(AccessRefused):
                    refused()
        assert operator.revoke(key.id).revoked_at is not None
        assert [each.id for each in operator.all() if not each.revoked_at and Scope.ADMIN in each.scopes] == []


@pytest.mark.parametrize("version", binaries())
def test_a_producers_worker_runs_the_scripts_that_our_worker_loads(version: str, real_redis: StartRedis) -> None:
    server = real_redis(version, "broker")
    with server.client("worker") as worker:
        load_scripts(worker, ["return 1"])
    queue = Queue("shop", Exchange("shop"), "shop", expires=60)
    options = {"unacked_restore_interval": 1}
    # kombu as a producer has it, without our changes
    shop = Connection(server.url("producer"), transport=kombu_redis.Transport, transport_options=options)
    with shop as connection, connection.channel() as channel:
        bound = queue(channel)
        bound.declare()
        connection.Producer(channel).publish({"n": 1}, exchange="shop", routing_key="shop", serializer="json")
        received: list[Any] = []
        with connection.Consumer([bound], callbacks=[lambda body, message: (received.append(body), message.ack())]):
            connection.drain_events(timeout=10)
        channel.qos.restore_visible(interval=1)
        channel.sweep_bindings()
    assert received == [{"n": 1}]
    assert not server.refused()


@pytest.mark.parametrize("user", ["flower", "operator"])
@pytest.mark.parametrize("version", binaries())
def test_a_process_that_only_asks_runs_no_script(version: str, user: str, real_redis: StartRedis) -> None:
    server = real_redis(version, "broker")
    app = create_app(WorkerSettings(broker_url=server.url(user), result_url=server.url(user)))
    ask_only(app)
    with closing(app):
        assert app.control.inspect(timeout=0.5).ping() is None
        app.control.inspect(timeout=0.5, destination=["nobody@here"]).stats()
    assert not server.refused()


def test_a_wrong_password_is_refused(servers: dict[str, RedisServer]) -> None:
    state = servers["state"]
    with (
        redis.Redis.from_url(f"redis://worker:guess@127.0.0.1:{state.port}/0") as wrong,
        pytest.raises(redis.AuthenticationError),
    ):
        wrong.ping()


def test_the_webhook_waits_for_scripts_that_a_worker_loads(servers: dict[str, RedisServer]) -> None:
    state = servers["state"]
    job = NewJob(id="fox", text='{"prompt":"a fox"}', model="kirin_image_omni")
    urls = (state.urls[user] for user in ("admin", "webhook", "worker"))
    with ExitStack() as held:
        admin, web, work = (held.enter_context(connect(url)) for url in urls)
        admin.script_flush()
        admin.acl_log_reset()
        webhook, worker = Store(web, Settings(), may_load=False), Store(work, Settings())
        for call in (webhook.ping, lambda: webhook.jobs.enqueue([job])):
            with pytest.raises(StoreUnavailable, match="a worker does"):
                call()
        # A worker loads the scripts and begins the installation.
        assert worker.continuity.establish(worker.continuity.standing())
        webhook.ping()
        assert webhook.jobs.enqueue([job]).outcomes == ("created",)
        # A restart forgets the scripts.
        admin.script_flush()
        with pytest.raises(StoreUnavailable, match="a worker does"):
            webhook.jobs.cancel("fox")
        assert worker.attempts.admit(1).ids == ("fox",)
        assert webhook.jobs.cancel("fox").outcome == "cancelled"
        # Only an intruder may cause refusals in this log.
        assert admin.acl_log() == []


@pytest.mark.parametrize("version", binaries())
def test_flower_counts_producers_queues_and_no_more(
    version: str, real_redis: StartRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(access.PRODUCER_QUEUES, "orders. shop")
    server = real_redis(version, "broker")
    with server.client("flower") as flower, server.client("producer") as producer:
        for queue in ("orders.eu", "shop", "shop\x06\x163"):
            producer.lpush(queue, "message")
            assert flower.llen(queue) == 1
            for command in (f"LPUSH {queue} x", f"RPOP {queue}", f"LRANGE {queue} 0 -1"):
                with pytest.raises(redis.ResponseError, match=r"(?i)no permissions"):
                    flower.execute_command(*command.split(" "))
        # A queue of another service that this setting does not name
        with pytest.raises(redis.ResponseError, match=r"(?i)no permissions"):
            producer.lpush("other", "message")
        with pytest.raises(redis.ResponseError, match=r"(?i)no permissions"):
            flower.get("other")


#: BOOMERANG_LINK_QUEUES, BOOMERANG_PRODUCER_QUEUES → names of queues that a worker may push to, and others.
LINKS: dict[tuple[str, str], tuple[list[str], list[str]]] = {
    ("", ""): (["shop", "shop-eu", "shop\x06\x163"], ["payroll", "sho", "orders.eu"]),
    ("", "orders. mail"): (["orders.eu", "mail"], ["shop", "payroll"]),
    ("mail orders.?", "shop"): (["mail", "mail\x06\x169", "orders.1"], ["mail2", "orders.12", "payroll"]),
    ("*", ""): (["payroll", "anything"], []),
}


@pytest.mark.parametrize(("given", "names"), LINKS.items(), ids=map(str, LINKS))
@pytest.mark.parametrize("version", binaries())
def test_a_worker_pushes_to_the_queues_of_links_and_of_producers_only(
    version: str,
    given: tuple[str, str],
    names: tuple[list[str], list[str]],
    real_redis: StartRedis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(access.LINK_QUEUES, given[0])
    monkeypatch.setenv(access.PRODUCER_QUEUES, given[1])
    allowed, others = names
    with real_redis(version, "broker").client("worker") as worker:
        for name in allowed:
            assert worker.lpush(name, "message") == 1
        for name in (each for each in allowed if "\x06" not in each):
            worker.publish(f"/0.{name}", "message")
        for name in others:
            for command in (f"LPUSH {name} x", f"RPUSH {name} x", f"PUBLISH /0.{name} x"):
                with pytest.raises(redis.ResponseError, match=r"(?i)no permissions"):
                    worker.execute_command(*command.split(" "))


@pytest.mark.parametrize("version", binaries())
def test_a_worker_may_have_any_node_name(version: str, real_redis: StartRedis) -> None:
    with real_redis(version, "broker").client("worker") as worker:
        for node in ("celery@host", "another@host", "w1-eu"):
            assert worker.llen(f"{node}.celery.pidbox") == 0


@pytest.mark.parametrize("version", binaries())
def test_a_worker_survives_an_unacknowledged_message_that_it_may_not_return(
    version: str, real_redis: StartRedis
) -> None:
    """A producer can write one that names any queue: the worker must neither push it there nor end."""
    server = real_redis(version, "broker")
    entry = '[{"body": "", "properties": {"delivery_info": {}}, "headers": {}}, "", "%s"]'
    with server.client("producer") as producer, server.client("admin") as admin:
        for number, queue in enumerate(("shop", "payroll", "celery")):
            producer.hset("unacked", f"tag-{number}", entry % queue)
            producer.zadd("unacked_index", {f"tag-{number}": number})
        reach = for_kombu(server.url("worker"))
        with Connection(reach.url) as connection:
            for _ in range(2):
                connection.default_channel.qos.restore_visible(num=10, interval=1)
        assert (admin.llen("shop"), admin.llen("celery"), admin.exists("payroll")) == (1, 1, 0)
        assert admin.hkeys("unacked") == ["tag-1"]


# --- in a container ---------------------------------------------------------------------------------------------------


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Any]:
    """`start(name, environment)` returns what start.sh would execute, and the users file that it would write."""
    (tmp_path / "bin").mkdir()
    stand_in = tmp_path / "bin" / "redis-server"

    def run(name: str, env: dict[str, str], version: str = "7.2.4") -> Any:
        stand_in.write_text(
            f'#!/bin/sh\n[ "$*" = --version ] && echo "Redis server v={version} sha=0:0" || echo "$@"\n'
        )
        stand_in.chmod(0o755)
        env |= {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
        command = ["sh", str(FOLDER / "start.sh"), name, "--port", "0"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        return done, tmp_path / "users.acl"

    return run


@pytest.mark.parametrize("name", ["state", "broker"])
@pytest.mark.parametrize(("version", "new"), [("6.2.14", False), ("7.0.15", False), ("7.2.4", True), ("8.0.0", True)])
def test_a_container_has_the_same_users_as_the_local_stack(
    start: Callable[..., Any], name: str, version: str, new: bool
) -> None:
    given = access.passwords(name)
    done, written = start(name, access.variables(given), version)
    assert done.stdout.split() == ["--port", "0", "--aclfile", str(written)], done.stderr
    text = written.read_text()
    # 7.2 and later add one argument.
    assert text.count("+client|setinfo") == len(given) * new
    rules = [line for line in (FOLDER / f"{name}.acl").read_text().splitlines() if line and line[0] != "#"]
    for user, password in given.items():
        rules = [line.replace(">PASSWORD", f">{password}") if line.split()[1] == user else line for line in rules]
    if name == "broker":
        # Flower counts producers' queues: by a selector, which 6.2 does not know.
        (index,) = [number for number, line in enumerate(rules) if line.startswith("user flower ")]
        old = version.startswith("6.")
        rules[index] = rules[index] + " (+llen ~*)" * (not old)
        rules[index] = rules[index].replace(" resetchannels", " ~shop* resetchannels" if old else " resetchannels")
    elif version.startswith("6."):
        # It does not know keys that a user may only read.
        rules = [line.replace("%R~", "~") for line in rules]
    assert text.replace(" +client|setinfo", "").splitlines() == rules
    assert written.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("queues", ["shop* ~*", "a\nuser x on nopass", "a +@all", "~*", "a>b"])
def test_a_rule_cannot_be_smuggled_in_by_a_queues_name(start: Callable[..., Any], queues: str) -> None:
    done, written = start("broker", {**access.variables(access.passwords("broker")), access.PRODUCER_QUEUES: queues})
    assert done.returncode != 0
    assert "BOOMERANG_PRODUCER_QUEUES" in done.stderr
    assert not written.exists()


def test_a_container_without_a_password_does_not_start(start: Callable[..., Any]) -> None:
    given = access.passwords("state")
    done, _ = start("state", access.variables({**given, "webhook": ""}))
    assert done.returncode != 0
    assert "BOOMERANG_REDIS_PASSWORD_WEBHOOK: must be set" in done.stderr
    assert done.stdout == ""
