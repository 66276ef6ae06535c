from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.attempt_ids import external_id, parse_external_id
from jobs.claims import Due
from jobs.job import Delivery, Job
from jobs.result import Result
from jobs.states import State
from jobs.units import from_micros

JOB_IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("fox", ("fox", 1)),  # attempt 1 has the job's own id
        ("fox~2", ("fox", 2)),
        ("fox~10", ("fox", 10)),
        ("a.b:c-d_e~999999999", ("a.b:c-d_e", 999_999_999)),
        ("fox~1", None),  # attempt 1 is never written this way
        ("fox~0", None),
        ("fox~02", None),  # a second spelling of an id would be a second task
        ("fox~+2", None),
        ("fox~２", None),  # not an ASCII digit
        ("fox~2\n", None),
        ("fox~1000000000", None),
        ("fox~", None),
        ("~2", None),
        ("fox~2~3", None),
        ("fox~-2", None),
    ],
)
def test_an_external_id_is_parsed_or_refused(text: str, parsed: tuple[str, int] | None) -> None:
    assert parse_external_id(text) == parsed


@given(JOB_IDS, st.integers(1, 999_999_999))
def test_external_ids_round_trip(job_id: str, attempt: int) -> None:
    assert parse_external_id(external_id(job_id, attempt)) == (job_id, attempt)


@given(st.text(max_size=20))
def test_a_text_is_parsed_as_one_id_at_most(text: str) -> None:
    parsed = parse_external_id(text)
    assert parsed is None or external_id(*parsed) == text


COSTS = st.decimals(0, 1_000_000, allow_nan=False, allow_infinity=False)


@given(
    st.lists(st.fixed_dictionaries({"type": st.just("image"), "url": st.text()}), max_size=3),
    st.none() | st.fixed_dictionaries({"code": st.text(), "message": st.text()}),
    st.none() | COSTS,
    st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.booleans(),
)
def test_results_round_trip(output: list[dict[str, str]], error: Any, cost: Decimal | None, discount: Any) -> None:
    result = Result(output=tuple(output), error=error, cost=cost, discount=discount)
    assert Result.from_json(result.to_json()) == result


@pytest.mark.parametrize(
    ("cost", "nano"),
    [
        (None, ""),  # no price
        ("0", "0"),
        ("0.0065", "6500000"),
        ("1E+3", "1000000000000"),
        ("0.0000000005", "0"),  # half a nano-dollar is rounded to even
        ("0.0000000015", "2"),
        ("0.123456789123456789", "123456789"),
        ("1000000", "1000000000000000"),
        ("1000000.01", ""),  # above the limit: a mistake, counted in no sum
        ("NaN", ""),
        ("Infinity", ""),
    ],
)
def test_a_cost_is_counted_in_nano_dollars(cost: str | None, nano: str) -> None:
    assert Result(cost=None if cost is None else Decimal(cost)).nano == nano


@pytest.mark.parametrize("discount", [0, 0.0, False, "", 1, 0.9, "0.9", [], {"rate": 1}])
def test_a_discount_is_stored_unchanged(discount: Any) -> None:
    kept = Result.from_json(Result(discount=discount).to_json()).discount
    assert kept == discount
    assert type(kept) is type(discount)


@given(st.integers(0, 4_000_000_000_000_000))
def test_times_keep_microseconds(microseconds: int) -> None:
    assert from_micros(str(microseconds)) - datetime(1970, 1, 1, tzinfo=UTC) == timedelta(microseconds=microseconds)


def test_a_minimal_record_is_read_with_defaults() -> None:
    job = Job.from_fields("fox", {"s": "queued", "m": "kirin", "c": "1000000", "u": "2000000"})
    assert (job.n, job.attempt, job.fence, job.submit_tries, job.lookups, job.exists) == (1, 1, 0, 0, 0, False)
    assert (job.owed, job.labels, job.result, job.deadline) == (frozenset(), {}, None, None)
    assert job.updated_at - job.created_at == timedelta(seconds=1)


def test_a_complete_record_is_read() -> None:
    fields = {
        "s": "cancelled", "p": "in_doubt", "m": "kirin", "c": "1", "u": "2", "e": "3", "d": "4", "x": "5", "n": "9",
        "a": "2", "f": "7", "t": "t1", "b": "x", "y": "cancel", "r": "why", "k": "1", "l": "2", "v": "1", "g": "cn",
        "h": "3", "z": "6", "i": "7",
    }  # fmt: skip
    job = Job.from_fields("fox", fields, result='{"cost":"0.5"}', labels='{"a":"b"}', text="{}")
    assert (job.at_provider, job.external_task_id, job.owed) == (State.IN_DOUBT, "fox~2", frozenset(Delivery))
    assert (job.n, job.fence, job.task_id, job.batch, job.settled_by) == (9, 7, "t1", "x", "cancel")
    assert (job.reason, job.submit_tries, job.lookups, job.exists, job.delivery_tries) == ("why", 1, 2, True, 3)
    assert (job.result, job.labels, job.text) == (Result(cost=Decimal("0.5")), {"a": "b"}, "{}")


@pytest.mark.parametrize(
    ("state", "phase", "where"),
    [
        (State.IN_PROGRESS, None, State.IN_PROGRESS),
        (State.CANCELLED, State.SUBMITTING, State.SUBMITTING),  # the POST may be under way
        (State.EXPIRED, State.IN_PROGRESS, State.IN_PROGRESS),
        (State.CANCELLED, None, None),
        (State.COMPLETED, None, None),
    ],
)
def test_the_state_at_the_provider_is_known_after_the_end(
    state: State, phase: State | None, where: State | None
) -> None:
    fields = {"s": state.value, "m": "m", "c": "0", "u": "0"} | ({"p": phase.value} if phase else {})
    fields |= {"e": "0"} if state.final else {}
    job = Job.from_fields("fox", fields)
    assert job.at_provider is where


def test_a_due_job_knows_its_time_in_doubt_and_its_deadline() -> None:
    job = Job.from_fields("fox", {"s": "in_doubt", "m": "m", "c": "0", "u": "0", "x": "1000000", "d": "3000000"})
    assert (Due(job, from_micros(2_500_000)).doubtful_for, Due(job, from_micros(2_500_000)).overdue) == (1.5, False)
    assert Due(job, from_micros(3_000_000)).overdue
