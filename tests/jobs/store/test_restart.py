"""A Redis with the access rules of production (`ops/access`) restarts with all that it acknowledged.

Redis 7 and later replay the append-only file as the default user. They drop what that user may not do inside
MULTI/EXEC, which every script with two changes writes. So the test runs every script and compares all data, on every
installed version.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import redis
from celery import Celery, chord
from celery.app.task import Context
from celery.worker.request import Request

from jobs.connections.broker_scripts import load_scripts
from jobs.states import State
from tests.jobs.store.test_repeat import ACTS_AGAIN, CHANGES
from tests.support.bench import Bench, OpenBench
from tests.support.real_redis import ADMIN, RealRedis, StartRedis, binaries, keyspace, numbers
from tests.support.waiting import WaitFor
from worker.broker_scripts import CHORDS

WRITERS = [*CHANGES, *ACTS_AGAIN]
#: How Redis ends before it is started again.
ENDINGS = ("stopped", "killed", "rewritten")


def restart(server: RealRedis, way: str, wait_for: WaitFor) -> None:
    if way == "rewritten":
        server.rewrite(wait_for)
    (server.kill if way == "killed" else server.stop)()
    server.start()


def has_rewritten(server: RealRedis) -> bool:
    with server.client("admin") as admin:
        info = admin.info("persistence")
    under_way = info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"]
    return bool(info["aof_enabled"]) and not under_way and info["aof_last_bgrewrite_status"] == "ok"


def load_chord_scripts(server: RealRedis) -> None:
    """Load the scripts that producers may run and not load, as a worker does when it connects."""
    with server.client("worker") as worker:
        load_scripts(worker, CHORDS)


def check_nothing_was_dropped(server: RealRedis, before: dict[Any, Any]) -> None:
    after = keyspace(server)
    assert [key for key in before if key not in after] == []
    assert after == before
    assert server.refused() == set()
    assert "CRITICAL" not in server.log


def write_with(bench: Bench, verb: str) -> None:
    if verb in CHANGES:
        arrange, call = CHANGES[verb]
        call(bench, arrange(bench))
    else:
        bench.put(State.COMPLETED, owed="n")
        ACTS_AGAIN[verb][0](bench)


@pytest.mark.parametrize("way", ENDINGS)
@pytest.mark.parametrize("version", binaries())
def test_data_of_every_script_is_there_after_a_restart(
    version: str, way: str, real_redis: StartRedis, open_bench: OpenBench, wait_for: WaitFor
) -> None:
    server = real_redis(version, "state", "--databases", str(len(WRITERS) + 2))
    with open_bench(server.url("admin")) as bench, server.client("admin") as admin:
        for database, verb in enumerate(WRITERS, 1):
            write_with(replace(bench, stored=type(bench.stored)()), verb)
            # Each script needs an empty database.
            admin.swapdb(0, database)
            bench.wind_up()
        before = keyspace(server)
        assert {database for database, _ in before} == set(range(len(WRITERS) + 1))
        restart(server, way, wait_for)
        check_nothing_was_dropped(server, before)
        # Redis continues: it appends the next changes to the same file and restores them too.
        last = len(WRITERS) + 1
        with server.client("admin", last) as other, other.pipeline(transaction=True) as pipe:
            # The file has SELECT inside MULTI here.
            pipe.set("a", "1").set("b", "2").execute()
        bench.store.ping()
        # A worker notices the restart. Jobs accepted after the earlier leases are sent without a look-up.
        assert bench.store.continuity.establish(bench.store.continuity.standing())
        bench.forward(bench.store.context.settings.submit_lease + 1)
        write_with(bench, "cancel")
    again = keyspace(server)
    assert {key for key in again if key not in before} >= {(last, "a"), (last, "b"), (0, "{b}:j:fox")}
    restart(server, "killed", wait_for)
    check_nothing_was_dropped(server, again)


@pytest.mark.parametrize("version", binaries())
def test_a_newer_redis_reads_the_data_of_an_older_one(
    version: str, real_redis: StartRedis, open_bench: OpenBench
) -> None:
    oldest = min(binaries(), key=numbers)
    server = real_redis(oldest, "state")
    with open_bench(server.url("admin")) as bench:
        write_with(bench, "retry")
    before = keyspace(server)
    server.stop()
    server.change_version(version)
    server.start()
    check_nothing_was_dropped(server, before)


@pytest.mark.parametrize("version", binaries())
def test_a_replica_has_all_data_and_keeps_it(
    version: str, real_redis: StartRedis, open_bench: OpenBench, wait_for: WaitFor
) -> None:
    primary = real_redis(version, "state")
    follow = ("--replicaof", "127.0.0.1", str(primary.port), "--masteruser", "admin", "--masterauth", ADMIN)
    replica = real_redis(version, "state", *follow)

    def in_step() -> bool:
        with primary.client("admin") as admin:
            return bool(admin.wait(1, 100)) and keyspace(replica) == keyspace(primary)

    wait_for(in_step, 30, "the replica follows")
    # These changes arrive over the connection to the primary, not with the initial copy.
    with open_bench(primary.url("admin")) as bench:
        write_with(bench, "retry")
    wait_for(in_step, 30, "the replica has the new changes")
    # The initial copy is in the replica's own file only after a rewrite in the background.
    wait_for(lambda: has_rewritten(replica), 30, "the replica's own file is complete")
    before = keyspace(primary)
    assert (0, "{b}:j:fox") in before
    # From now on the replica has only its own file.
    primary.stop()
    restart(replica, "killed", wait_for)
    check_nothing_was_dropped(replica, before)


@pytest.fixture
def shop() -> Iterator[Callable[[str], Celery]]:
    """`shop(url)`: a Celery application of a producer."""
    made: list[Celery] = []

    def app(url: str) -> Celery:
        made.append(Celery("shop", broker=url, backend=url, set_as_current=False))
        made[-1].conf.task_default_queue = "shop"

        @made[-1].task(name="shop.add", shared=False)
        def add(*numbers: int) -> int:
            return sum(numbers)

        made[-1].finalize()
        return made[-1]

    yield app
    for each in made:
        each.backend.result_consumer.stop()
        each.backend.result_consumer._pubsub = None
        each.backend.client.connection_pool.disconnect()
        each.close()


class ManualWorker:
    """A worker that the test steps: it takes a message, keeps or acknowledges it, and records its result."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.connection = app.connection_for_read()
        self.channel = self.connection.default_channel

    def take(self) -> Any:
        message = self.channel.basic_get("shop")
        assert message is not None
        return message

    def finish(self, message: Any, result: int) -> None:
        request = Request(message, app=self.app)
        _, _, embedded = message.payload
        self.app.backend.mark_as_done(request.id, result, Context({**request.request_dict, **embedded}))
        message.ack()

    def close(self) -> None:
        # Redis was restarted meanwhile: earlier connections are broken.
        with suppress(redis.ConnectionError, OSError):
            self.connection.close()
        self.channel._disconnect_pools()


@pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # Celery's, for each result
@pytest.mark.parametrize("way", ENDINGS)
@pytest.mark.parametrize("version", binaries())
def test_messages_results_and_chords_are_there_after_a_restart(
    version: str, way: str, real_redis: StartRedis, shop: Callable[[str], Celery], wait_for: WaitFor
) -> None:
    server = real_redis(version, "broker")
    load_chord_scripts(server)
    app = shop(server.url("producer"))
    add = app.tasks["shop.add"]
    result = chord([add.si(1), add.si(2)], app=app)(add.s().set(link=add.si(9)))
    first_worker = ManualWorker(app)
    first, second = first_worker.take(), first_worker.take()
    first_worker.finish(first, 1)
    done = add.apply_async((1, 2), link=add.s(4), countdown=60)
    first_worker.finish(first_worker.take(), 3)
    kept = [add.delay(number) for number in range(3)]
    unfinished = first_worker.take()
    before = keyspace(server)
    kinds = {key.partition("-")[0] for _, key in before}
    assert {"shop", "unacked", "unacked_index", "celery"} <= kinds, kinds
    restart(server, way, wait_for)
    check_nothing_was_dropped(server, before)
    load_chord_scripts(server)

    # Work continues: the chord's last member calls its body, and unacknowledged messages are delivered again.
    with server.client("worker") as worker:
        assert worker.hlen("unacked") == 2
        assert worker.llen("shop") == len(kept) - 1
    assert app.AsyncResult(done.id).get(timeout=10) == 3
    again = ManualWorker(app)
    again.channel.qos.restore_by_tag(second.delivery_tag)
    again.channel.qos.restore_by_tag(unfinished.delivery_tag)
    messages = [again.take() for _ in range(len(kept) + 1)]
    (last,) = [message for message in messages if message.headers["id"] == second.headers["id"]]
    again.finish(last, 2)
    body = again.take()
    assert body.headers["id"] == result.id
    again.finish(body, 3)
    assert result.get(timeout=10) == 3
    for each in (again, first_worker):
        each.close()
