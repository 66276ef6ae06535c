"""An answer is read as fast as it comes, and every byte of it arrives in order."""

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boomerang_client.spooling import Spool, lines
from tests.support.waiting import WaitFor


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=40), st.integers(0, 500), st.data())
def test_bytes_come_out_as_they_came_in(pieces: list[bytes], memory: int, data: st.DataObject) -> None:
    taken, left = bytearray(), list(pieces)
    with closing(Spool(memory)) as spool:
        while left:
            assert spool.append(left.pop(0))
            while len(taken) < sum(map(len, pieces)) - sum(map(len, left)) and data.draw(st.booleans()):
                taken += spool.take()
        spool.end()
        while piece := spool.take():
            taken += piece
    assert bytes(taken) == b"".join(pieces)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20), st.integers(0, 100))
def test_lines_are_those_of_the_whole(pieces: list[bytes], memory: int) -> None:
    whole = b"".join(pieces)
    expected = whole.split(b"\n")
    assert list(lines(pieces, memory=memory)) == (expected if expected[-1] else expected[:-1])


def test_an_answer_is_read_to_its_end_before_its_second_line_is_taken(wait_for: WaitFor) -> None:
    ended = threading.Event()

    def answer() -> Iterator[bytes]:
        for number in range(1000):
            yield b"%d" % number + b"x" * 1000 + b"\n"
        ended.set()

    slow = lines(answer(), memory=10_000)
    assert next(slow).startswith(b"0x")
    wait_for(ended.is_set)
    assert sum(1 for _ in slow) == 999


def test_an_error_comes_after_the_lines_before_it() -> None:
    def answer() -> Iterator[bytes]:
        yield b"first\nsecond\nthi"
        raise ConnectionError("broke")

    seen = lines(answer())
    assert [next(seen), next(seen)] == [b"first", b"second"]
    with pytest.raises(ConnectionError, match="broke"):
        next(seen)


def test_nothing_is_read_for_a_reader_that_has_gone(wait_for: WaitFor) -> None:
    read = list[int]()
    may_go_on = threading.Semaphore(2)

    def answer() -> Iterator[bytes]:
        while may_go_on.acquire(timeout=30):
            read.append(1)
            yield b"line\n"

    closed = threading.Event()
    seen = lines(answer(), closed.set)
    next(seen)
    wait_for(lambda: len(read) == 2)
    seen.close()
    may_go_on.release()
    wait_for(closed.is_set)
    assert len(read) == 3
