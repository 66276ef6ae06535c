"""A Redis as in production (`ops/access`), of every version that is here, comes back with all that it acknowledged.

Redis 7 and later replay the append-only file as the default user: what that user may not do inside MULTI/EXEC, which
every script with two changes leaves there, is dropped. So every script is written with, and everything is compared.
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

from jobs.states import State
from tests.jobs.store.test_repeat import ANEW, CHANGES
from tests.support.bench import Bench, OpenBench
from tests.support.real_redis import ADMIN, RealRedis, StartRedis, binaries, keyspace, numbers
from tests.support.waiting import WaitFor

WRITERS = [*CHANGES, *ANEW]
#: How it goes down and comes back.
WAYS = ("stopped", "killed", "rewritten")


def come_back(server: RealRedis, way: str, wait_for: WaitFor) -> None:
    if way == "rewritten":
        server.rewrite(wait_for)
    (server.kill if way == "killed" else server.stop)()
    server.start()


def has_rewritten(server: RealRedis) -> bool:
    with server.client("admin") as admin:
        told = admin.info("persistence")
    under_way = told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"]
    return bool(told["aof_enabled"]) and not under_way and told["aof_last_bgrewrite_status"] == "ok"


def nothing_was_dropped(server: RealRedis, before: dict[Any, Any]) -> None:
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
        ANEW[verb][0](bench)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", binaries())
def test_what_every_script_wrote_is_there_after_a_restart(
    version: str, way: str, real_redis: StartRedis, open_bench: OpenBench, wait_for: WaitFor
) -> None:
    server = real_redis(version, "state", "--databases", str(len(WRITERS) + 2))
    with open_bench(server.url("admin")) as bench, server.client("admin") as admin:
        for database, verb in enumerate(WRITERS, 1):
            write_with(replace(bench, stored=type(bench.stored)()), verb)
            # Each script wants an empty Redis.
            admin.swapdb(0, database)
            bench.wind_up()
        before = keyspace(server)
        assert {database for database, _ in before} == set(range(len(WRITERS) + 1))
        come_back(server, way, wait_for)
        nothing_was_dropped(server, before)
        # It goes on where it was: the next changes are added to the same file, and come back too.
        last = len(WRITERS) + 1
        with server.client("admin", last) as other, other.pipeline(transaction=True) as pipe:
            # The file has SELECT inside MULTI here.
            pipe.set("a", "1").set("b", "2").execute()
        bench.store.ping()
        # A worker notices the restart. What is accepted once the leases of before are over is sent without a look.
        assert bench.store.continuity.establish(bench.store.continuity.standing())
        bench.forward(bench.store.context.settings.submit_lease + 1)
        write_with(bench, "cancel")
    again = keyspace(server)
    assert {key for key in again if key not in before} >= {(last, "a"), (last, "b"), (0, "{b}:j:fox")}
    come_back(server, "killed", wait_for)
    nothing_was_dropped(server, again)


@pytest.mark.parametrize("version", binaries())
def test_a_newer_redis_takes_over_what_an_older_one_wrote(
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
    nothing_was_dropped(server, before)


@pytest.mark.parametrize("version", binaries())
def test_a_replica_has_all_and_keeps_it(
    version: str, real_redis: StartRedis, open_bench: OpenBench, wait_for: WaitFor
) -> None:
    primary = real_redis(version, "state")
    follow = ("--replicaof", "127.0.0.1", str(primary.port), "--masteruser", "admin", "--masterauth", ADMIN)
    replica = real_redis(version, "state", *follow)

    def in_step() -> bool:
        with primary.client("admin") as admin:
            return bool(admin.wait(1, 100)) and keyspace(replica) == keyspace(primary)

    wait_for(in_step, 30, "the replica follows")
    # Over the connection from its primary, not with the copy that it began with.
    with open_bench(primary.url("admin")) as bench:
        write_with(bench, "retry")
    wait_for(in_step, 30, "the replica has what came then")
    # A copy from the primary is in the replica's own file only when Redis has rewritten that, in the background.
    wait_for(lambda: has_rewritten(replica), 30, "the replica's own file is whole")
    before = keyspace(primary)
    assert (0, "{b}:j:fox") in before
    # What it knows now is from its own file alone.
    primary.stop()
    come_back(replica, "killed", wait_for)
    nothing_was_dropped(replica, before)


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
        each.close()


class Hands:
    """Stands for a worker that the test holds: takes a message, keeps or acknowledges it, records its result."""

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
        # Its Redis went away and came back: connections of before are no more.
        with suppress(redis.ConnectionError, OSError):
            self.connection.close()


@pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # Celery's, for each result
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", binaries())
def test_messages_results_and_chords_are_there_after_a_restart(
    version: str, way: str, real_redis: StartRedis, shop: Callable[[str], Celery], wait_for: WaitFor
) -> None:
    server = real_redis(version, "broker")
    app = shop(server.url("producer"))
    add = app.tasks["shop.add"]
    result = chord([add.si(1), add.si(2)], app=app)(add.s().set(link=add.si(9)))
    hands = Hands(app)
    first, second = hands.take(), hands.take()
    hands.finish(first, 1)
    done = add.apply_async((1, 2), link=add.s(4), countdown=60)
    hands.finish(hands.take(), 3)
    kept = [add.delay(number) for number in range(3)]
    unfinished = hands.take()
    before = keyspace(server)
    kinds = {key.partition("-")[0] for _, key in before}
    assert {"shop", "unacked", "unacked_index", "celery"} <= kinds, kinds
    come_back(server, way, wait_for)
    nothing_was_dropped(server, before)

    # It goes on where it was: the chord's last member calls its body, and what was not acknowledged is given out again.
    with server.client("worker") as worker:
        assert worker.hlen("unacked") == 2
        assert worker.llen("shop") == len(kept) - 1
    assert app.AsyncResult(done.id).get(timeout=10) == 3
    again = Hands(app)
    again.channel.qos.restore_by_tag(second.delivery_tag)
    again.channel.qos.restore_by_tag(unfinished.delivery_tag)
    messages = [again.take() for _ in range(len(kept) + 1)]
    (last,) = [message for message in messages if message.headers["id"] == second.headers["id"]]
    again.finish(last, 2)
    body = again.take()
    assert body.headers["id"] == result.id
    again.finish(body, 3)
    assert result.get(timeout=10) == 3
    for each in (again, hands):
        each.close()
