"""A connection ends when its client makes a thread wait too long."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from webhook.http import connection as module
from webhook.http.connection import GRACE, LEAST_RATE, MOST_CREDIT, Connection, Direction, Pace, TooSlow
from webhook.http.fair_pool import FairPool, Place


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        pytest.param([], GRACE, id="at first"),
        pytest.param([(0, 4)], GRACE - 4, id="silence"),
        pytest.param([(1, 0.5)] * 20, 0, id="a byte now and then"),
        pytest.param([(LEAST_RATE, 1)] * 1000, GRACE, id="exactly the least rate"),
        pytest.param([(LEAST_RATE, 1.25)] * 40, 0, id="a fifth slower"),
        pytest.param([(LEAST_RATE * 10_000, 0)], MOST_CREDIT, id="nobody saves up more"),
        pytest.param([(LEAST_RATE * 10_000, 0), (0, 29)], 1, id="a burst, and silence"),
        pytest.param([(LEAST_RATE * 100, 10)] * 10, 0, id="the longest time, at any rate"),
    ],
)
def test_bytes_pay_for_waiting(steps: list[tuple[int, float]], left: float) -> None:
    pace = Pace(longest=100 if len(steps) == 10 else 10_000)
    for count, seconds in steps:
        pace.count_bytes(count)
        pace.count_wait(seconds)
    assert pace.left == pytest.approx(left, abs=0.01)


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Connection, socket.socket, list[str]]]:
    """A connection that tolerates a tenth of a second, its client, and what it reports."""
    monkeypatch.setattr(module, "GRACE", 0.1)
    ours, client = socket.socketpair()
    slow = list[str]()
    with Connection(ours, slow.append) as connection, client:
        yield connection, client, slow


def test_a_silent_sender_is_too_slow(pair: tuple[Connection, socket.socket, list[str]]) -> None:
    connection, client, slow = pair
    client.sendall(b"x")
    assert connection.recv(10) == b"x"
    with pytest.raises(TooSlow):
        connection.recv(10)
    assert (connection.too_slow, slow) == (True, ["body"])


def test_a_reader_that_reads_nothing_is_too_slow(
    pair: tuple[Connection, socket.socket, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the buffers of the kernel take counts as read
    monkeypatch.setattr(module, "MOST_CREDIT", 0.1)
    connection, _, slow = pair
    with pytest.raises(TooSlow):
        connection.sendall(b"x" * 10_000_000)
    assert (connection.too_slow, slow) == (True, ["answer"])


def test_a_reader_gets_every_byte_in_order(pair: tuple[Connection, socket.socket, list[str]]) -> None:
    connection, client, slow = pair
    data = bytes(range(256)) * 20_000
    sender = threading.Thread(target=connection.sendall, args=(data,))
    sender.start()
    received = bytearray()
    while len(received) < len(data):
        received += client.recv(65536)
    sender.join(10)
    assert received == data
    assert slow == []


def test_each_request_has_its_own_time(pair: tuple[Connection, socket.socket, list[str]]) -> None:
    connection, client, _ = pair
    with pytest.raises(TooSlow):
        connection.recv(10)
    connection.begin_request()
    client.sendall(b"next")
    assert (connection.recv(10), connection.too_slow) == (b"next", False)


def test_what_has_arrived_is_received_without_waiting(pair: tuple[Connection, socket.socket, list[str]]) -> None:
    connection, client, slow = pair
    with pytest.raises(BlockingIOError):
        connection.receive_now(10)
    client.sendall(b"head")
    assert connection.receive_now(10) == b"head"
    client.close()
    assert connection.receive_now(10) == b""
    assert slow == []


def test_a_wait_has_a_place_from_its_beginning(pair: tuple[Connection, socket.socket, list[str]]) -> None:
    connection, client, _ = pair
    pool, taken = FairPool(1), list[tuple[str, str]]()

    def take(producer: str, address: str, _: Callable[[], bool]) -> Place | None:
        taken.append((producer, address))
        client.sendall(b"body")
        return pool.take(producer, 1, lambda: None)

    connection.begin_request("192.0.2.1", take)
    client.sendall(b"arrived")
    assert (connection.recv(10), taken) == (b"arrived", [])
    assert (connection.recv(10), taken) == (b"body", [("", "192.0.2.1")])
    assert pool.free == 1  # it has not waited for long
    connection.producer = "shop"
    pool.take("others")
    with pytest.raises(TooSlow):
        connection.recv(10)
    assert connection.refused


def test_a_lost_place_ends_a_wait(
    pair: tuple[Connection, socket.socket, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE", 10.0)
    connection, client, _ = pair
    pool = FairPool(2)
    # Given a producer with two places
    connection.begin_request("", lambda producer, *_: pool.take(producer, 1, lambda: None))
    pool.take("", 1)
    waiting = threading.Thread(target=lambda: pool.take("modest", 1) or client.sendall(b"late"))
    timer = threading.Timer(0.1, waiting.start)
    timer.start()
    assert connection.recv(10) == b""
    timer.join(10)
    assert Direction.BODY in connection.cut_off
    assert pool.free == 0


def test_what_is_not_waited_for_ends_at_once(pair: tuple[Connection, socket.socket, list[str]]) -> None:
    connection, client, slow = pair
    connection.begin_request(waits=())
    client.sendall(b"x")
    assert connection.recv(10) == b"x"
    with pytest.raises(TooSlow):
        connection.recv(10)
    with pytest.raises(TooSlow):
        connection.send(b"x" * 10_000_000)
    assert slow == []


@pytest.fixture
def pool() -> FairPool:
    return FairPool(2)


@pytest.fixture
def slow_sender(
    pair: tuple[Connection, socket.socket, list[str]], pool: FairPool, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Connection]:
    """A connection whose producer `slow` sends a byte every twentieth of a second, which is slower than is allowed."""
    monkeypatch.setattr(module, "GRACE", 0.01)
    monkeypatch.setattr(module, "BRIEF", 0.01)
    connection, client, _ = pair
    connection.begin_request("", lambda holder, _, is_slow: pool.take(holder, 1, lambda: None, is_slow))
    connection.producer = "slow"
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.05):
            client.sendall(b"x")

    dripper = threading.Thread(target=drip)
    dripper.start()
    yield connection
    over.set()
    dripper.join(10)


def receive_ten(connection: Connection) -> bytes:
    return b"".join(connection.recv(10) for _ in range(10))


def test_a_slow_producer_goes_on_while_nobody_wants_its_place(slow_sender: Connection) -> None:
    assert receive_ten(slow_sender) + receive_ten(slow_sender) == b"x" * 20
    assert slow_sender.is_slow()
    assert not slow_sender.too_slow


@pytest.mark.parametrize("holder", ["other", "slow"])
def test_a_slow_producer_ends_when_another_request_wants_its_place(
    holder: str, slow_sender: Connection, pool: FairPool
) -> None:
    # Given that the other request's holder has no fewer places than the slow one
    pool.take("third")
    assert receive_ten(slow_sender)
    assert pool.take(holder, 1)
    with contextlib.suppress(TooSlow):
        while slow_sender.recv(10):
            pass
    # It noticed while it waited, or at the next wait
    assert Direction.BODY in slow_sender.cut_off or slow_sender.refused


def test_a_slow_producer_keeps_its_place_from_one_that_has_more(slow_sender: Connection, pool: FairPool) -> None:
    pool.take("greedy", 1, lambda: None)
    assert receive_ten(slow_sender)
    assert pool.take("greedy", 1) is None
    assert receive_ten(slow_sender)


def test_silence_ends_a_slow_producer(slow_sender: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_SILENCE", 0.01)
    with pytest.raises(TooSlow):
        receive_ten(slow_sender)
    assert slow_sender.too_slow


def test_a_client_without_a_key_must_not_be_slow(slow_sender: Connection) -> None:
    slow_sender.producer = ""
    with pytest.raises(TooSlow):
        receive_ten(slow_sender)
