"""Ids, patience, and the reading of answers, without a server."""

import io
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from boomerang_client import Batch, Status, UnexpectedAnswer, errors, new_id
from boomerang_client.cli.options import seconds_of
from boomerang_client.ids import ALPHABET
from boomerang_client.parsing import read_accepted, read_batch, read_job
from boomerang_client.progress_line import Meter, described
from boomerang_client.transport import BACKOFF_MAX, Patience


def test_an_id_has_the_layout_of_a_ulid() -> None:
    # The time is the example of github.com/ulid/spec: 01ARYZ6S41 is 1469918176385 ms.
    assert new_id(lambda: 1469918176.3851, lambda bits: (1 << bits) - 1) == "01ARYZ6S41ZZZZZZZZZZZZZZZZ"
    assert new_id(lambda: 0, lambda bits: 0) == "0" * 26


def test_ids_sort_by_time_and_differ_within_a_moment() -> None:
    ids = [new_id(lambda second=second: second) for second in range(1_700_000_000, 1_700_000_050)]
    assert ids == sorted(ids)
    assert len({new_id(lambda: 1.0) for _ in range(1000)}) == 1000
    assert set("".join(ids)) <= set(ALPHABET)


@pytest.mark.parametrize(("failures", "longest"), [(1, 0.5), (2, 1), (3, 2), (4, 4), (50, BACKOFF_MAX)], ids=str)
def test_waits_are_full_jitter(failures: int, longest: float) -> None:
    patience = Patience(4, backoff_factor=0.5, history=tuple([None] * failures))  # type: ignore[arg-type]
    waits = [patience.get_backoff_time() for _ in range(500)]
    assert 0 <= min(waits) < longest / 4
    assert longest * 3 / 4 < max(waits) <= longest


@pytest.mark.parametrize(
    ("said", "seconds"), [("7", 7), ("soon", None), (None, None), ("Fri, 01 Jan 1990 00:00:00 GMT", 0)]
)
def test_retry_after(said: str | None, seconds: float | None) -> None:
    response = SimpleNamespace(headers={} if said is None else {"Retry-After": said})
    assert Patience(4).get_retry_after(response) == seconds


@pytest.mark.parametrize("data", [None, [], {}, {"id": "1"}, {"id": "1", "status": "queued", "output": [{}]}])
def test_a_job_that_is_none(data: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match="not a job"):
        read_job(data)


@pytest.mark.parametrize("read", [read_batch, read_accepted])
@pytest.mark.parametrize("data", [None, {}, {"id": "1", "accepted": "many", "counts": {}, "done": True}])
def test_a_batch_that_is_none(read: Any, data: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match="not a batch"):
        read(data)


@pytest.mark.parametrize(
    ("cost", "money"),
    [("0.0065", Decimal("0.0065")), (0.0065, Decimal("0.0065")), ("", None), (None, None), ("0", Decimal(0))],
)
def test_money_is_decimal(cost: Any, money: Decimal | None) -> None:
    assert read_job({"id": "1", "status": "completed", "usage": {"cost": cost}}).cost == money


def test_states_from_the_future_add_up() -> None:
    view = {"id": "b", "accepted": 5, "done": False, "counts": {"queued": 1, "asleep": 2, "dreaming": 1, "failed": 1}}
    batch = read_batch(view)
    assert batch.counts == {Status.QUEUED: 1, Status.UNKNOWN: 3, Status.FAILED: 1}
    assert (batch.finished, batch.unsuccessful, batch.cost) == (1, 1, 0)


def test_every_error_of_the_package_is_a_boomerang_error_with_a_remedy() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert all(issubclass(kind, errors.BoomerangError) for kind in kinds)
    for status in (400, 401, 403, 404, 409, 413, 415, 418, 422, 429, 500, 503):
        error = errors.api_error(status, None)
        assert error.remedy in str(error)
        assert isinstance(error, errors.ServiceUnavailable) is (status >= 500)


def batch(**more: Any) -> Batch:
    counts = {Status.COMPLETED: 4, Status.FAILED: 1, Status.QUEUED: 15}
    return Batch(**({"id": "b", "accepted": 20, "done": False, "cost": Decimal(1), "counts": counts} | more))


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (batch(rate=2.5, eta=3725.4), "b  [======                  ]  5/20  2.5/s  ETA 1:02:05  1 failed"),
        (batch(paused=True, eta=9), "b  [======                  ]  5/20  paused  1 failed"),
        (batch(accepted=0, counts={}, done=True), "b  [========================]  0/0"),
    ],
    ids=["under way", "paused", "empty"],
)
def test_a_batch_in_a_line(shown: Batch, line: str) -> None:
    assert described(shown) == line


def test_a_meter_rewrites_its_line_on_a_terminal_and_is_quiet_elsewhere() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    looks = [batch(rate=1.0), batch(), batch(done=True, counts={Status.COMPLETED: 20})]
    for out, lines in ((Terminal(), 1), (io.StringIO(), 2)):
        meter = Meter(out, clock=lambda: 0)
        for look in looks:
            meter(look)
        said = out.getvalue()
        assert said.count("\n") == lines  # elsewhere: the first, and the end
        assert said.count("\r") == (3 if lines == 1 else 0)
        assert said.rstrip().endswith("20/20")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("7d", 604800), ("soon", None), ("", None)],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds
